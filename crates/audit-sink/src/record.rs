//! What a backend is given.

use std::sync::Arc;

use countersign_core::EventId;

use crate::AuditEvent;
use crate::event::MAX_LINE;

/// One event with its place in the log, and the exact bytes of its line. These bytes are what a
/// log stores and what any proof about the log is computed over.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    seq: u64,
    id: EventId,
    line: Vec<u8>,
    event: AuditEvent,
}

impl Record {
    /// The longest line, in bytes. An event that is longer is written without the fields that have
    /// no bound, and says so in `metadata.truncated_bytes`.
    pub const MAX_LINE: usize = MAX_LINE;

    /// `event` as number `seq` of a log that has no origin. It is given an id if it has none.
    #[must_use]
    pub fn new(seq: u64, event: AuditEvent) -> Self {
        Self::make(seq, event, None)
    }

    /// `event` as number `seq` of the log that `stamp` tells of. It is given an id if it has none.
    #[must_use]
    pub fn stamped(seq: u64, event: AuditEvent, stamp: &Stamp) -> Self {
        Self::make(seq, event, Some(stamp))
    }

    fn make(seq: u64, mut event: AuditEvent, stamp: Option<&Stamp>) -> Self {
        Self {
            seq,
            id: event.identify(),
            line: event.line(seq, stamp),
            event,
        }
    }

    /// The place in the log, from 0, without holes.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The event's id: the same when the same event is delivered again.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.id
    }

    /// The line, UTF-8 JSON without its newline.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The event that the line tells of.
    #[must_use]
    pub const fn event(&self) -> &AuditEvent {
        &self.event
    }
}

/// What every line of one run of one log's writer has in common: the log's origin, so that a line
/// that was moved to another log shows itself, and the run's own name, within which the
/// `monotonic_us` of lines can be compared, so that a stepped clock shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    origin: Arc<str>,
    boot: Box<str>,
}

impl Stamp {
    /// The stamp of a run that begins now, of the log called `origin`.
    #[must_use]
    pub fn new(origin: Arc<str>) -> Self {
        // Only telling runs apart is asked of it, and they are few.
        let boot = format!("{:016x}", fastrand::u64(..)).into();
        Self { origin, boot }
    }

    /// The log's origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The run's name: 16 hex digits, drawn when the writer starts.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.boot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::Timestamp;

    #[test]
    fn a_line_that_is_too_long_is_shortened_and_says_so() {
        let event = |length| AuditEvent::gap(Timestamp::default(), 3).at("x".repeat(length));
        let room = Record::MAX_LINE - Record::new(7, event(0)).line().len();
        let fits = Record::new(7, event(room));
        assert_eq!(fits.line().len(), Record::MAX_LINE);
        let short = Record::new(7, event(room + 1));
        let line: serde_json::Value = serde_json::from_slice(short.line()).unwrap();
        assert_eq!(line["seq"], 7);
        assert_eq!(line["type"], "external_api.audit.gap");
        assert_eq!(line["metadata"]["truncated_bytes"], Record::MAX_LINE + 1);
        assert_eq!(line["id"], short.id().to_string());
        assert_eq!(line.get("route"), None);
    }
}
