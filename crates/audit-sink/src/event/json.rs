//! An event as one line of JSON.

use countersign_core::{
    CompanyId, Environment, ErrorCode, KeyPrefix, MetadataValue, Resource, Scope,
};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::members::Members;
use super::{AuditEvent, Decision, Extra, Rare};
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
        line.put_number("seq", Some(seq));
        if let Some(stamp) = stamp {
            line.put("log", Some(stamp.origin()));
            line.put("boot", Some(stamp.boot()));
            line.put_number("monotonic_us", Some(self.monotonic.as_nanos() / 1000));
        }
        self.put_into(&mut line);
        line.end()
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

impl AuditEvent {
    fn put_into(&self, line: &mut Members) {
        line.put_shown("id", self.id);
        line.put_shown("time", Some(self.time));
        line.put("type", Some(self.kind.as_str()));
        line.put("decision", self.decision.map(Decision::as_str));
        line.put("reason", self.reason());
        line.put("error", self.error().map(ErrorCode::as_str));
        let status = self.status.map(|status| status.as_u16().into());
        line.put_number("status", status);
        line.put_shown("request_id", self.request_id.as_ref());
        line.put_shown("trace_id", self.trace_id);
        line.put("actor", Some(self.actor.as_str()));
        line.put("environment", self.environment.map(Environment::as_str));
        line.put_shown("key_id", self.key_id);
        line.put(
            "key_prefix",
            self.key_prefix.as_ref().map(KeyPrefix::as_str),
        );
        let company = CompanyId::as_str;
        line.put("owner_company", self.owner.as_ref().map(company));
        line.put("effective_company", self.effective_company().map(company));
        line.put("claimed_company", self.claimed_company().map(company));
        line.put("method", self.method);
        line.put("route", self.route());
        let scope = self.required_scope().map(Scope::as_str);
        line.put("required_scope", scope);
        line.put("operation", self.operation().map(|o| o.as_str()));
        line.put("sensitivity", self.sensitivity().map(|s| s.as_str()));
        line.put("limit_policy", self.limit_policy());
        line.put_shown("source", self.source);
        line.put_shown("user_agent_hash", self.agent);
        line.put_number("latency_us", self.latency_us);
        let resource = self.resource();
        line.put("resource_type", resource.map(Resource::kind));
        line.put("resource_id", resource.map(Resource::id));
        let rare = self.rare.as_deref().filter(|rare| !rare.is_bare());
        line.put_any("metadata", rare.map(Metadata));
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
