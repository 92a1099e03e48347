//! The generic cell rate algorithm in whole nanoseconds.
//!
//! ITU-T I.371 in its virtual scheduling form. One number is kept for each counter: the
//! *theoretical arrival time* (TAT), at which a spent quota would be whole again. A quota of
//! `burst` units with an interval of `T` admits `cost` units at `now` if
//! `max(TAT, now) + cost × T - now ≤ burst × T`, and the left sum becomes the new TAT.

use countersign_core::Quota;

/// What the algorithm says of one draw on one counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the units may be taken.
    pub allowed: bool,
    /// What the counter holds from now on; the old value when nothing is taken.
    pub new_tat: u64,
    /// Whole units that can still be taken at once after this draw.
    pub remaining: u32,
    /// Nanoseconds until the same draw would be allowed: 0 when it is, `u64::MAX` when it never
    /// will be, because it costs more than the quota holds.
    pub retry_after_ns: u64,
    /// Nanoseconds until the quota is whole again.
    pub reset_after_ns: u64,
}

/// Decides whether `cost` units of `quota` may be taken at `now` from the counter that holds
/// `tat`. A counter that nobody drew on holds 0. Pure: the caller stores [`Verdict::new_tat`].
///
/// - A cost of 0 looks only: it is always allowed and changes nothing.
/// - A cost over the quota's burst never fits, however long the caller waits.
/// - A clock that goes back grants nothing: the counter stays where it was.
/// - No sum wraps. At the far end of the clock's range (584 years) draws are refused.
///
/// ```
/// use countersign_core::Quota;
/// use countersign_rate_limit::gcra::decide;
///
/// let quota = Quota::per_second(2, 1)?;
/// let now = 10_000_000_000;
/// let first = decide(0, now, quota, 2);
/// assert!(first.allowed);
/// let second = decide(first.new_tat, now, quota, 1);
/// assert!(!second.allowed);
/// assert_eq!(second.retry_after_ns, 1_000_000_000);
/// # Ok::<(), countersign_core::ConfigError>(())
/// ```
#[inline]
#[must_use]
pub fn decide(tat: u64, now: u64, quota: Quota, cost: u32) -> Verdict {
    match draw(tat, now, quota, cost) {
        Some(new_tat) => Verdict::allowed(new_tat, now, quota),
        None => Verdict::refused(tat, now, quota, cost),
    }
}

impl Verdict {
    /// The verdict on a draw that leaves `new_tat`.
    #[inline]
    pub(crate) fn allowed(new_tat: u64, now: u64, quota: Quota) -> Self {
        let debt = debt(new_tat, now);
        Self {
            allowed: true,
            new_tat,
            remaining: units_left(debt, quota),
            retry_after_ns: 0,
            reset_after_ns: debt,
        }
    }

    /// The verdict on a draw of `cost` units that the counter refuses.
    #[cold]
    pub(crate) fn refused(tat: u64, now: u64, quota: Quota, cost: u32) -> Self {
        let debt = debt(tat, now);
        let wanted = debt.saturating_add(price(quota, cost));
        Self {
            allowed: false,
            new_tat: tat,
            remaining: units_left(debt, quota),
            retry_after_ns: if cost > quota.burst() {
                u64::MAX
            } else {
                wanted.saturating_sub(window(quota))
            },
            reset_after_ns: debt,
        }
    }
}

/// What the counter holds after the draw, or `None` where it refuses it: all that must be found out
/// while nobody else may look at the counter.
#[inline]
pub(crate) fn draw(tat: u64, now: u64, quota: Quota, cost: u32) -> Option<u64> {
    if cost == 0 {
        return Some(tat);
    }
    let price = price(quota, cost);
    let most_debt = window(quota).checked_sub(price)?;
    let new_tat = tat.max(now).checked_add(price)?;
    (debt(tat, now) <= most_debt).then_some(new_tat)
}

/// Nanoseconds until a counter that holds `tat` is whole again.
#[inline]
const fn debt(tat: u64, now: u64) -> u64 {
    tat.saturating_sub(now)
}

#[inline]
const fn price(quota: Quota, cost: u32) -> u64 {
    quota.interval_nanos().saturating_mul(cost as u64)
}

#[inline]
fn units_left(debt: u64, quota: Quota) -> u32 {
    let units = window(quota).saturating_sub(debt) / quota.interval_nanos();
    // At most `burst` units fit into the window, and a burst is a `u32`.
    units as u32
}

/// Nanoseconds in which a spent quota refills. `Quota` keeps them below 400 days.
#[inline]
pub(crate) const fn window(quota: Quota) -> u64 {
    quota.interval_nanos() * quota.burst() as u64
}

#[cfg(test)]
mod tests;
