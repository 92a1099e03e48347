//! What is stored of a key and of the company that owns it.

use std::fmt;
use std::str::FromStr;

use countersign_core::{
    CompanyId, Environment, KeyId, KeyPrefix, LimitOverride, ParseError, Reason, ScopeSet,
    StoreError, StoreErrorKind, Timestamp,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::SecretDigest;

/// Where a key stands in its life, as it is stored. Expiry is not a state: it is checked against
/// the clock on every request, see [`KeyRecord::standing`].
///
/// `pending → active → suspended ⇄ active`, `active → rotated → revoked`, any of these `→ revoked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeyStatus {
    /// Issued, not in use yet.
    Pending,
    /// In use.
    Active,
    /// Out of use until somebody reactivates it.
    Suspended,
    /// Replaced by `successor`; still accepted before `until`.
    Rotated {
        /// The key that replaces this one.
        successor: KeyId,
        /// When this key stops being accepted.
        until: Timestamp,
    },
    /// Out of use for ever.
    Revoked {
        /// When.
        at: Timestamp,
        /// Why.
        reason: RevocationReason,
    },
}

impl KeyStatus {
    /// The state's name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Rotated { .. } => "rotated",
            Self::Revoked { .. } => "revoked",
        }
    }

    pub(crate) fn standing(&self, expires_at: Timestamp, now: Timestamp) -> Result<(), Reason> {
        match self {
            Self::Revoked { .. } => Err(Reason::RevokedApiKey),
            _ if now >= expires_at => Err(Reason::ExpiredApiKey),
            Self::Pending => Err(Reason::PendingApiKey),
            Self::Suspended => Err(Reason::SuspendedApiKey),
            Self::Rotated { until, .. } if now >= *until => Err(Reason::RotatedApiKey),
            Self::Active | Self::Rotated { .. } => Ok(()),
        }
    }
}

/// Why a key was revoked; a closed list, so that reviews can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    /// The key may have become known to others.
    SuspectedLeakage,
    /// The integration is not used any more.
    IntegrationDecommissioned,
    /// The company asked for it.
    CompanyRequest,
    /// The key was refused too often.
    ExcessiveDeniedRequests,
    /// The key ran into its limits again and again.
    RateLimitAbuse,
    /// The key is replaced by one that may do less.
    ScopeReduction,
    /// The key was issued by mistake.
    OperationalMistake,
    /// The key reached its planned end.
    ScheduledHygiene,
}

impl RevocationReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::SuspectedLeakage,
        Self::IntegrationDecommissioned,
        Self::CompanyRequest,
        Self::ExcessiveDeniedRequests,
        Self::RateLimitAbuse,
        Self::ScopeReduction,
        Self::OperationalMistake,
        Self::ScheduledHygiene,
    ];

    /// The reason's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SuspectedLeakage => "suspected_leakage",
            Self::IntegrationDecommissioned => "integration_decommissioned",
            Self::CompanyRequest => "company_request",
            Self::ExcessiveDeniedRequests => "excessive_denied_requests",
            Self::RateLimitAbuse => "rate_limit_abuse",
            Self::ScopeReduction => "scope_reduction",
            Self::OperationalMistake => "operational_mistake",
            Self::ScheduledHygiene => "scheduled_hygiene",
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RevocationReason {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|reason| reason.as_str() == text)
            .ok_or(ParseError::new(
                "revocation reason",
                "suspected_leakage, integration_decommissioned, company_request, \
                 excessive_denied_requests, rate_limit_abuse, scope_reduction, \
                 operational_mistake or scheduled_hygiene",
            ))
    }
}

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
    /// Counts the record's changes from 1; a store refuses an update of another version.
    pub version: u64,
}

impl KeyRecord {
    /// Production or sandbox.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.prefix.environment()
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

    /// The record as text, for a store and for nothing else: it holds the digest.
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
            version: record.version,
        }
    }
}

fn corrupt(error: serde_json::Error) -> StoreError {
    StoreError::with_source(StoreErrorKind::Corrupt, error)
}
