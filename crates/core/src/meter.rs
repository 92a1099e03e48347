//! The meter of failed authentications, between the layer that verifies and the one that limits.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::source::SourceBucket;
use crate::{KeyPrefix, Monotonic, Reason};

/// One attempt to authenticate.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Where it came from.
    pub source: SourceBucket,
    /// The key that it named, if it had the form of a key.
    pub prefix: Option<&'a KeyPrefix>,
    /// When it came.
    pub at: Monotonic,
}

/// An attempt is not looked at now: when the next one will be, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// How long to wait.
    pub retry_after: Duration,
    penalty: bool,
}

impl Throttled {
    /// Too many attempts failed: `source_throttled`.
    #[must_use]
    pub const fn failures(retry_after: Duration) -> Self {
        let penalty = false;
        Self {
            retry_after,
            penalty,
        }
    }

    /// A rule against abuse keeps the source or the prefix away for a while: `abuse_denied`.
    #[must_use]
    pub const fn penalty(retry_after: Duration) -> Self {
        let penalty = true;
        Self {
            retry_after,
            penalty,
        }
    }

    /// The audit's reason.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self.penalty {
            true => Reason::AbuseDenied,
            false => Reason::SourceThrottled,
        }
    }
}

/// Counts failed authentications. An authenticating layer asks it before it asks a store, and
/// reports each failure to it.
pub trait FailureMeter: Debug + Send + Sync + 'static {
    /// Whether an attempt may go on to the store. Nobody is to be refused here for what was done with a
    /// key's prefix: it is no secret, and strangers could lock its owner out by it.
    ///
    /// # Errors
    /// When the source has spent its failures.
    fn admit(&self, attempt: &Attempt<'_>) -> Result<(), Throttled>;

    /// Takes down a failure: test and count are one atomic step, so that of many attempts in
    /// flight no more than the quota are told that they failed.
    ///
    /// # Errors
    /// When the failures were spent already; the caller is then told to wait instead.
    fn record_failure(&self, attempt: &Attempt<'_>) -> Result<(), Throttled>;
}

impl<M: FailureMeter + ?Sized> FailureMeter for Arc<M> {
    fn admit(&self, attempt: &Attempt<'_>) -> Result<(), Throttled> {
        (**self).admit(attempt)
    }

    fn record_failure(&self, attempt: &Attempt<'_>) -> Result<(), Throttled> {
        (**self).record_failure(attempt)
    }
}
