//! An event as one line of JSON.

use countersign_core::MetadataValue;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{AuditEvent, Extra, Rare};
use crate::record::Stamp;

/// The longest line of a log, in bytes, without its newline.
pub(crate) const MAX_LINE: usize = 60_000;

impl AuditEvent {
    /// The event as line `seq` of a log, without the newline.
    pub(crate) fn line(&self, seq: u64, stamp: Option<&Stamp>) -> Vec<u8> {
        let line = self.write(seq, stamp);
        if line.len() <= MAX_LINE {
            return line;
        }
        let length = i64::try_from(line.len()).unwrap_or(i64::MAX);
        self.shortened(length).write(seq, stamp)
    }

    fn write(&self, seq: u64, stamp: Option<&Stamp>) -> Vec<u8> {
        let mut line = Vec::with_capacity(TYPICAL_LINE);
        let numbered = Numbered {
            seq,
            stamp,
            event: self,
        };
        // Every member is text, a number or a truth value, and a `Vec` takes all that is written,
        // so this can't fail; were it to, the line would not read as JSON and be reported.
        if let Err(error) = serde_json::to_writer(&mut line, &numbered) {
            tracing::error!(target: "countersign", %error, seq, "audit event could not be written as JSON");
        }
        line
    }

    /// The event without those fields whose length nothing bounds; says so in `metadata`.
    fn shortened(&self, length: i64) -> Self {
        let mut short = self.clone();
        short.endpoint = None;
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

/// The event without its place in a log.
impl Serialize for AuditEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entries(&mut map)?;
        map.end()
    }
}

struct Numbered<'a> {
    seq: u64,
    stamp: Option<&'a Stamp>,
    event: &'a AuditEvent,
}

impl Serialize for Numbered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("seq", &self.seq)?;
        if let Some(stamp) = self.stamp {
            map.serialize_entry("log", stamp.origin())?;
            map.serialize_entry("boot", stamp.boot())?;
            let reading = self.event.monotonic.as_nanos() / 1000;
            map.serialize_entry("monotonic_us", &reading)?;
        }
        self.event.entries(&mut map)?;
        map.end()
    }
}

impl AuditEvent {
    fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        put(map, "id", self.id)?;
        map.serialize_entry("time", &self.time)?;
        map.serialize_entry("type", &self.kind)?;
        put(map, "decision", self.decision)?;
        put(map, "reason", self.reason())?;
        put(map, "error", self.error())?;
        put(map, "status", self.status.map(|status| status.as_u16()))?;
        put(map, "request_id", self.request_id.as_ref())?;
        put(map, "trace_id", self.trace_id)?;
        map.serialize_entry("actor", self.actor.as_str())?;
        put(map, "environment", self.environment)?;
        put(map, "key_id", self.key_id)?;
        put(map, "key_prefix", self.key_prefix)?;
        put(map, "owner_company", self.owner)?;
        put(map, "effective_company", self.effective_company())?;
        put(map, "claimed_company", self.claimed_company())?;
        put(map, "method", self.method)?;
        put(map, "route", self.route())?;
        put(map, "required_scope", self.required_scope())?;
        put(map, "operation", self.operation().map(|o| o.as_str()))?;
        put(map, "sensitivity", self.sensitivity().map(|s| s.as_str()))?;
        put(map, "limit_policy", self.limit_policy())?;
        put(map, "source", self.source)?;
        put(map, "user_agent_hash", self.agent)?;
        put(map, "latency_us", self.latency_us)?;
        let resource = self.resource();
        put(map, "resource_type", resource.map(|r| r.kind()))?;
        put(map, "resource_id", resource.map(|r| r.id()))?;
        let rare = self.rare.as_deref();
        put(
            map,
            "metadata",
            rare.filter(|rare| !rare.is_bare()).map(Metadata),
        )
    }
}

fn put<M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    value: Option<impl Serialize>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, &value),
        None => Ok(()),
    }
}

struct Metadata<'a>(&'a Rare);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.0.ours {
            map.serialize_entry(name, value)?;
        }
        for (name, value) in self.0.of_handlers() {
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

impl Rare {
    pub(super) fn metadata(&self, name: &str) -> Option<serde_json::Value> {
        let ours = self.ours.iter().find(|(known, _)| *known == name);
        if let Some((_, value)) = ours {
            return serde_json::to_value(value).ok();
        }
        let (_, value) = self.of_handlers().find(|(known, _)| *known == name)?;
        serde_json::to_value(checked(value)).ok()
    }

    fn is_bare(&self) -> bool {
        self.ours.is_empty() && self.handlers.is_empty()
    }

    /// The handler's entries. A name that the log itself uses stays the log's.
    fn of_handlers(&self) -> impl Iterator<Item = &(&'static str, MetadataValue)> {
        let ours = |name: &str| self.ours.iter().any(|(known, _)| *known == name);
        self.handlers.iter().filter(move |(name, _)| !ours(name))
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
