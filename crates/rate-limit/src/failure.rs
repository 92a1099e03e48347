//! What happens while the limit store is down.

use std::time::Duration;

use countersign_core::{ConfigError, Quota};

use crate::Policy;
use crate::policies::Planned;

/// What the layer does with requests that the store could not decide about: said for all policies
/// ([`RateLimitLayer::on_store_failure`](crate::RateLimitLayer::on_store_failure)), or for one
/// ([`Policy::on_store_failure`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreFailure(pub(crate) Mode);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Local(Share),
    Closed,
    Open,
}

/// A part of a whole, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share(u32);

impl StoreFailure {
    /// Local counters decide, each with this share of its quota (over 0, up to 1): about one
    /// divided by the number of processes, so that together they admit what the store would. The
    /// audit flags what was decided so. The default, with a share of 0.5.
    ///
    /// # Errors
    /// When the share is not over 0 and up to 1.
    pub fn local(share: f64) -> Result<Self, ConfigError> {
        let millionths = (share * f64::from(Share::WHOLE)).round();
        if !(1.0..=f64::from(Share::WHOLE)).contains(&millionths) {
            let problem = "the share of local limits is over 0 and at most 1";
            return Err(ConfigError::new("store failure", problem));
        }
        // The range was checked above.
        Ok(Self(Mode::Local(Share(millionths as u32))))
    }

    /// Every request that the policy applies to is refused with 503 `limit_store_unavailable`.
    #[must_use]
    pub const fn fail_closed() -> Self {
        Self(Mode::Closed)
    }

    /// The policy limits nothing for as long as the store is down. The audit flags what passed.
    #[must_use]
    pub const fn insecure_fail_open() -> Self {
        Self(Mode::Open)
    }
}

impl Default for StoreFailure {
    fn default() -> Self {
        Self(Mode::Local(Share(Share::WHOLE / 2)))
    }
}

impl Policy {
    /// What happens to requests that this policy applies to while the store is down, whatever the
    /// layer is set to do with the rest. Where policies of one request say different things, one that
    /// fails closed refuses it, the local ones count it, and the open ones let it pass.
    pub fn on_store_failure(mut self, failure: StoreFailure) -> Self {
        self.on_failure = Some(failure);
        self
    }
}

impl Planned {
    /// What happens while the store is down, where the policy may say nothing of its own.
    pub(crate) fn failure_mode(&self, otherwise: StoreFailure) -> Mode {
        self.on_failure.unwrap_or(otherwise).0
    }
}

impl Share {
    const WHOLE: u32 = 1_000_000;

    /// This share of the `whole` quota. It holds at least what a request takes, where the whole
    /// does.
    pub(crate) fn of(self, whole: Quota, cost: u32) -> Quota {
        let burst = u64::from(whole.burst()) * u64::from(self.0) / u64::from(Self::WHOLE);
        let floor = cost.clamp(1, whole.burst());
        // A part of a `u32` is one.
        let burst = (burst as u32).max(floor);
        let interval = u128::from(whole.interval_nanos()) * u128::from(Self::WHOLE);
        let longest = Quota::MAX_WINDOW.as_nanos() / u128::from(burst);
        let interval = interval.div_ceil(u128::from(self.0)).min(longest);
        let interval = u64::try_from(interval).unwrap_or(u64::MAX);
        Quota::new(burst, Duration::from_nanos(interval))
            .expect("burst and interval are at least 1 and the window was cut to the longest")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shared(quota: Quota, cost: u32, share: f64) -> Quota {
        match StoreFailure::local(share).unwrap().0 {
            Mode::Local(share) => share.of(quota, cost),
            mode => panic!("{mode:?}"),
        }
    }

    #[test]
    fn half_a_quota_refills_half_as_fast() {
        let quota = Quota::per_second(200, 50).unwrap();
        assert_eq!(shared(quota, 1, 0.5), Quota::per_second(100, 25).unwrap());
        assert_eq!(shared(quota, 1, 1.0), quota);
    }

    #[test]
    fn a_share_never_ends_below_one_request() {
        let quota = Quota::per_second(3, 1).unwrap();
        assert_eq!(shared(quota, 1, 0.000_001).burst(), 1);
        assert_eq!(shared(quota, 3, 0.5).burst(), 3);
    }

    #[test]
    fn a_share_is_a_part() {
        for bad in [0.0, -1.0, 1.1, f64::NAN, f64::INFINITY, 1e-9] {
            assert!(StoreFailure::local(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_share_of_every_quota_is_a_quota(
            burst in 1u32.., interval in 1u64..34_560_000_000_000_000, share in 0.000_001f64..=1.0,
        ) {
            let Ok(quota) = Quota::new(burst, Duration::from_nanos(interval)) else {
                return Ok(());
            };
            let part = shared(quota, 1, share);
            prop_assert!(part.burst() <= burst);
            prop_assert!(part.interval_nanos() >= interval || part.window() > Quota::MAX_WINDOW / 2);
        }
    }
}
