//! How keys come into being.

use countersign_core::source::canonical_network;
use countersign_core::{CompanyId, Environment, KeyPrefix, LimitOverride, ScopeSet, Timestamp};
use ipnet::IpNet;

use super::{Actor, KeyManager, ManageError, new_key_id, operators_only};
use crate::digest::SecretDigest;
use crate::key::RawKey;
use crate::record::{KeyRecord, KeyStatus};
use crate::store::Write;

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

    /// Accepts the key from these networks only. A network of IPv4-mapped IPv6 addresses is the IPv4
    /// network that it stands for.
    pub fn networks(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.networks = networks.into_iter().map(canonical_network).collect();
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

    pub(super) fn into_record(
        self,
        prefix: KeyPrefix,
        digest: SecretDigest,
        now: Timestamp,
    ) -> Result<KeyRecord, ManageError> {
        Ok(KeyRecord {
            id: new_key_id(now)?,
            prefix,
            company: self.company,
            digest,
            scopes: self.scopes,
            status: if self.active {
                KeyStatus::Active
            } else {
                KeyStatus::Pending
            },
            label: self.label,
            created_at: now,
            expires_at: self.expires_at,
            networks: self.networks,
            limits: self.limits,
            subsidiaries: self.subsidiaries,
            predecessor: None,
            origin: None,
            version: 1,
        })
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

impl KeyManager {
    /// Issues a key. The raw key is returned here and never again.
    ///
    /// # Errors
    /// `Invalid` when an expiry, a scope, a label or a subsidiary is not acceptable, `NotFound` when
    /// the company is not known or the actor is a company.
    pub async fn issue(
        &self,
        actor: &Actor,
        request: IssueRequest,
    ) -> Result<IssuedKey, ManageError> {
        operators_only(actor)?;
        let now = self.now();
        let request = self.check_request(request, now).await?;
        let key = RawKey::generate(&self.0.brand, request.environment)?;
        let digest = self.0.digester.digest(key.secret());
        let record = request.into_record(*key.prefix(), digest, now)?;
        let events = self.issue_events(actor, &record);
        let writes = vec![Write::InsertKey(record.clone())];
        self.commit(writes, events).await?;
        Ok(IssuedKey { record, key })
    }

    /// Whether a key as it is asked for may be. Nothing is written before this was asked.
    pub(super) async fn check_request(
        &self,
        mut request: IssueRequest,
        now: Timestamp,
    ) -> Result<IssueRequest, ManageError> {
        let refuse = |problem: String| Err(ManageError::Invalid(problem));
        self.check_scopes(&request.scopes)?;
        if request.expires_at <= now {
            return refuse("the expiry is in the past; give a time to come".to_owned());
        }
        if request.expires_at.duration_since(now) > self.0.max_lifetime {
            let days = self.0.max_lifetime.as_secs() / 86_400;
            return refuse(format!("the expiry is too far away; {days} days at most"));
        }
        if request.label.chars().count() > 100 || request.label.chars().any(char::is_control) {
            return refuse("the label must be at most 100 printable characters".to_owned());
        }
        let company = self.0.store.company(&request.company).await?;
        company.ok_or(ManageError::NotFound)?;
        request.subsidiaries = self
            .check_subsidiaries(&request.company, request.subsidiaries)
            .await?;
        Ok(request)
    }
}
