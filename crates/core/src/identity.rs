//! Who is calling.

use serde::{Deserialize, Serialize};

use crate::{CompanyId, Environment, KeyId, KeyPrefix, LimitOverrides, ScopeSet};

/// What kind of caller was identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActorType {
    /// An outside company's API key.
    ApiKey,
    /// A caller that another authentication layer identified.
    External,
    /// Nobody was identified.
    Anonymous,
    /// An operator of the platform.
    Operator,
    /// The service itself.
    System,
}

impl ActorType {
    /// The name in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::External => "external",
            Self::Anonymous => "anonymous",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

/// The verified caller: what a layer that authenticates puts into the
/// [`AccessContext`](crate::AccessContext). Small and copied by value, so that one busy key makes no
/// shared reference count.
#[derive(Debug, Clone)]
pub struct Identity {
    actor: ActorType,
    key: Option<(KeyId, KeyPrefix)>,
    company: CompanyId,
    environment: Environment,
    scopes: ScopeSet,
    limits: LimitOverrides,
}

impl Identity {
    /// A caller of `company` that some layer other than key-verify authenticated.
    #[must_use]
    pub const fn new(company: CompanyId, environment: Environment, scopes: ScopeSet) -> Self {
        Self {
            actor: ActorType::External,
            key: None,
            company,
            environment,
            scopes,
            limits: LimitOverrides::EMPTY,
        }
    }

    /// Names the key that was verified.
    #[must_use]
    pub const fn with_key(mut self, id: KeyId, prefix: KeyPrefix) -> Self {
        self.actor = ActorType::ApiKey;
        self.key = Some((id, prefix));
        self
    }

    /// Gives the caller its own quotas for some policies.
    #[must_use]
    pub fn with_limits(mut self, limits: LimitOverrides) -> Self {
        self.limits = limits;
        self
    }

    /// What kind of caller this is.
    #[must_use]
    pub const fn actor(&self) -> ActorType {
        self.actor
    }

    /// The key's record id, if a key was verified.
    #[must_use]
    pub fn key_id(&self) -> Option<KeyId> {
        self.key.as_ref().map(|(id, _)| *id)
    }

    /// The key's prefix, if a key was verified.
    #[must_use]
    pub fn key_prefix(&self) -> Option<&KeyPrefix> {
        self.key.as_ref().map(|(_, prefix)| prefix)
    }

    /// The company that owns the credential.
    #[must_use]
    pub const fn company(&self) -> &CompanyId {
        &self.company
    }

    /// Production or sandbox.
    #[must_use]
    pub const fn environment(&self) -> Environment {
        self.environment
    }

    /// What the caller may do.
    #[must_use]
    pub const fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// The caller's own quotas.
    #[must_use]
    pub const fn limits(&self) -> &LimitOverrides {
        &self.limits
    }
}
