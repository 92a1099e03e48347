//! What is noticed, and what is done about it.

use std::time::Duration;

use countersign_core::{AbuseKind, AbuseReaction, ConfigError};

/// When a signal of one kind is given, and what is done about it.
///
/// What `count` and `window` mean depends on the kind:
///
/// | kinds | a signal is given |
/// |---|---|
/// | failures, denials, unknown endpoints, ignored `Retry-After` | the `count`th time within `window`, at most once in a window; then counting begins anew |
/// | [`AbuseKind::SuddenUse`] | at the first use after `window` without any |
/// | [`AbuseKind::NewNetwork`] | for a key whose networks have been watched for `window`; `count` networks (at most 6) are remembered |
/// | [`AbuseKind::Spike`] | at `count` requests or more within `window`, if that is also so many times ([`AbuseRules::spike_factor`]) what the key usually has in a window in which it is used |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbuseRule {
    pub(super) count: u32,
    pub(super) window: Duration,
    pub(super) reaction: AbuseReaction,
}

impl AbuseRule {
    /// A rule that tells and does nothing else.
    #[must_use]
    pub const fn new(count: u32, window: Duration) -> Self {
        Self {
            count,
            window,
            reaction: AbuseReaction::Notify,
        }
    }

    /// What is done besides telling.
    #[must_use]
    pub const fn react(mut self, reaction: AbuseReaction) -> Self {
        self.reaction = reaction;
        self
    }

    fn check(&self, kind: AbuseKind) -> Result<(), ConfigError> {
        let refuse = |problem: &str| Err(ConfigError::new(kind.as_str(), problem));
        if !(1..=MOST).contains(&self.count) {
            return refuse("a rule counts to at least 1 and at most 60 000");
        }
        if self.window.as_secs() < 1 || self.window > LONGEST {
            return refuse("a rule's window is at least a second and at most 400 days");
        }
        let may = match kind {
            AbuseKind::PlatformFailures => self.reaction == AbuseReaction::Notify,
            AbuseKind::SourceFailures | AbuseKind::PrefixFailures | AbuseKind::UnknownEndpoints => {
                self.reaction != AbuseReaction::Suspend
            }
            _ => true,
        };
        if !may {
            return refuse("nobody is known here whom that could be done to");
        }
        if kind == AbuseKind::NewNetwork && self.count > 6 {
            return refuse("at most 6 networks of a key are remembered");
        }
        Ok(())
    }
}

/// One rule for each kind of signal, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbuseRules {
    rules: [Option<AbuseRule>; KINDS],
    spike_factor: u32,
}

impl AbuseRules {
    /// No rule at all.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            rules: [None; KINDS],
            spike_factor: 10,
        }
    }

    /// This rule for `kind`, in place of the one that it had.
    #[must_use]
    pub const fn with(mut self, kind: AbuseKind, rule: AbuseRule) -> Self {
        self.rules[kind as usize] = Some(rule);
        self
    }

    /// No rule for `kind`.
    #[must_use]
    pub const fn without(mut self, kind: AbuseKind) -> Self {
        self.rules[kind as usize] = None;
        self
    }

    /// How many times its usual use a key must be used for [`AbuseKind::Spike`]; 10 unless set
    /// otherwise.
    #[must_use]
    pub const fn spike_factor(mut self, factor: u32) -> Self {
        self.spike_factor = factor;
        self
    }

    /// The rule for `kind`, if there is one.
    #[must_use]
    pub const fn get(&self, kind: AbuseKind) -> Option<&AbuseRule> {
        self.rules[kind as usize].as_ref()
    }

    pub(super) const fn factor(&self) -> u32 {
        self.spike_factor
    }

    /// Whether anything is noticed of keys that are used as they should be.
    pub(super) const fn watches_use(&self) -> bool {
        self.get(AbuseKind::SuddenUse).is_some()
            || self.get(AbuseKind::NewNetwork).is_some()
            || self.get(AbuseKind::Spike).is_some()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(2..=1000).contains(&self.spike_factor) {
            let problem = "the factor is at least 2 and at most 1000";
            return Err(ConfigError::new(AbuseKind::Spike.as_str(), problem));
        }
        let rules = AbuseKind::ALL.iter().zip(&self.rules);
        for (kind, rule) in rules {
            if let Some(rule) = rule {
                rule.check(*kind)?;
            }
        }
        Ok(())
    }
}

impl Default for AbuseRules {
    /// | kind | count | window | reaction |
    /// |---|---|---|---|
    /// | `source_failures` | 30 | 1 min | throttle |
    /// | `prefix_failures` | 50 | 10 min | notify |
    /// | `platform_failures` | 1000 | 1 min | notify |
    /// | `scope_denials` | 20 | 1 min | throttle |
    /// | `company_boundary_denials` | 5 | 10 min | throttle |
    /// | `foreign_resources` | 100 | 1 min | notify |
    /// | `unknown_endpoints` | 30 | 1 min | throttle |
    /// | `ignored_retry_after` | 10 | 1 min | throttle |
    /// | `sudden_use` | 1 | 30 days | notify |
    /// | `new_network` | 6 | 1 h | notify |
    /// | `spike` | 100 | 1 min | notify |
    ///
    /// A prefix is no secret: whoever throttles by it lets strangers slow its owner's first request
    /// down, so its rule tells only.
    fn default() -> Self {
        use AbuseKind as Kind;
        use AbuseReaction::Throttle;
        let rule = |count, seconds| AbuseRule::new(count, Duration::from_secs(seconds));
        Self::none()
            .with(Kind::SourceFailures, rule(30, MINUTE).react(Throttle))
            .with(Kind::PrefixFailures, rule(50, 10 * MINUTE))
            .with(Kind::PlatformFailures, rule(1000, MINUTE))
            .with(Kind::ScopeDenials, rule(20, MINUTE).react(Throttle))
            .with(
                Kind::CompanyBoundaryDenials,
                rule(5, 10 * MINUTE).react(Throttle),
            )
            .with(Kind::ForeignResources, rule(100, MINUTE))
            .with(Kind::UnknownEndpoints, rule(30, MINUTE).react(Throttle))
            .with(Kind::IgnoredRetryAfter, rule(10, MINUTE).react(Throttle))
            .with(Kind::SuddenUse, rule(1, 30 * DAY))
            .with(Kind::NewNetwork, rule(6, 60 * MINUTE))
            .with(Kind::Spike, rule(100, MINUTE))
    }
}

const KINDS: usize = AbuseKind::ALL.len();
const MOST: u32 = 60_000;
const LONGEST: Duration = Duration::from_secs(400 * DAY);
const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rules_are_sound_and_cover_every_kind() {
        let rules = AbuseRules::default();
        rules.check().unwrap();
        for kind in AbuseKind::ALL {
            assert!(rules.get(*kind).is_some(), "{kind}");
        }
        assert!(rules.watches_use());
        assert!(!AbuseRules::none().watches_use());
    }

    #[test]
    fn a_rule_that_makes_no_sense_names_its_kind() {
        let minute = Duration::from_secs(60);
        let good = AbuseRule::new(1, minute);
        let bad = [
            (AbuseKind::Spike, AbuseRule::new(0, minute)),
            (AbuseKind::Spike, AbuseRule::new(60_001, minute)),
            (AbuseKind::SuddenUse, AbuseRule::new(1, Duration::ZERO)),
            (AbuseKind::SuddenUse, AbuseRule::new(1, Duration::MAX)),
            (AbuseKind::NewNetwork, AbuseRule::new(7, minute)),
            (
                AbuseKind::PlatformFailures,
                good.react(AbuseReaction::Throttle),
            ),
            (
                AbuseKind::SourceFailures,
                good.react(AbuseReaction::Suspend),
            ),
        ];
        for (kind, rule) in bad {
            let error = AbuseRules::none().with(kind, rule).check().unwrap_err();
            assert_eq!(error.subject(), kind.as_str());
        }
        let factor = AbuseRules::none().spike_factor(1).check().unwrap_err();
        assert_eq!(factor.subject(), "spike");
    }
}
