//! An event as one line of JSON.

use countersign_core::{MetadataValue, Resource, Scope};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::members::{Members, name};
use super::plain::Word;
use super::{AuditEvent, Extra, MessageCounts, Rare};
use crate::record::Stamp;

/// The longest line of a log, in bytes, without its newline.
pub(crate) const MAX_LINE: usize = 60_000;

impl AuditEvent {
    /// The event as line `seq` of a log, without the newline, in place of what `room` held.
    pub(crate) fn line(&self, seq: u64, stamp: Option<&Stamp>, room: Vec<u8>) -> Vec<u8> {
        let line = self.write(seq, stamp, room);
        if line.len() <= MAX_LINE {
            return line;
        }
        let length = i64::try_from(line.len()).unwrap_or(i64::MAX);
        self.shortened(length).write(seq, stamp, line)
    }

    fn write(&self, seq: u64, stamp: Option<&Stamp>, mut room: Vec<u8>) -> Vec<u8> {
        room.reserve(TYPICAL_LINE);
        let mut line = Members::begin(room);
        line.put_number(name!("seq"), Some(seq));
        if let Some(stamp) = stamp {
            line.put(name!("log"), Some(stamp.origin()));
            line.put(name!("boot"), Some(stamp.boot()));
            line.put_number(
                name!("monotonic_us"),
                Some(self.monotonic.as_nanos() / 1000),
            );
        }
        self.put_into(&mut line);
        line.end()
    }

    /// The event without those fields whose length nothing bounds; says so in `metadata`.
    fn shortened(&self, length: i64) -> Self {
        let mut short = self.clone();
        short.endpoint = None;
        short.messages = None;
        let mut rare = Rare {
            reason: self.rare.as_ref().and_then(|rare| rare.reason.clone()),
            required_scope: self.required_scope(),
            ..Rare::default()
        };
        let length = MetadataValue::Integer(length);
        rare.ours.push(("truncated_bytes", Extra::Value(length)));
        short.rare = Some(Box::new(rare));
        short
    }
}

impl AuditEvent {
    fn put_into(&self, line: &mut Members) {
        line.put_plain(name!("id"), self.id);
        line.put_plain(name!("time"), Some(self.time));
        line.put_plain(name!("type"), Some(Word(self.kind.as_str())));
        line.put_plain(name!("decision"), self.decision.map(|it| Word(it.as_str())));
        line.put(name!("reason"), self.reason());
        line.put_plain(name!("error"), self.error().map(|it| Word(it.as_str())));
        let status = self.status.map(|status| status.as_u16().into());
        line.put_number(name!("status"), status);
        line.put_plain(name!("request_id"), self.request_id.as_ref());
        line.put_shown(name!("trace_id"), self.trace_id);
        line.put_plain(name!("actor"), Some(Word(self.actor.as_str())));
        let environment = self.environment.map(|it| Word(it.as_str()));
        line.put_plain(name!("environment"), environment);
        line.put_plain(name!("key_id"), self.key_id);
        line.put_plain(name!("key_prefix"), self.key_prefix.as_ref());
        line.put_plain(name!("owner_company"), self.owner.as_ref());
        line.put_plain(name!("effective_company"), self.effective_company());
        line.put_plain(name!("claimed_company"), self.claimed_company());
        line.put_plain(name!("method"), self.method.map(Word));
        line.put(name!("route"), self.route());
        let scope = self.required_scope();
        line.put(name!("required_scope"), scope.map(Scope::as_str));
        let operation = self.operation().map(|it| Word(it.as_str()));
        line.put_plain(name!("operation"), operation);
        let sensitivity = self.sensitivity().map(|it| Word(it.as_str()));
        line.put_plain(name!("sensitivity"), sensitivity);
        line.put(name!("limit_policy"), self.limit_policy());
        line.put_plain(name!("source"), self.source);
        line.put_plain(name!("user_agent_hash"), self.agent);
        line.put_number(name!("latency_us"), self.latency_us);
        let resource = self.resource();
        line.put(name!("resource_type"), resource.map(Resource::kind));
        line.put(name!("resource_id"), resource.map(Resource::id));
        line.put_any(name!("metadata"), self.as_metadata());
    }

    /// What stands in `metadata`, if anything does.
    pub(super) fn as_metadata(&self) -> Option<Metadata<'_>> {
        let rare = self.rare.as_deref();
        let metadata = Metadata {
            ours: rare.map_or(&[], |rare| &rare.ours),
            messages: self.messages,
            handlers: rare.map_or(&[], |rare| &rare.handlers),
        };
        let is_bare = metadata.ours.is_empty() && metadata.handlers.is_empty();
        (!is_bare || metadata.messages.is_some()).then_some(metadata)
    }
}

/// Our own entries, and the handler's.
pub(super) struct Metadata<'a> {
    ours: &'a [(&'static str, Extra)],
    messages: Option<MessageCounts>,
    handlers: &'a [(&'static str, MetadataValue)],
}

impl Metadata<'_> {
    pub(super) fn get(&self, name: &str) -> Option<serde_json::Value> {
        if let Some((_, value)) = self.ours.iter().find(|(known, _)| *known == name) {
            return serde_json::to_value(value).ok();
        }
        if let Some((_, count)) = self.counts().find(|(known, _)| *known == name) {
            return Some(count.into());
        }
        let (_, value) = self.of_handlers().find(|(known, _)| *known == name)?;
        serde_json::to_value(checked(value)).ok()
    }

    /// How many messages of a gRPC call passed.
    fn counts(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let messages = self.messages.into_iter();
        messages.flat_map(|it| {
            [
                ("messages_received", it.received),
                ("messages_sent", it.sent),
            ]
        })
    }

    /// The handler's entries. A name that the log itself uses stays the log's.
    fn of_handlers(&self) -> impl Iterator<Item = &(&'static str, MetadataValue)> {
        let ours = |name: &str| {
            self.ours.iter().any(|(known, _)| *known == name)
                || self.counts().any(|(known, _)| known == name)
        };
        self.handlers.iter().filter(move |(name, _)| !ours(name))
    }
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.ours {
            map.serialize_entry(name, value)?;
        }
        for (name, count) in self.counts() {
            map.serialize_entry(name, &count)?;
        }
        for (name, value) in self.of_handlers() {
            map.serialize_entry(name, &checked(value))?;
        }
        map.end()
    }
}

impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

/// A label is cleaned once more: the variant can be made without going through the function that
/// cleans it.
fn checked(value: &MetadataValue) -> MetadataValue {
    match value {
        MetadataValue::Label(text) => MetadataValue::label(text),
        other => other.clone(),
    }
}

const TYPICAL_LINE: usize = 768;
