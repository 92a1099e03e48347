//! Quotas of their own for companies and keys.

use std::collections::HashMap;

use countersign_core::{
    CompanyId, ConfigError, Identity, KeyId, LimitOverride, LimitOverrides, Quota,
};

use super::{Planned, Policies};
use crate::Dimension;

/// The quotas that companies and keys have in place of those of the policies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub(super) companies: HashMap<CompanyId, LimitOverrides>,
    pub(super) keys: HashMap<KeyId, LimitOverrides>,
}

impl Overrides {
    /// Whether `identity` may have a quota of its own: false for nearly everybody, and then nothing is
    /// looked up.
    #[inline]
    pub(crate) fn may_concern(&self, identity: Option<&Identity>) -> bool {
        let none = self.companies.is_empty() && self.keys.is_empty();
        !none || identity.is_some_and(|identity| !identity.limits().is_empty())
    }

    /// The quota of `identity` in place of the policy's, if it has one, the nearest: the key's record,
    /// then what was said of the key, then of the first of its chain, then of its company.
    pub(crate) fn quota(&self, policy: &Planned, identity: Option<&Identity>) -> Option<Quota> {
        let identity = identity?;
        let (dimension, name) = (policy.dimension, &policy.override_name);
        let of_key = || {
            let names = [identity.key_id(), identity.key_origin()];
            let mut told = names.into_iter().flatten();
            let told = || told.find_map(|key| self.keys.get(&key)?.get(name));
            identity.limits().get(name).or_else(told)
        };
        let of_company = || self.companies.get(identity.company())?.get(name);
        let of_key = dimension.is_per_key().then(of_key).flatten();
        of_key.or_else(|| dimension.is_per_company().then(of_company).flatten())
    }
}

impl Policies {
    /// The overrides, if each of them replaces a quota that `fits` and holds what a request costs.
    pub(super) fn checked(
        &self,
        overrides: impl IntoIterator<Item = LimitOverride>,
        fits: impl Fn(Dimension) -> bool,
    ) -> Result<LimitOverrides, ConfigError> {
        let overrides: Vec<LimitOverride> = overrides.into_iter().collect();
        for (i, own) in overrides.iter().enumerate() {
            let problem =
                |problem: &str| ConfigError::new(format!("policy {}", own.policy), problem);
            if overrides[..i]
                .iter()
                .any(|other| other.policy == own.policy)
            {
                return Err(problem("two overrides for one policy"));
            }
            let mut found = self
                .planned()
                .filter(|p| *p.override_name == *own.policy)
                .peekable();
            if found.peek().is_none() {
                return Err(problem("an override for a policy that there is not"));
            }
            for planned in found {
                if !fits(planned.dimension) {
                    return Err(problem("a policy that doesn't count by what is overridden"));
                }
                if own.quota.burst() < planned.dearest {
                    return Err(problem("the cost is more than the override holds"));
                }
            }
        }
        Ok(overrides.into_iter().collect())
    }
}
