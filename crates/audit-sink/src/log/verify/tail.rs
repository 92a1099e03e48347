//! The lines behind the newest checkpoint, and for how long nobody has signed them.

use std::time::Duration;

use countersign_core::Timestamp;
use serde::Deserialize;

/// When the lines came in that no checkpoint covers.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: u64,
    /// The newest of the first few, some of which may have waited long: a call that took its time, a
    /// change of a key that was told late.
    begin: Option<Timestamp>,
    newest: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Timed {
    time: String,
}

impl Tail {
    pub(super) fn push(&mut self, line: &[u8]) {
        let timed: Option<Timed> = serde_json::from_slice(line).ok();
        let time = timed.and_then(|timed| timed.time.parse().ok());
        self.newest = self.newest.max(time);
        if self.lines < FEW {
            self.begin = self.newest;
        }
        self.lines += 1;
    }

    /// Whether the writer of a log in good order would have signed them by now.
    pub(super) fn is_overdue(&self, now: Timestamp, limit: Duration) -> bool {
        let (Some(begin), Some(newest)) = (self.begin, self.newest) else {
            return self.lines > 0;
        };
        newest.duration_since(begin) > limit || now.duration_since(newest) > limit
    }
}

const FEW: u64 = 8;
