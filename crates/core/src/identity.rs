//! Who is calling.

use std::sync::Arc;

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
    origin: Option<KeyId>,
    company: CompanyId,
    environment: Environment,
    scopes: ScopeSet,
    limits: LimitOverrides,
    subsidiaries: Subsidiaries,
}

impl Identity {
    /// A caller of `company` that some layer other than key-verify authenticated.
    #[must_use]
    pub const fn new(company: CompanyId, environment: Environment, scopes: ScopeSet) -> Self {
        Self {
            actor: ActorType::External,
            key: None,
            origin: None,
            company,
            environment,
            scopes,
            limits: LimitOverrides::EMPTY,
            subsidiaries: Subsidiaries::NONE,
        }
    }

    /// Names the key that was verified.
    #[must_use]
    pub const fn with_key(mut self, id: KeyId, prefix: KeyPrefix) -> Self {
        self.actor = ActorType::ApiKey;
        self.key = Some((id, prefix));
        self
    }

    /// Names the key at the beginning of the chain of rotations in which the verified key stands.
    #[must_use]
    pub const fn with_key_origin(mut self, origin: KeyId) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Gives the caller its own quotas for some policies.
    #[must_use]
    pub fn with_limits(mut self, limits: LimitOverrides) -> Self {
        self.limits = limits;
        self
    }

    /// Lets the caller work for these companies as well as for its own.
    #[must_use]
    pub fn with_subsidiaries(mut self, subsidiaries: Subsidiaries) -> Self {
        self.subsidiaries = subsidiaries;
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

    /// What a key is counted by, if one was verified: the first key of the chain of rotations in
    /// which it stands, so that a rotation begins nothing anew. The key itself, unless another one was
    /// [named](Identity::with_key_origin).
    #[must_use]
    pub fn key_origin(&self) -> Option<KeyId> {
        let key = self.key_id()?;
        Some(self.origin.unwrap_or(key))
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

    /// The companies that the caller may work for besides its own: the closed set that operators
    /// granted it.
    #[must_use]
    pub const fn subsidiaries(&self) -> &Subsidiaries {
        &self.subsidiaries
    }

    /// Whether the caller may work for `company`: its own, or one that it was granted.
    #[must_use]
    pub fn may_act_for(&self, company: &CompanyId) -> bool {
        self.company == *company || self.subsidiaries.contains(company)
    }

    /// The caller's own quotas.
    #[must_use]
    pub const fn limits(&self) -> &LimitOverrides {
        &self.limits
    }
}

/// The subsidiaries that a parent's key was granted; most keys have none, and then this is empty
/// and free to copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subsidiaries(Option<Arc<[CompanyId]>>);

impl Subsidiaries {
    /// No subsidiary.
    pub const NONE: Self = Self(None);

    /// Whether `company` is among them.
    #[must_use]
    pub fn contains(&self, company: &CompanyId) -> bool {
        self.iter().any(|granted| granted == company)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &CompanyId> {
        self.0.as_deref().unwrap_or_default().iter()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl FromIterator<CompanyId> for Subsidiaries {
    fn from_iter<I: IntoIterator<Item = CompanyId>>(companies: I) -> Self {
        let all: Arc<[CompanyId]> = companies.into_iter().collect();
        Self((!all.is_empty()).then_some(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_counted_by_the_first_of_its_chain() {
        let nobody = Identity::new("a".parse().unwrap(), Environment::Live, ScopeSet::new());
        let (first, third) = (KeyId::from_u128(1), KeyId::from_u128(3));
        assert_eq!(nobody.clone().with_key_origin(first).key_origin(), None);
        let key = nobody.with_key(third, "acme_live_000000000000".parse().unwrap());
        assert_eq!(key.key_origin(), Some(third));
        let key = key.with_key_origin(first);
        assert_eq!((key.key_id(), key.key_origin()), (Some(third), Some(first)));
    }

    #[test]
    fn a_caller_acts_for_its_own_company_and_for_those_that_it_was_granted() {
        let company = |text: &str| text.parse::<CompanyId>().unwrap();
        let alone = Identity::new(company("parent"), Environment::Live, ScopeSet::new());
        assert!(alone.may_act_for(&company("parent")));
        assert!(!alone.may_act_for(&company("child")));
        let none: Subsidiaries = [].into_iter().collect();
        assert!(none.is_empty());
        let group = alone.with_subsidiaries([company("child")].into_iter().collect());
        assert!(group.may_act_for(&company("parent")));
        assert!(group.may_act_for(&company("child")));
        assert!(!group.may_act_for(&company("stranger")));
    }
}
