//! The monitor: counts, judges, tells.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use countersign_core::source::SourceBucket;
use countersign_core::{
    AbuseKind, AbuseObserver, AbuseReaction, AbuseSignal, AbuseSubject, AccessContext, Attempt,
    Denial, EventId, FailureMeter, Identity, KeyPrefix, Moment, Monotonic, Reason, RequestObserver,
    Throttled, Timestamp,
};

use super::builder::{AbuseMonitorBuilder, Allowed};
use super::counters::Counters;
use super::penalties::{Sentences, nanos};
use super::profile::{Network, Profile, Unusual, seconds};
use super::retries::Retries;
use super::rules::AbuseRules;
use super::ways::Ways;
use super::{memo, metrics, offences};
use crate::SourceThrottle;

/// Notices callers who misuse the API, tells of them, and refuses them for a while where a rule
/// says so. A clone is a handle to the same monitor.
///
/// It has three places in a stack. As the observer of the [`Edge`](countersign_core::Edge) it sees
/// every outcome; as the [`FailureMeter`] of the layer that verifies it refuses sources and prefixes
/// under a penalty; [`AbuseLayer`](crate::AbuseLayer) refuses keys under one. The facade puts it
/// into all three.
///
/// - What it notices and what it does about it is said by [`AbuseRules`], and for how long by
///   [`AbusePenalties`](crate::AbusePenalties).
/// - It never keeps a correct key out because of its neighbours: a penalty of a source is asked
///   about only for a key that is not in the cache of verified keys, and not even then where the
///   key was used from that network before. Such attempts have a count of their own.
/// - All of its memory is taken when it is built. A request is looked at in bounded time and
///   allocates nothing; only a signal does.
#[derive(Debug, Clone)]
pub struct AbuseMonitor(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) number: u32,
    pub(super) watches_use: bool,
    pub(super) rules: AbuseRules,
    pub(super) allowed: Allowed,
    pub(super) throttle: SourceThrottle,
    pub(super) counters: Counters,
    pub(super) sentences: Sentences,
    pub(super) retries: Retries,
    pub(super) profiles: Ways<Profile>,
    pub(super) observers: RwLock<Vec<Arc<dyn AbuseObserver>>>,
}

impl AbuseMonitor {
    /// Begins a monitor.
    pub fn builder() -> AbuseMonitorBuilder {
        AbuseMonitorBuilder::default()
    }

    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Tells `observer` of every signal from now on, after those that were given before.
    pub fn add_observer(&self, observer: impl AbuseObserver) {
        let observers = self.0.observers.write();
        let mut observers = observers.unwrap_or_else(PoisonError::into_inner);
        observers.push(Arc::new(observer));
    }

    /// How much longer `subject` is refused at `now`, if it is.
    #[must_use]
    pub fn penalty(&self, subject: &AbuseSubject, now: Monotonic) -> Option<Duration> {
        self.0.sentences.wait(subject, now.as_nanos())
    }

    /// Ends the penalty of `subject` and forgets the earlier ones. Whether one was under way.
    pub fn pardon(&self, subject: &AbuseSubject, now: Monotonic) -> bool {
        self.0.sentences.pardon(subject, now.as_nanos())
    }

    /// Tells the monitor of a key's use before this process began: when it was used last and, as far
    /// as that is known, from where. Without it a key is new after each start: no silence is long.
    pub fn remember(
        &self,
        key: &KeyPrefix,
        last_used: Timestamp,
        from: impl IntoIterator<Item = IpAddr>,
        now: Moment,
    ) {
        let ago = now.wall.duration_since(last_used).as_secs();
        let ago = i32::try_from(ago).unwrap_or(i32::MAX);
        let second = seconds(now.monotonic.as_nanos()).saturating_sub(ago);
        let networks = from.into_iter().map(|at| Network::of(SourceBucket::of(at)));
        let profiles = &self.0.profiles;
        profiles.with(profiles.name(key), |profile| {
            profile.was_used(second, networks);
        });
    }

    /// Refuses a key that is kept away.
    #[inline]
    pub(super) fn check_key(&self, context: &AccessContext) -> Result<(), Denial> {
        let at = context.received().monotonic.as_nanos();
        if self.0.sentences.no_key_waits(at) {
            return Ok(());
        }
        let key = context.identity().and_then(Identity::key_origin);
        let wait = key.and_then(|key| self.0.sentences.wait(&AbuseSubject::Key(key), at));
        match wait {
            None => Ok(()),
            Some(wait) => Err(Denial::new(Reason::AbuseDenied).with_retry_after(wait)),
        }
    }

    #[cfg(test)]
    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }
}

impl RequestObserver for AbuseMonitor {
    #[inline]
    fn finished(&self, context: &AccessContext) {
        if self.0.watches_use
            && let Some(identity) = context.identity()
        {
            self.0.used(context, identity);
        }
        if let Some(denial) = context.denial() {
            self.0.refused(context, denial);
        }
    }
}

/// A correct key that is not in the cache comes here with everybody else's guesses. What others did with
/// its prefix keeps nobody from being looked at: penalties and counts of a prefix turn failures away.
/// From a network in which the key was used before, or one that is never accused, neither does the source,
/// and failures are counted apart.
impl FailureMeter for AbuseMonitor {
    fn admit(&self, attempt: &Attempt<'_>) -> Result<(), Throttled> {
        if self.0.is_at_home(attempt) {
            return Ok(());
        }
        penalty(self.0.source_wait(attempt))?;
        self.0.throttle.admit(attempt)
    }

    fn record_failure(&self, attempt: &Attempt<'_>) -> Result<(), Throttled> {
        if self.0.is_at_home(attempt) {
            return self.0.throttle.record_apart(attempt);
        }
        penalty(self.0.source_wait(attempt).max(self.0.prefix_wait(attempt)))?;
        self.0.throttle.record_failure(attempt)
    }
}

impl Inner {
    fn is_at_home(&self, attempt: &Attempt<'_>) -> bool {
        let Some(prefix) = attempt.prefix else {
            return false;
        };
        let network = Network::of(attempt.source);
        let knows = |profile: &mut Profile| profile.knows(network);
        self.allowed.contains(attempt.source)
            || self.profiles.find(self.profiles.name(prefix), knows) == Some(true)
    }

    fn source_wait(&self, attempt: &Attempt<'_>) -> Option<Duration> {
        let source = AbuseSubject::Source(attempt.source);
        self.sentences.wait(&source, attempt.at.as_nanos())
    }

    fn prefix_wait(&self, attempt: &Attempt<'_>) -> Option<Duration> {
        let prefix = AbuseSubject::Prefix(*attempt.prefix?);
        self.sentences.wait(&prefix, attempt.at.as_nanos())
    }

    #[inline]
    fn used(&self, context: &AccessContext, identity: &Identity) {
        let (Some(key), Some(prefix)) = (identity.key_id(), identity.key_prefix()) else {
            return;
        };
        let source = context.source().map(|source| source.bucket());
        let network = source.map(Network::of);
        let at = context.received().monotonic.as_nanos();
        let name = || self.profiles.name(prefix);
        if let Some((name, visit)) = memo::use_of(self.number, key, network, at, name) {
            let accused = network.filter(|_| !source.is_some_and(|at| self.allowed.contains(at)));
            let unusual = self.profiles.with(name, |profile| {
                profile.used(at, accused, visit.earlier, &self.rules)
            });
            if let Some((name, earlier)) = visit.displaced {
                let add = |profile: &mut Profile| profile.add_earlier(earlier, &self.rules);
                self.profiles.find(name, add);
            }
            if unusual != Unusual::default() {
                let chain = identity.key_origin().unwrap_or(key);
                self.tell_unusual(context, AbuseSubject::Key(chain), unusual);
            }
        }
    }

    #[cold]
    fn tell_unusual(&self, context: &AccessContext, key: AbuseSubject, unusual: Unusual) {
        let window = |kind| self.rules.get(kind).map(|rule| rule.window);
        if let Some(silent) = unusual.silent {
            self.signal(AbuseKind::SuddenUse, key, 1, Some(silent), context);
        }
        if unusual.new_network {
            let kind = AbuseKind::NewNetwork;
            self.signal(kind, key, 1, window(kind), context);
        }
        if let Some(count) = unusual.spike {
            let kind = AbuseKind::Spike;
            self.signal(kind, key, count, window(kind), context);
        }
    }

    fn refused(&self, context: &AccessContext, denial: &Denial) {
        let at = context.received().monotonic.as_nanos();
        for kind in offences::kinds(denial.reason()) {
            let (Some(rule), Some(subject)) =
                (self.rules.get(*kind), offences::subject(*kind, context))
            else {
                continue;
            };
            if matches!(subject, AbuseSubject::Source(source) if self.allowed.contains(source)) {
                continue;
            }
            if *kind == AbuseKind::IgnoredRetryAfter && !self.came_too_early(&subject, at, denial) {
                continue;
            }
            if let Some(count) = self.counters.count(*kind, &subject, rule, at) {
                self.signal(*kind, subject, count, Some(rule.window), context);
            }
        }
    }

    fn came_too_early(&self, subject: &AbuseSubject, at: u64, denial: &Denial) -> bool {
        // What the caller was told, in the whole seconds in which it was told.
        let seconds = denial.retry_after_seconds().unwrap_or(0);
        let wait = nanos(Duration::from_secs(seconds));
        self.retries.refused(subject, at, wait)
    }

    #[cold]
    fn signal(
        &self,
        kind: AbuseKind,
        subject: AbuseSubject,
        count: u32,
        window: Option<Duration>,
        context: &AccessContext,
    ) {
        let (Some(rule), Some(window)) = (self.rules.get(kind), window) else {
            return;
        };
        let at = context.received();
        let reaction = possible(rule.reaction, &subject);
        let penalty = match reaction {
            AbuseReaction::Notify => None,
            _ => self.sentences.impose(&subject, at.monotonic.as_nanos()),
        };
        let (key_id, key_prefix) = context.key();
        let signal = AbuseSignal {
            id: EventId::generate(at.wall),
            kind,
            subject,
            reaction,
            penalty,
            at,
            count,
            window,
            request_id: context.request_id().clone(),
            trace_id: context.trace_id(),
            source: context.source(),
            key_id,
            key_prefix,
            company: context.owner(),
        };
        self.tell(&signal);
    }

    fn tell(&self, signal: &AbuseSignal) {
        tracing::warn!(
            target: "countersign",
            request_id = %signal.request_id,
            kind = signal.kind.as_str(),
            subject = signal.subject.as_str(),
            reaction = signal.reaction.as_str(),
            key_prefix = signal.key_prefix.as_ref().map(KeyPrefix::as_str),
            "abuse signal"
        );
        metrics::count(signal);
        // Copied, so that an observer may add another one.
        let observers = self.observers.read();
        let observers = observers.unwrap_or_else(PoisonError::into_inner).clone();
        for observer in observers {
            if catch_unwind(AssertUnwindSafe(|| observer.signal(signal))).is_err() {
                tracing::error!(
                    target: "countersign",
                    kind = signal.kind.as_str(),
                    "an abuse observer panicked; the others are told"
                );
            }
        }
    }
}

fn penalty(wait: Option<Duration>) -> Result<(), Throttled> {
    wait.map_or(Ok(()), |wait| Err(Throttled::penalty(wait)))
}

/// Only a key can be suspended; anybody else is throttled instead.
const fn possible(reaction: AbuseReaction, subject: &AbuseSubject) -> AbuseReaction {
    match (reaction, subject) {
        (AbuseReaction::Suspend, AbuseSubject::Key(_)) => AbuseReaction::Suspend,
        (AbuseReaction::Suspend, _) => AbuseReaction::Throttle,
        (reaction, _) => reaction,
    }
}
