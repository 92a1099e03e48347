//! Where a key stands in its life.

use std::fmt;
use std::str::FromStr;

use countersign_core::{KeyId, ParseError, Reason, Timestamp};
use serde::{Deserialize, Serialize};

/// Where a key stands in its life, as it is stored.
///
/// `pending → active → suspended ⇄ active`, `active → rotated → revoked`, `active → expired`, any of
/// these `→ revoked`.
///
/// That a key is refused from its expiry on does not wait for the state: it is checked against the
/// clock on every request, whatever the state, see
/// [`KeyRecord::standing`](crate::KeyRecord::standing). The state is what the
/// audit log is told of, once somebody looks for keys whose time has come
/// ([`KeyManager::expire_due`](crate::KeyManager::expire_due)). A key that is pending, suspended or
/// rotated when it ends keeps that state.
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
        /// When this key stops being accepted: [`KeyStatus::AT_ONCE`] where it goes on for no time.
        until: Timestamp,
    },
    /// Its time came while it was active.
    Expired,
    /// Out of use for ever.
    Revoked {
        /// When.
        at: Timestamp,
        /// Why.
        reason: RevocationReason,
    },
}

impl KeyStatus {
    /// The end of a key that ended when it was rotated: the beginning of 1970, so that no clock that
    /// is behind the one of whoever rotated it accepts the key for longer.
    pub const AT_ONCE: Timestamp = Timestamp::from_micros(0);

    /// Until when a key in this state is accepted although another replaced it. None for a key that
    /// none replaced, and for one that ended when it was rotated.
    #[must_use]
    pub fn accepted_until(&self) -> Option<Timestamp> {
        match self {
            Self::Rotated { until, .. } => Some(*until).filter(|until| *until != Self::AT_ONCE),
            _ => None,
        }
    }

    /// The state's name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Rotated { .. } => "rotated",
            Self::Expired => "expired",
            Self::Revoked { .. } => "revoked",
        }
    }

    pub(crate) fn standing(&self, expires_at: Timestamp, now: Timestamp) -> Result<(), Reason> {
        match self {
            Self::Revoked { .. } => Err(Reason::RevokedApiKey),
            _ if now >= expires_at => Err(Reason::ExpiredApiKey),
            // Whoever stored it had a clock that is ahead of this one. It does not come back.
            Self::Expired => Err(Reason::ExpiredApiKey),
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
