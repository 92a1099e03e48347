//! How much is allowed: the quota and a key's own exceptions.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// `burst` units at once, refilled evenly: `burst` units every `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Quota {
    burst: u32,
    /// Nanoseconds until one unit is refilled.
    interval: u64,
}

impl Quota {
    /// The longest time in which a spent quota refills: 400 days.
    pub const MAX_WINDOW: Duration = Duration::from_secs(400 * 86_400);

    /// `burst` units at once, one more every `interval`.
    ///
    /// # Errors
    /// When either is zero, or refilling would take longer than [`Quota::MAX_WINDOW`].
    pub fn new(burst: u32, interval: Duration) -> Result<Self, ConfigError> {
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        if burst == 0 || nanos == 0 {
            return Err(ConfigError::new(
                "quota",
                "burst and refill interval are at least 1 (unit, nanosecond)",
            ));
        }
        let window = nanos.checked_mul(u64::from(burst));
        match window {
            Some(window) if u128::from(window) <= Self::MAX_WINDOW.as_nanos() => Ok(Self {
                burst,
                interval: nanos,
            }),
            _ => Err(ConfigError::new(
                "quota",
                "a spent quota must refill within 400 days",
            )),
        }
    }

    /// `burst` units at once, `rate` a second.
    ///
    /// # Errors
    /// As [`Quota::new`].
    pub fn per_second(burst: u32, rate: u32) -> Result<Self, ConfigError> {
        Self::per(burst, rate, Duration::from_secs(1))
    }

    /// `burst` units at once, `rate` a minute.
    ///
    /// # Errors
    /// As [`Quota::new`].
    pub fn per_minute(burst: u32, rate: u32) -> Result<Self, ConfigError> {
        Self::per(burst, rate, Duration::from_secs(60))
    }

    /// `burst` units at once, `rate` in every `period`.
    ///
    /// # Errors
    /// As [`Quota::new`].
    pub fn per(burst: u32, rate: u32, period: Duration) -> Result<Self, ConfigError> {
        Self::new(burst, period.checked_div(rate).unwrap_or_default())
    }

    /// At most `most` units in any `period`, however they are spread: half of them at once, and as
    /// many again in the course of the period. `Quota::per(n, n, period)` allows more in its first
    /// period: the `n` of its burst, and what is refilled meanwhile.
    ///
    /// # Errors
    /// As [`Quota::new`].
    pub fn at_most(most: u32, period: Duration) -> Result<Self, ConfigError> {
        let burst = most.div_ceil(2);
        // From any moment on, the last unit of `most` is there no sooner than after the period.
        let later = u128::from(most - burst) + 1;
        let nanos = period.as_nanos().div_ceil(later);
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        Self::new(burst, Duration::from_nanos(nanos))
    }

    /// How many units can be spent at once.
    #[must_use]
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// Nanoseconds until one unit is refilled.
    #[must_use]
    pub const fn interval_nanos(self) -> u64 {
        self.interval
    }

    /// How long a spent quota takes to refill.
    #[must_use]
    pub const fn window(self) -> Duration {
        Duration::from_nanos(self.interval * self.burst as u64)
    }
}

/// A quota as a record holds it, before it is checked.
#[derive(Deserialize)]
struct Stored {
    burst: u32,
    interval: u64,
}

impl TryFrom<Stored> for Quota {
    type Error = ConfigError;

    fn try_from(stored: Stored) -> Result<Self, ConfigError> {
        Self::new(stored.burst, Duration::from_nanos(stored.interval))
    }
}

/// What takes a quota also takes the attempt at one, and names the part that it was meant for when
/// it tells of the mistake.
impl From<Quota> for Result<Quota, ConfigError> {
    fn from(quota: Quota) -> Self {
        Ok(quota)
    }
}

/// Another quota for one key, in place of the policy's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitOverride {
    /// The name of the policy that is replaced for this key.
    pub policy: String,
    /// What the key gets instead.
    pub quota: Quota,
}

/// The exceptions of one key; most keys have none, and then this is empty and free to copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitOverrides(Option<Arc<[LimitOverride]>>);

impl LimitOverrides {
    /// No exception.
    pub const EMPTY: Self = Self(None);

    /// The key's own quota for `policy`, if it has one.
    #[must_use]
    pub fn get(&self, policy: &str) -> Option<Quota> {
        let mut all = self.0.as_deref()?.iter();
        all.find(|o| o.policy == policy).map(|o| o.quota)
    }

    /// All exceptions.
    pub fn iter(&self) -> impl Iterator<Item = &LimitOverride> {
        self.0.as_deref().unwrap_or_default().iter()
    }

    /// Whether there is no exception.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl FromIterator<LimitOverride> for LimitOverrides {
    fn from_iter<I: IntoIterator<Item = LimitOverride>>(overrides: I) -> Self {
        let all: Arc<[LimitOverride]> = overrides.into_iter().collect();
        Self((!all.is_empty()).then_some(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_of_nothing_or_of_for_ever_is_refused() {
        assert!(Quota::per_second(0, 1).is_err());
        assert!(Quota::per_second(1, 0).is_err());
        assert!(Quota::new(1, Duration::ZERO).is_err());
        assert!(Quota::new(u32::MAX, Duration::from_secs(u64::MAX)).is_err());
        assert!(Quota::new(401, Duration::from_secs(86_400)).is_err());
        assert!(Quota::new(400, Duration::from_secs(86_400)).is_ok());
    }

    #[test]
    fn a_stored_quota_is_checked_like_any_other() {
        let quota = Quota::per_second(2, 1).unwrap();
        let text = serde_json::to_string(&quota).unwrap();
        assert_eq!(text, r#"{"burst":2,"interval":1000000000}"#);
        assert_eq!(serde_json::from_str::<Quota>(&text).unwrap(), quota);
        for bad in [
            r#"{"burst":0,"interval":1}"#,
            r#"{"burst":1,"interval":0}"#,
            r#"{"burst":4294967295,"interval":18446744073709551615}"#,
        ] {
            assert!(serde_json::from_str::<Quota>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn at_most_is_a_bound_for_every_period() {
        let period = Duration::from_secs(60);
        for most in [1u32, 2, 3, 7, 50, 1001] {
            let quota = Quota::at_most(most, period).unwrap();
            // The worst case: a whole burst at once, and each refilled unit at once.
            let refilled = (period.as_nanos() - 1) / u128::from(quota.interval_nanos());
            assert_eq!(u128::from(quota.burst()) + refilled, u128::from(most));
        }
        assert!(Quota::at_most(0, period).is_err());
        assert!(Quota::at_most(10, Duration::ZERO).is_err());
    }

    #[test]
    fn the_window_is_the_time_to_refill() {
        let quota = Quota::per_second(200, 50).unwrap();
        assert_eq!(quota.window(), Duration::from_secs(4));
        assert_eq!(quota.interval_nanos(), 20_000_000);
    }
}
