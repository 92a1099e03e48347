//! The store of counters, for those who bring their own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use countersign_core::{StoreError, StoreErrorKind};

use crate::LimitRequest;
use crate::gcra::Verdict;
use crate::request::MAX_LIMITS;

/// Keeps counters and decides about them. [`LocalLimits`](crate::LocalLimits) keeps them in this
/// process; a store that several processes share implements this trait. The feature `conformance`
/// has the suite that every store must pass.
pub trait LimitStore: fmt::Debug + Send + Sync + 'static {
    /// Takes the cost of every limit of `request` from its counter, or takes nothing at all.
    ///
    /// # What must hold
    /// - **All or nothing.** Either every limit allows its draw and all draws are made, or nothing
    ///   is taken from any counter.
    /// - **One step.** Test and draw can't be told apart from outside: of any number of requests
    ///   in flight, from any process, no more pass than the quota holds. A read that is followed by
    ///   a write is not that.
    /// - **Exact.** Counters follow [`gcra`](crate::gcra): a quota of `burst` units admits exactly
    ///   `burst` at once, and one unit more after each interval.
    /// - **Never back in time.** A request whose time is earlier than that of one that was decided is
    ///   decided at the latest time that the store has seen: the units that are left then are there
    ///   for it, and a clock that goes back grants nothing. A store that decides by its own clock
    ///   keeps this where that clock never goes back, or where it keeps the latest time itself.
    /// - **Kept.** A counter may be forgotten once its quota is whole again, and not before.
    /// - A cost of 0 takes nothing and is always allowed; a cost over the quota's burst never is.
    /// - The outcomes stand in the order of [`LimitRequest::limits`], one for each.
    ///
    /// # Errors
    /// A failure means that nothing is known: the layer then does what it is set to do
    /// ([`StoreFailure`](crate::StoreFailure)). A store that waits for others has a deadline of its
    /// own and fails when it is over; the layer has none. A failure whose source is [`StoreFull`]
    /// always refuses the request.
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture;
}

impl<S: LimitStore + ?Sized> LimitStore for Arc<S> {
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture {
        (**self).check(request)
    }
}

/// A store's answer: at once, or later. An answer at once costs no allocation and no await. One
/// that comes later borrows nothing, neither the store nor the request, so that the layer can hold
/// it beside both: the store copies what it needs, usually the counters' names.
#[must_use = "a decision counts only once it is looked at"]
#[allow(
    clippy::large_enum_variant,
    reason = "an answer at once is there to spare the allocation that a box would cost"
)]
pub enum LimitFuture {
    /// The answer.
    Ready(Result<LimitDecision, StoreError>),
    /// The answer, later.
    Later(Pin<Box<dyn Future<Output = Result<LimitDecision, StoreError>> + Send>>),
}

impl LimitFuture {
    /// An answer that `work` finds.
    pub fn later(
        work: impl Future<Output = Result<LimitDecision, StoreError>> + Send + 'static,
    ) -> Self {
        Self::Later(Box::pin(work))
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// The store's.
    pub async fn resolve(self) -> Result<LimitDecision, StoreError> {
        match self {
            Self::Ready(result) => result,
            Self::Later(work) => work.await,
        }
    }
}

impl From<Result<LimitDecision, StoreError>> for LimitFuture {
    fn from(result: Result<LimitDecision, StoreError>) -> Self {
        Self::Ready(result)
    }
}

impl fmt::Debug for LimitFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// A store's decision: what each limit said. The request is allowed if all of them allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitDecision {
    outcomes: ArrayVec<LimitOutcome, MAX_LIMITS>,
    refused: Option<u8>,
}

/// What one limit said, after the decision as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitOutcome {
    remaining: u32,
    allowed: bool,
    reset_after: u64,
    retry_after: u64,
}

/// A store holds as many counters as it may and all of them count something. It is the source of a
/// [`StoreError`]; no fallback is asked then, because that would be a way around the store's bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store has no room for another counter")]
pub struct StoreFull;

impl LimitDecision {
    /// The decision that these outcomes make.
    ///
    /// # Errors
    /// `Corrupt` when there are more outcomes than a request can have limits.
    #[inline]
    pub fn new(outcomes: impl IntoIterator<Item = LimitOutcome>) -> Result<Self, StoreError> {
        let mut outcomes = outcomes.into_iter();
        let decision = Self::of(outcomes.by_ref().take(MAX_LIMITS));
        match outcomes.next() {
            None => Ok(decision),
            Some(_) => Err(StoreError::new(StoreErrorKind::Corrupt)),
        }
    }

    /// As [`LimitDecision::new`], of no more outcomes than a request can have limits.
    #[inline]
    pub(crate) fn of(outcomes: impl Iterator<Item = LimitOutcome>) -> Self {
        let mut decision = Self {
            outcomes: ArrayVec::new(),
            refused: None,
        };
        for outcome in outcomes {
            decision.push(outcome);
        }
        decision
    }

    /// Whether the request may pass.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.refused.is_none()
    }

    /// The outcomes, in the order of the request's limits.
    #[must_use]
    pub fn outcomes(&self) -> &[LimitOutcome] {
        &self.outcomes
    }

    /// Which limit refused: of several the one that must be waited for longest, so that the wait
    /// that a caller is told of is long enough for all.
    #[must_use]
    pub fn refused(&self) -> Option<usize> {
        self.refused.map(usize::from)
    }

    #[inline]
    fn push(&mut self, outcome: LimitOutcome) {
        let waited = |index: u8| self.outcomes[usize::from(index)].retry_after;
        if !outcome.allowed && self.refused.is_none_or(|i| outcome.retry_after > waited(i)) {
            // There are at most `MAX_LIMITS`.
            self.refused = Some(self.outcomes.len() as u8);
        }
        self.outcomes.push(outcome);
    }
}

impl LimitOutcome {
    /// The limit allowed its draw. `remaining` units can be taken at once from now on, and the
    /// quota is whole again after `reset_after`. Where another limit refused, nothing was drawn
    /// and the numbers are those before.
    #[must_use]
    pub fn allowed(remaining: u32, reset_after: Duration) -> Self {
        Self {
            remaining,
            allowed: true,
            reset_after: nanos(reset_after),
            retry_after: 0,
        }
    }

    /// The limit refused its draw; the same draw fits after `retry_after`, or never (`None`).
    #[must_use]
    pub fn refused(remaining: u32, reset_after: Duration, retry_after: Option<Duration>) -> Self {
        Self {
            remaining,
            allowed: false,
            reset_after: nanos(reset_after),
            retry_after: retry_after.map_or(NEVER, |wait| nanos(wait).min(NEVER - 1)),
        }
    }

    /// Whether the limit allowed its draw.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// Whole units that can be taken at once.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        self.remaining
    }

    /// How long until the quota is whole again.
    #[must_use]
    pub const fn reset_after(&self) -> Duration {
        Duration::from_nanos(self.reset_after)
    }

    #[inline]
    pub(crate) const fn reset_after_nanos(&self) -> u64 {
        self.reset_after
    }

    /// How long until the same draw fits: zero when it was allowed, `None` when it never will.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        (self.retry_after != NEVER).then(|| Duration::from_nanos(self.retry_after))
    }
}

impl From<Verdict> for LimitOutcome {
    #[inline]
    fn from(verdict: Verdict) -> Self {
        Self {
            remaining: verdict.remaining,
            allowed: verdict.allowed,
            reset_after: verdict.reset_after_ns,
            retry_after: verdict.retry_after_ns,
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The wait for what never fits, as [`gcra`](crate::gcra) says it; no wait that ends is as long.
const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_speaks() {
        let second = Duration::from_secs(1);
        let wait = |seconds| LimitOutcome::refused(0, second, Some(second * seconds));
        let never = LimitOutcome::refused(0, second, None);
        let fine = LimitOutcome::allowed(3, second);
        let refused = |outcomes: &[LimitOutcome]| {
            LimitDecision::new(outcomes.iter().copied())
                .unwrap()
                .refused()
        };
        assert_eq!(refused(&[fine, fine]), None);
        assert_eq!(refused(&[fine, wait(1), wait(3), wait(3)]), Some(2));
        assert_eq!(refused(&[wait(9), never, wait(10)]), Some(1));
        assert_eq!(never.retry_after(), None);
        let longest = LimitOutcome::refused(0, second, Some(Duration::MAX));
        let wait_of = |outcome: LimitOutcome| outcome.retry_after().map(|wait| wait.as_secs());
        assert_eq!(wait_of(longest), Some(u64::MAX / 1_000_000_000));
        assert_eq!(refused(&[wait(9), longest, never]), Some(2));
        assert!(LimitDecision::new([fine; MAX_LIMITS + 1]).is_err());
    }
}
