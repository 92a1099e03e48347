//! Log lines that must not come once for each request.

use std::sync::atomic::{AtomicU64, Ordering};

/// Says yes at most once a minute, to one of all who ask.
#[derive(Debug, Default)]
pub(crate) struct Occasionally {
    next: AtomicU64,
}

impl Occasionally {
    /// Whether it is time again at `now`, in nanoseconds of a monotonic clock.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        let next = self.next.load(Ordering::Relaxed);
        let then = now.saturating_add(60_000_000_000);
        let order = Ordering::Relaxed;
        now >= next && self.next.compare_exchange(next, then, order, order).is_ok()
    }
}
