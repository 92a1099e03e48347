//! What a log tells of itself.

use std::fmt::Display;

use countersign_core::{ActorType, MetadataValue, Timestamp, is_printable};

use super::{EventType, Extra};
use crate::Recovery;

/// What a log tells of itself, before it is an event with its time and place.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Notice {
    pub(super) kind: EventType,
    pub(super) actor: ActorType,
    pub(super) entries: Vec<(&'static str, Extra)>,
    /// When it happened, where that is not now.
    time: Option<Timestamp>,
}

impl Notice {
    /// That the writer begins.
    pub fn started() -> Self {
        Self::of(EventType::Started)
    }

    /// That the writer ends as it should.
    pub fn stopped() -> Self {
        Self::of(EventType::Stopped)
    }

    /// That the log is alive.
    pub fn heartbeat() -> Self {
        Self::of(EventType::Heartbeat)
    }

    /// That `count` events were lost.
    pub fn gap(count: u64) -> Self {
        Self::of(EventType::Gap).with_number("count", count)
    }

    /// What was set aside and what was signed when the log was opened.
    pub fn recovered(recovery: Recovery) -> Self {
        Self::of(EventType::Recovered)
            .with_number("bytes", recovery.bytes)
            .with_number("lines", recovery.lines)
    }

    /// That a segment was finished, when the tree had `size` leaves and this root.
    pub fn checkpoint(size: u64, root: impl Display) -> Self {
        Self::of(EventType::Checkpoint)
            .with_number("size", size)
            .with_text("root", root)
    }

    /// That the lines from `first` on, `count` of them, are deleted.
    pub fn removed(first: u64, count: u64) -> Self {
        Self::of(EventType::Removed)
            .with_number("first", first)
            .with_number("count", count)
    }

    /// That the log begins anew, because the one with this origin was damaged; `damage` says how.
    pub fn incarnation(previous: impl Display, damage: impl Display) -> Self {
        Self::of(EventType::Incarnation)
            .with_text("previous", previous)
            .with_text("damage", damage)
    }

    /// That `actor` read or exported the log for `purpose`.
    pub fn read(actor: impl Display, purpose: impl Display) -> Self {
        Self::of(EventType::Read)
            .by(actor)
            .with_text("purpose", purpose)
    }

    /// Says who did it: an operator.
    pub fn by(mut self, actor: impl Display) -> Self {
        self.actor = ActorType::Operator;
        self.with_text("actor", actor)
    }

    /// Says when it happened: its event has this time. One that is to come, or before 1970, counts
    /// for nothing; the event then has the time at which it is told.
    pub const fn at(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// The time of its event, when it is told at `now`.
    pub(super) fn time(&self, now: Timestamp) -> Timestamp {
        let past = Timestamp::default()..=now;
        self.time.filter(|time| past.contains(time)).unwrap_or(now)
    }

    const fn of(kind: EventType) -> Self {
        Self {
            kind,
            actor: ActorType::System,
            entries: Vec::new(),
            time: None,
        }
    }

    fn with_number(mut self, name: &'static str, value: u64) -> Self {
        self.entries.push((name, number(value)));
        self
    }

    fn with_text(mut self, name: &'static str, text: impl Display) -> Self {
        let text = Self::kept(&text.to_string());
        self.entries.push((name, Extra::Name(text.into())));
        self
    }

    /// As much of a text as an event keeps.
    pub(crate) fn kept(text: &str) -> String {
        let printable = text.chars().filter(|c| is_printable(*c));
        printable.take(LONGEST_TEXT).collect()
    }
}

pub(super) fn number(value: u64) -> Extra {
    Extra::Value(MetadataValue::Integer(
        i64::try_from(value).unwrap_or(i64::MAX),
    ))
}

const LONGEST_TEXT: usize = 512;
