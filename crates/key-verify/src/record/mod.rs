//! What is stored of a key and of the company that owns it.

mod status;

use countersign_core::{
    CompanyId, Environment, KeyId, KeyPrefix, LimitOverride, Reason, ScopeSet, StoreError,
    StoreErrorKind, Timestamp,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::status::{KeyStatus, RevocationReason};
use crate::SecretDigest;

/// Everything that is stored of one key. The secret is not among it: only its digest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The record's stable id.
    pub id: KeyId,
    /// The public part of the key.
    pub prefix: KeyPrefix,
    /// The owner, for ever.
    pub company: CompanyId,
    /// What the secret is checked against.
    pub digest: SecretDigest,
    /// What the key may do.
    pub scopes: ScopeSet,
    /// Where the key stands in its life.
    pub status: KeyStatus,
    /// What people call the key, for example the integration it serves; at most 100 characters.
    pub label: String,
    /// When it was issued.
    pub created_at: Timestamp,
    /// When it ends, whatever its status.
    pub expires_at: Timestamp,
    /// The networks it may be used from; none means any.
    pub networks: Vec<IpNet>,
    /// Its own quotas.
    pub limits: Vec<LimitOverride>,
    /// The companies that the key may act for besides its owner: subsidiaries that an operator
    /// granted to a parent's key. Mostly none.
    pub subsidiaries: Vec<CompanyId>,
    /// The key that this one replaced.
    pub predecessor: Option<KeyId>,
    /// The key at the beginning of the chain of rotations that led to this one. None for a key that
    /// replaced none, and for one that was made before chains were kept.
    pub origin: Option<KeyId>,
    /// Counts the record's changes from 1; a store refuses an update of another version.
    pub version: u64,
}

impl KeyRecord {
    /// Production or sandbox.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.prefix.environment()
    }

    /// What the key is counted by, by limits and by rules against abuse: the first key of its chain
    /// of rotations, so that a rotation begins nothing anew. The key itself where none is known.
    #[must_use]
    pub fn counted_by(&self) -> KeyId {
        self.origin.unwrap_or(self.id)
    }

    /// Whether the key is accepted at `now`, by its own state alone.
    ///
    /// # Errors
    /// The reason why it is not. Revocation is named before expiry, and expiry before the rest.
    pub fn standing(&self, now: Timestamp) -> Result<(), Reason> {
        self.status.standing(self.expires_at, now)
    }

    /// The status as people see it: `expired` where the clock says so, the stored state otherwise.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> &'static str {
        match self.standing(now) {
            Err(Reason::ExpiredApiKey) => "expired",
            _ => self.status.as_str(),
        }
    }

    /// When the key is to be stored as expired: its end, where its state is one that can expire. Of
    /// all states only an active one can, see [`KeyStatus`].
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        (self.status == KeyStatus::Active).then_some(self.expires_at)
    }

    /// The record as text, for a store and for nothing else: it holds the digest.
    ///
    /// The text is a JSON object. A store may index it by `status.state` and `expires_at`: times are
    /// RFC 3339 in UTC with six digits of fraction, so that they sort as text.
    ///
    /// # Errors
    /// Never for a record that this crate made.
    pub fn encode(&self) -> Result<String, StoreError> {
        serde_json::to_string(&Stored::from(self)).map_err(corrupt)
    }

    /// Reads what [`KeyRecord::encode`] wrote.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`] when the text is not a record.
    pub fn decode(text: &str) -> Result<Self, StoreError> {
        let stored: Stored = serde_json::from_str(text).map_err(corrupt)?;
        let digest = SecretDigest::decode(&stored.digest)
            .map_err(|error| StoreError::with_source(StoreErrorKind::Corrupt, error))?;
        Ok(Self {
            id: stored.id,
            prefix: stored.prefix,
            company: stored.company,
            digest,
            scopes: stored.scopes,
            status: stored.status,
            label: stored.label,
            created_at: stored.created_at,
            expires_at: stored.expires_at,
            networks: stored.networks,
            limits: stored.limits,
            subsidiaries: stored.subsidiaries,
            predecessor: stored.predecessor,
            origin: stored.origin,
            version: stored.version,
        })
    }
}

/// Whether a company may use its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompanyStatus {
    /// Its keys are accepted.
    Active,
    /// None of its keys is accepted.
    Suspended,
}

impl CompanyStatus {
    /// The status's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// A company that can own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompanyRecord {
    /// Its identifier.
    pub id: CompanyId,
    /// Whether it may use its keys.
    pub status: CompanyStatus,
    /// Counts the record's changes from 1.
    pub version: u64,
}

/// The stored form. It is private so that a record can't be serialised by accident, with its
/// digest, into an answer.
#[derive(Serialize, Deserialize)]
struct Stored {
    id: KeyId,
    prefix: KeyPrefix,
    company: CompanyId,
    digest: String,
    scopes: ScopeSet,
    status: KeyStatus,
    #[serde(default)]
    label: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(default)]
    networks: Vec<IpNet>,
    #[serde(default)]
    limits: Vec<LimitOverride>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subsidiaries: Vec<CompanyId>,
    #[serde(default)]
    predecessor: Option<KeyId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<KeyId>,
    version: u64,
}

impl From<&KeyRecord> for Stored {
    fn from(record: &KeyRecord) -> Self {
        Self {
            id: record.id,
            prefix: record.prefix,
            company: record.company,
            digest: record.digest.encode(),
            scopes: record.scopes.clone(),
            status: record.status.clone(),
            label: record.label.clone(),
            created_at: record.created_at,
            expires_at: record.expires_at,
            networks: record.networks.clone(),
            limits: record.limits.clone(),
            subsidiaries: record.subsidiaries.clone(),
            predecessor: record.predecessor,
            origin: record.origin,
            version: record.version,
        }
    }
}

fn corrupt(error: serde_json::Error) -> StoreError {
    StoreError::with_source(StoreErrorKind::Corrupt, error)
}
