//! What is asked for when a key is issued, and what comes back.

use countersign_core::{CompanyId, Environment, LimitOverride, ScopeSet, Timestamp};
use ipnet::IpNet;

use crate::key::RawKey;
use crate::record::KeyRecord;

/// A key to issue.
#[derive(Debug, Clone)]
#[must_use]
pub struct IssueRequest {
    pub(super) company: CompanyId,
    pub(super) environment: Environment,
    pub(super) scopes: ScopeSet,
    pub(super) expires_at: Timestamp,
    pub(super) label: String,
    pub(super) networks: Vec<IpNet>,
    pub(super) limits: Vec<LimitOverride>,
    pub(super) subsidiaries: Vec<CompanyId>,
    pub(super) active: bool,
}

impl IssueRequest {
    /// A key of `company` with these scopes until `expires_at`, pending until it is activated.
    pub const fn new(
        company: CompanyId,
        environment: Environment,
        scopes: ScopeSet,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            company,
            environment,
            scopes,
            expires_at,
            label: String::new(),
            networks: Vec::new(),
            limits: Vec::new(),
            subsidiaries: Vec::new(),
            active: false,
        }
    }

    /// What people call the key; at most 100 characters.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Accepts the key from these networks only.
    pub fn networks(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.networks = networks.into_iter().collect();
        self
    }

    /// Gives the key its own quotas.
    pub fn limits(mut self, limits: impl IntoIterator<Item = LimitOverride>) -> Self {
        self.limits = limits.into_iter().collect();
        self
    }

    /// Lets the key act for these companies as well as for its owner; at most 64, all of them known
    /// to the store. The caller then says in a claim for which of them a request is.
    pub fn subsidiaries(mut self, companies: impl IntoIterator<Item = CompanyId>) -> Self {
        self.subsidiaries = companies.into_iter().collect();
        self
    }

    /// Whether the key is in use from the start.
    pub const fn activate_now(mut self, active: bool) -> Self {
        self.active = active;
        self
    }
}

/// A new key: its record, and the raw key that is never to be had again.
#[derive(Debug)]
pub struct IssuedKey {
    /// What was stored.
    pub record: KeyRecord,
    /// The raw key, for its company alone.
    pub key: RawKey,
}
