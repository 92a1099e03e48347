//! What happened to a key or a company, on its way from the store into the audit log.

use std::fmt;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{ActorType, CompanyId, Environment, KeyId, KeyPrefix, Timestamp};

/// The kind of a lifecycle event. Its text is the audit event's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LifecycleKind {
    /// A key was issued.
    #[serde(rename = "external_api.token.created")]
    TokenCreated,
    /// A raw key was handed out, once.
    #[serde(rename = "external_api.token.displayed_once")]
    TokenDisplayedOnce,
    /// A pending key came into use.
    #[serde(rename = "external_api.token.activated")]
    TokenActivated,
    /// A key's scopes were replaced.
    #[serde(rename = "external_api.token.scopes_changed")]
    TokenScopesChanged,
    /// A key's limits were replaced.
    #[serde(rename = "external_api.token.limits_changed")]
    TokenLimitsChanged,
    /// A key got a successor.
    #[serde(rename = "external_api.token.rotated")]
    TokenRotated,
    /// A key's expiry was noticed.
    #[serde(rename = "external_api.token.expired")]
    TokenExpired,
    /// A key was revoked.
    #[serde(rename = "external_api.token.revoked")]
    TokenRevoked,
    /// A key was suspended.
    #[serde(rename = "external_api.token.suspended")]
    TokenSuspended,
    /// A suspended key came back into use.
    #[serde(rename = "external_api.token.reactivated")]
    TokenReactivated,
    /// A company and with it all of its keys were suspended.
    #[serde(rename = "external_api.company.suspended")]
    CompanySuspended,
    /// A suspended company came back into use.
    #[serde(rename = "external_api.company.reactivated")]
    CompanyReactivated,
}

impl LifecycleKind {
    /// Every kind there is.
    pub const ALL: &'static [Self] = &[
        Self::TokenCreated,
        Self::TokenDisplayedOnce,
        Self::TokenActivated,
        Self::TokenScopesChanged,
        Self::TokenLimitsChanged,
        Self::TokenRotated,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::TokenSuspended,
        Self::TokenReactivated,
        Self::CompanySuspended,
        Self::CompanyReactivated,
    ];

    /// The audit event's type.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenCreated => "external_api.token.created",
            Self::TokenDisplayedOnce => "external_api.token.displayed_once",
            Self::TokenActivated => "external_api.token.activated",
            Self::TokenScopesChanged => "external_api.token.scopes_changed",
            Self::TokenLimitsChanged => "external_api.token.limits_changed",
            Self::TokenRotated => "external_api.token.rotated",
            Self::TokenExpired => "external_api.token.expired",
            Self::TokenRevoked => "external_api.token.revoked",
            Self::TokenSuspended => "external_api.token.suspended",
            Self::TokenReactivated => "external_api.token.reactivated",
            Self::CompanySuspended => "external_api.company.suspended",
            Self::CompanyReactivated => "external_api.company.reactivated",
        }
    }
}

impl fmt::Display for LifecycleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id of an event, a ULID; an event that is delivered twice keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Ulid);

impl EventId {
    /// A new id for an event at `time`. Unique, not secret.
    #[must_use]
    pub fn generate(time: Timestamp) -> Self {
        Self(Ulid::from_parts(time.as_millis(), fastrand::u128(..)))
    }

    /// When the event happened, to the millisecond, as the id tells it.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        let micros = self.0.timestamp_ms().saturating_mul(1000);
        Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// The text, in ASCII.
    #[must_use]
    pub fn ascii(self) -> [u8; ulid::ULID_LEN] {
        let mut text = [0; ulid::ULID_LEN];
        self.0.array_to_str(&mut text);
        text
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.array_to_str(&mut [0; ulid::ULID_LEN]))
    }
}

impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.array_to_str(&mut [0; ulid::ULID_LEN]))
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let id = Ulid::from_string(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(id))
    }
}

/// One change of a key's or a company's state. It is stored in the same transaction as the change
/// and delivered to the audit log afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleEvent {
    /// Stays the same when the event is delivered again.
    pub id: EventId,
    /// When the change was made.
    pub time: Timestamp,
    /// What happened.
    pub kind: LifecycleKind,
    /// Who did it: an operator, a company's own key, the service itself.
    pub actor_type: ActorType,
    /// The name of who did it: an operator's name or a key prefix. Never a credential.
    pub actor: String,
    /// The company that owns what was changed.
    pub company: CompanyId,
    /// The environment of the key, for key events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The key's record id, for key events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// The key's prefix, for key events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_prefix: Option<KeyPrefix>,
    /// Why, in one word of a closed list, for example `suspected_leakage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The other key of a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_key: Option<KeyId>,
    /// The companies that the key may act for besides its owner, as they stand after the change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subsidiaries: Vec<CompanyId>,
    /// The scopes that the key has after the change, sorted, where it was issued or its scopes were changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Until when the key can be used at most, where it was issued (its expiry) or rotated (the end of
    /// its overlap).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// What was changed, in one word, where the kind leaves it open: `limits_changed` tells of
    /// `quotas` or of `networks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_is_missing() {
        // What reads a kind names all that it knows.
        let refused = serde_json::from_str::<LifecycleKind>("\"x\"").unwrap_err();
        let known = refused.to_string();
        assert_eq!(
            known.matches('`').count(),
            2 * (LifecycleKind::ALL.len() + 1)
        );
        for kind in LifecycleKind::ALL {
            assert!(known.contains(&format!("`{kind}`")), "{kind}");
        }
    }
}
