//! Records as people and programs may see them.

use countersign::{
    CompanyId, CompanyRecord, Environment, KeyId, KeyPrefix, KeyRecord, KeyStatus, KeyUse,
    LimitOverride, RevocationReason, ScopeSet, Timestamp,
};
use ipnet::IpNet;
use serde::Serialize;

use super::text::{join, limit};

#[derive(Serialize)]
pub(super) struct Issued<'a> {
    id: KeyId,
    prefix: KeyPrefix,
    key: &'a str,
    company: CompanyId,
    scopes: &'a ScopeSet,
    environment: Environment,
    status: &'static str,
    expires_at: Timestamp,
}

impl<'a> Issued<'a> {
    pub(super) fn new(record: &'a KeyRecord, key: &'a str) -> Self {
        Self {
            id: record.id,
            prefix: record.prefix,
            key,
            company: record.company,
            scopes: &record.scopes,
            environment: record.environment(),
            status: record.status.as_str(),
            expires_at: record.expires_at,
        }
    }
}

/// A record as people may see it: field by field, so that no new field of a record gets out by
/// itself.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    id: KeyId,
    prefix: KeyPrefix,
    company: CompanyId,
    environment: Environment,
    status: &'static str,
    scopes: &'a ScopeSet,
    label: &'a str,
    networks: &'a [IpNet],
    limits: &'a [LimitOverride],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    subsidiaries: &'a [CompanyId],
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    predecessor: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    successor: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<RevocationReason>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(record: &'a KeyRecord, now: Timestamp) -> Self {
        let successor = match record.status {
            KeyStatus::Rotated { successor, .. } => Some(successor),
            _ => None,
        };
        let (revoked_at, reason) = match record.status {
            KeyStatus::Revoked { at, reason } => (Some(at), Some(reason)),
            _ => (None, None),
        };
        Self {
            id: record.id,
            prefix: record.prefix,
            company: record.company,
            environment: record.environment(),
            status: record.status_at(now),
            scopes: &record.scopes,
            label: &record.label,
            networks: &record.networks,
            limits: &record.limits,
            subsidiaries: &record.subsidiaries,
            created_at: record.created_at,
            expires_at: record.expires_at,
            predecessor: record.predecessor,
            origin: record.origin,
            successor,
            accepted_until: record.status.accepted_until(),
            revoked_at,
            reason,
        }
    }

    pub(super) fn row(&self) -> Vec<String> {
        vec![
            self.prefix.to_string(),
            self.id.to_string(),
            self.status.to_owned(),
            self.expires_at.to_string(),
            self.scopes.names().join(","),
            self.label.to_owned(),
        ]
    }

    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let networks = match self.networks {
            [] => "any".to_owned(),
            some => join(some),
        };
        let limits = match self.limits {
            [] => "the policies' own".to_owned(),
            some => some.iter().map(limit).collect::<Vec<_>>().join(","),
        };
        let acts_for = match self.subsidiaries {
            [] => None,
            some => Some(join(some)),
        };
        let always = [
            ("prefix", Some(self.prefix.to_string())),
            ("id", Some(self.id.to_string())),
            ("company", Some(self.company.to_string())),
            ("environment", Some(self.environment.to_string())),
            ("status", Some(self.status.to_owned())),
            ("scopes", Some(self.scopes.names().join(","))),
            ("networks", Some(networks)),
            ("limits", Some(limits)),
            ("label", Some(self.label.to_owned())),
            ("created", Some(self.created_at.to_string())),
            ("expires", Some(self.expires_at.to_string())),
        ];
        let sometimes = [
            ("acts for", acts_for),
            ("predecessor", self.predecessor.map(|id| id.to_string())),
            ("origin", self.origin.map(|id| id.to_string())),
            ("successor", self.successor.map(|id| id.to_string())),
            ("accepted until", self.accepted_until.map(|t| t.to_string())),
            ("revoked", self.revoked_at.map(|time| time.to_string())),
            ("reason", self.reason.map(|reason| reason.to_string())),
        ];
        let rows = always.into_iter().chain(sometimes);
        rows.filter_map(|(name, value)| Some(vec![name.to_owned(), value?]))
            .collect()
    }
}

#[derive(Serialize)]
pub(super) struct WithUse<'a> {
    #[serde(flatten)]
    pub(super) key: Shown<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_use: Option<LastUse<'a>>,
}

/// When and for what a key was used, as far as services told of it.
#[derive(Serialize)]
pub(super) struct LastUse<'a> {
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    count: u64,
    scopes: &'a ScopeSet,
}

impl<'a> LastUse<'a> {
    pub(super) fn new(uses: &'a KeyUse) -> Self {
        Self {
            at: uses.at,
            route: uses.route.as_deref(),
            count: uses.count,
            scopes: &uses.scopes,
        }
    }

    pub(super) fn rows(&self) -> [Vec<String>; 3] {
        let last = match self.route {
            Some(route) => format!("{} {route}", self.at),
            None => self.at.to_string(),
        };
        let exercised = self.scopes.names().join(",");
        [
            ("last used", last),
            ("uses", self.count.to_string()),
            ("exercised", exercised),
        ]
        .map(|(name, value)| vec![name.to_owned(), value])
    }
}

#[derive(Serialize)]
pub(super) struct Company {
    company: CompanyId,
    status: &'static str,
}

impl Company {
    pub(super) fn new(record: &CompanyRecord) -> Self {
        Self {
            company: record.id,
            status: record.status.as_str(),
        }
    }
}
