//! What single backends have come to, for whoever looks at the log's health.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How the backends of a [`FanOut`](crate::FanOut) are doing, each by itself:
/// [`AuditHealth`](crate::AuditHealth) shows it.
#[derive(Debug, Default)]
pub struct Members {
    ended: AtomicU32,
    missing: AtomicU64,
}

impl Members {
    /// How many of them panicked. They get no event any more.
    #[must_use]
    pub fn ended(&self) -> u32 {
        self.ended.load(Ordering::Relaxed)
    }

    /// How many events their logs neither have nor tell of by a gap, told once the backends are closed;
    /// one that two logs are without counts twice.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    pub(super) fn end_one(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn miss(&self, events: u64) {
        self.missing.fetch_add(events, Ordering::Relaxed);
    }
}
