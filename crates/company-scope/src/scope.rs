//! The company scope, as a capability.

use countersign_core::{AccessContext, CompanyId, Environment};

/// Whose data a request may touch. To hold one is to be allowed: the only way to get one is a
/// request whose caller was verified and placed, so repositories take it as an argument.
///
/// ```
/// use countersign_company_scope::CompanyScope;
///
/// fn list_accounts(scope: &CompanyScope) -> String {
///     format!("SELECT … WHERE company = '{}'", scope.company())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompanyScope {
    company: CompanyId,
    owner: CompanyId,
    environment: Environment,
}

impl CompanyScope {
    /// The scope of the request that `context` records; `None` unless a
    /// [`CompanyScopeLayer`](crate::CompanyScopeLayer) placed its verified caller, for a caller that
    /// is another one than the one that was placed, and for a place that is not the caller's.
    #[must_use]
    pub fn from_context(context: &AccessContext) -> Option<Self> {
        let binding = context.company()?;
        let identity = context.identity()?;
        let is_its = binding.owner == *identity.company();
        (is_its && identity.may_act_for(&binding.effective)).then(|| Self {
            company: binding.effective,
            owner: binding.owner,
            environment: identity.environment(),
        })
    }

    /// The scope that a request had when it asked for a job.
    #[cfg(feature = "job")]
    pub(crate) const fn of_job(
        company: CompanyId,
        owner: CompanyId,
        environment: Environment,
    ) -> Self {
        Self {
            company,
            owner,
            environment,
        }
    }

    /// A scope without a request, in the sandbox: for tests only.
    #[cfg(any(test, feature = "test-util"))]
    #[must_use]
    pub const fn for_tests(company: CompanyId) -> Self {
        Self {
            company,
            owner: company,
            environment: Environment::Test,
        }
    }

    /// The company whose data the request may touch.
    #[must_use]
    pub const fn company(&self) -> &CompanyId {
        &self.company
    }

    /// The company that owns the credential; the same as [`CompanyScope::company`] unless a
    /// parent's key acts for a subsidiary that it was granted.
    #[must_use]
    pub const fn owner(&self) -> &CompanyId {
        &self.owner
    }

    /// Production or sandbox.
    #[must_use]
    pub const fn environment(&self) -> Environment {
        self.environment
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::{CompanyBinding, Edge, Identity, ScopeSet};

    use super::*;

    #[test]
    fn a_scope_needs_both_a_verified_caller_and_its_place() {
        let mut request = http::Request::new(());
        let entered = Edge::default().enter(&mut request);
        let context = entered.context(&request);
        assert_eq!(CompanyScope::from_context(context), None);
        let company: CompanyId = "company_12".parse().unwrap();
        let identity = Identity::new(company, Environment::Live, ScopeSet::new());
        context.identify(identity).unwrap();
        assert_eq!(CompanyScope::from_context(context), None);
        let binding = CompanyBinding {
            owner: company,
            effective: company,
        };
        context.bind_company(binding).unwrap();
        let scope = CompanyScope::from_context(context).unwrap();
        assert_eq!(scope.company().as_str(), "company_12");
        assert_eq!(scope.environment(), Environment::Live);
    }

    #[test]
    fn a_place_that_is_another_callers_gives_no_scope() {
        let mut request = http::Request::new(());
        let entered = Edge::default().enter(&mut request);
        let context = entered.context(&request);
        let company = |text: &str| text.parse::<CompanyId>().unwrap();
        let identity = Identity::new(company("company_12"), Environment::Live, ScopeSet::new());
        context.identify(identity).unwrap();
        let binding = CompanyBinding {
            owner: company("company_34"),
            effective: company("company_34"),
        };
        context.bind_company(binding).unwrap();
        assert_eq!(CompanyScope::from_context(context), None);
    }

    #[test]
    fn an_effective_company_that_was_not_granted_gives_no_scope() {
        for (granted, expected) in [(&["company_56"][..], false), (&["company_34"], true)] {
            let mut request = http::Request::new(());
            let entered = Edge::default().enter(&mut request);
            let context = entered.context(&request);
            let company = |text: &str| text.parse::<CompanyId>().unwrap();
            let owner = company("company_12");
            let granted = granted.iter().map(|text| company(text)).collect();
            let identity = Identity::new(owner, Environment::Live, ScopeSet::new());
            context
                .identify(identity.with_subsidiaries(granted))
                .unwrap();
            let effective = company("company_34");
            context
                .bind_company(CompanyBinding { owner, effective })
                .unwrap();
            let scope = CompanyScope::from_context(context);
            assert_eq!(scope.is_some(), expected);
            assert!(scope.is_none_or(|scope| *scope.company() == effective));
        }
    }
}
