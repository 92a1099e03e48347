//! Log lines about a store that fails, so many that they tell and no more.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_core::{Monotonic, StoreError};

/// One line a second for each kind; those that were left out are counted in the next one.
#[derive(Debug, Default)]
pub(super) struct FailureLog {
    failed: Line,
    crowded: Line,
}

#[derive(Debug, Default)]
struct Line {
    /// When the next line may be written, in nanoseconds of the clock.
    next: AtomicU64,
    left_out: AtomicU64,
}

impl FailureLog {
    /// The store failed, or did not answer in time.
    pub(super) fn failed(&self, now: Monotonic, error: &StoreError) {
        if let Some(left_out) = self.failed.turn(now) {
            let cause = causes(error);
            tracing::error!(target: "countersign", %error, cause, left_out, "the key store failed");
        }
    }

    /// A look-up would have been one too many.
    pub(super) fn crowded(&self, now: Monotonic) {
        if let Some(left_out) = self.crowded.turn(now) {
            tracing::error!(
                target: "countersign",
                left_out,
                "as many look-ups as allowed are under way: more requests are refused"
            );
        }
    }
}

impl Line {
    /// How many lines were left out since the last one, where it is time for the next.
    fn turn(&self, now: Monotonic) -> Option<u64> {
        let (now, next) = (now.as_nanos(), self.next.load(Ordering::Relaxed));
        let after = now.saturating_add(DISTANCE.as_nanos() as u64);
        let swap = |next| {
            let relaxed = Ordering::Relaxed;
            self.next.compare_exchange(next, after, relaxed, relaxed)
        };
        if now >= next && swap(next).is_ok() {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// The causes behind an error, outermost first.
fn causes(error: &StoreError) -> Option<String> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    (!causes.is_empty()).then(|| causes.join(": "))
}

const DISTANCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_second_and_the_rest_counted() {
        let line = Line::default();
        let at = |millis: u64| Monotonic::from_nanos(millis * 1_000_000);
        assert_eq!(line.turn(at(5000)), Some(0));
        assert_eq!(line.turn(at(5001)), None);
        assert_eq!(line.turn(at(5999)), None);
        assert_eq!(line.turn(at(6000)), Some(2));
        assert_eq!(line.turn(at(6001)), None);
    }
}
