//! What a backend is given.

use std::borrow::Cow;
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

    fn make(seq: u64, event: AuditEvent, stamp: Option<&Stamp>) -> Self {
        Self::make_in(Vec::new(), seq, event, stamp)
    }

    /// The same, with a line in place of what `room` held.
    pub(crate) fn make_in(
        room: Vec<u8>,
        seq: u64,
        mut event: AuditEvent,
        stamp: Option<&Stamp>,
    ) -> Self {
        Self {
            seq,
            id: event.identify(),
            line: event.line(seq, stamp, room),
            event,
        }
    }

    /// The room that the line took, for another one.
    pub(crate) fn into_room(self) -> Vec<u8> {
        self.line
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

    /// The line as it stands in a log to which others append too, so that the number was not yet
    /// known when the record was made: the same line with `seq` as its number.
    #[must_use]
    pub fn line_as(&self, seq: u64) -> Cow<'_, [u8]> {
        if seq == self.seq {
            return Cow::Borrowed(&self.line);
        }
        let old = self.seq.to_string().len() + NUMBER.len();
        let mut line = format!("{NUMBER}{seq}").into_bytes();
        line.extend_from_slice(self.line.get(old..).unwrap_or_default());
        if line.len() > MAX_LINE {
            // More digits than the longest line has room for.
            let stamp = Stamp::of_line(&self.line);
            line = self.event.line(seq, stamp.as_ref(), line);
        }
        Cow::Owned(line)
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

    /// The stamp that a line bears.
    fn of_line(line: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Stamped<'a> {
            log: Cow<'a, str>,
            boot: Box<str>,
        }
        let stamped: Stamped<'_> = serde_json::from_slice(line).ok()?;
        Some(Self {
            origin: stamped.log.into(),
            boot: stamped.boot,
        })
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

/// How every line begins.
const NUMBER: &str = "{\"seq\":";

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

    #[test]
    fn a_line_takes_another_number_and_nothing_else() {
        let stamp = Stamp::new("a/\"b".into());
        let event = |length| AuditEvent::gap(Timestamp::default(), 3).at("x".repeat(length));
        let room = |seq| Record::MAX_LINE - Record::stamped(seq, event(0), &stamp).line().len();
        let record = Record::stamped(99, event(5), &stamp);
        for seq in [0, 7, 99, 100, u64::MAX] {
            let expected = Record::stamped(seq, record.event().clone(), &stamp);
            assert_eq!(record.line_as(seq), expected.line());
        }
        let longest = Record::stamped(99, event(room(99)), &stamp);
        assert_eq!(longest.line().len(), Record::MAX_LINE);
        let expected = Record::stamped(100, longest.event().clone(), &stamp);
        assert_eq!(longest.line_as(100), expected.line());
        assert!(longest.line_as(100).len() <= Record::MAX_LINE);
        let plain = Record::new(9, event(1));
        assert!(plain.line_as(10).starts_with(b"{\"seq\":10,\"id\":"));
    }
}
