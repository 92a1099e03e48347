//! Policies, checked and laid out for the requests that they meet.

use std::sync::Arc;

use countersign_core::{
    AccessContext, CompanyId, ConfigError, Denial, Endpoint, KeyId, LimitOverride, OperationType,
};
use http::Request;

use crate::cost::{Call, Costs};
use crate::policy::Window;
use crate::request::LimitRequest;
use crate::{Dimension, Policy};

mod checks;
mod overrides;
mod places;
mod plan;

pub(crate) use overrides::Overrides;
pub(crate) use plan::{Counts, Plan, Planned};

/// All policies of a stack, checked. A clone is a handle to the same.
#[derive(Debug, Clone)]
pub struct Policies(Arc<Compiled>);

#[derive(Debug, Clone)]
struct Compiled {
    /// By operation type, in the order of [`OperationType::ALL`].
    by_operation: [Plan; 4],
    /// For requests whose endpoint nobody looked up; `None` where a policy must know it.
    without_endpoint: Option<Plan>,
    overrides: Overrides,
}

impl Policies {
    /// Checks the policies and lays them out. A request is refused by the policy that it must wait
    /// longest for; their order is the order of the response fields.
    ///
    /// # Errors
    /// When a name is malformed or used twice, a cost is 0 or more than its quota holds, a quota can
    /// never speak because another one of its policy is always tighter, or more than
    /// [`MAX_LIMITS`](crate::MAX_LIMITS) quotas apply to one request. The error's subject names the policy.
    pub fn new(policies: impl IntoIterator<Item = Policy>) -> Result<Self, ConfigError> {
        let policies: Vec<Policy> = policies.into_iter().collect();
        for policy in &policies {
            policy.check()?;
        }
        check_names(&policies)?;
        let [read, write, webhook, administration] =
            OperationType::ALL.map(|operation| Plan::new(&policies, Some(operation)));
        let without_endpoint = if policies.iter().any(Policy::needs_endpoint) {
            None
        } else {
            Some(Plan::new(&policies, None)?)
        };
        Ok(Self(Arc::new(Compiled {
            by_operation: [read?, write?, webhook?, administration?],
            without_endpoint,
            overrides: Overrides::default(),
        })))
    }

    /// Gives one company other quotas than everybody else: its own where a policy counts by company,
    /// and each of its keys where one counts by key. Said twice for one company, the last word stands.
    ///
    /// An override names a policy as [`LimitKey`](crate::LimitKey) does: `key`, `key-day`, or
    /// `key:write` for writes that count apart.
    ///
    /// # Errors
    /// When an override names no policy, one that counts by source or for the whole platform, or the
    /// same one twice, or when its quota holds less than a request costs.
    pub fn for_company(
        mut self,
        company: CompanyId,
        overrides: impl IntoIterator<Item = LimitOverride>,
    ) -> Result<Self, ConfigError> {
        let overrides = self.checked(overrides, Dimension::is_per_company)?;
        let told = &mut Arc::make_mut(&mut self.0).overrides;
        told.companies.insert(company, overrides);
        Ok(self)
    }

    /// Gives one key other quotas than everybody else, where a policy counts by key. They go before
    /// those of its company; what stands in the key's own record
    /// ([`Identity::limits`](countersign_core::Identity::limits)) goes before both.
    ///
    /// Said of the first key of a chain of rotations
    /// ([`Identity::key_origin`](countersign_core::Identity::key_origin)) they hold for its successors too;
    /// said of a successor, for that one alone.
    ///
    /// # Errors
    /// As [`Policies::for_company`], and when a policy counts by company.
    pub fn for_key(
        mut self,
        key: KeyId,
        overrides: impl IntoIterator<Item = LimitOverride>,
    ) -> Result<Self, ConfigError> {
        let overrides = self.checked(overrides, Dimension::is_per_key)?;
        let told = &mut Arc::make_mut(&mut self.0).overrides;
        told.keys.insert(key, overrides);
        Ok(self)
    }

    /// What `context`'s request draws on: one limit for each quota of each policy that applies to it.
    /// A store is then asked about all of them at once.
    ///
    /// # Errors
    /// `misconfigured_stack` when a policy counts by something that no earlier layer found out (the
    /// endpoint, its scope, the verified caller, its key, or its source), or when a function says what
    /// a request costs: then use [`Policies::costs`] and [`Policies::request_costing`].
    pub fn request<'a>(&'a self, context: &'a AccessContext) -> Result<LimitRequest<'a>, Denial> {
        let laid_out = self.lay_out(context, None);
        laid_out.map_err(|missing| misconfigured(context, missing))
    }

    /// As [`Policies::request`], where functions say what the request costs.
    ///
    /// # Errors
    /// `misconfigured_stack` as there, and when `costs` are those of another kind of request.
    pub fn request_costing<'a>(
        &'a self,
        context: &'a AccessContext,
        costs: &'a Costs,
    ) -> Result<LimitRequest<'a>, Denial> {
        let laid_out = self.lay_out(context, Some(costs));
        laid_out.map_err(|missing| misconfigured(context, missing))
    }

    /// Asks the functions that say what `request` costs, each of them once; `None` where there are
    /// none.
    #[inline]
    pub fn costs<B>(&self, request: &Request<B>, context: &AccessContext) -> Option<Costs> {
        let plan = self.plan(context.endpoint()).ok()?;
        plan.asks.then(|| plan.costs(&Call::new(request, context)))
    }

    /// As [`Policies::request`], or what is missing.
    #[inline]
    pub(crate) fn lay_out<'a>(
        &'a self,
        context: &'a AccessContext,
        costs: Option<&'a Costs>,
    ) -> Result<LimitRequest<'a>, &'static str> {
        let endpoint = context.endpoint();
        let plan = self.plan(endpoint)?;
        let subject = plan.subject(context, endpoint)?;
        if endpoint.is_none() {
            context.count_blindly();
        }
        if plan.asks && costs.is_none_or(|costs| costs.of(plan.planned.len() - 1).is_none()) {
            return Err("the request: a function says what it costs");
        }
        let (overrides, received) = (&self.0.overrides, context.received());
        Ok(LimitRequest::new(plan, overrides, subject, received, costs))
    }

    #[inline]
    fn plan(&self, endpoint: Option<&Endpoint>) -> Result<&Plan, &'static str> {
        match endpoint {
            Some(endpoint) => Ok(&self.0.by_operation[endpoint.operation() as usize]),
            None => self.0.without_endpoint.as_ref().ok_or(MISSING_ENDPOINT),
        }
    }

    /// The policies' names; a name stands here once for each kind of operation that it applies to.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.planned().map(|planned| &*planned.name)
    }

    fn planned(&self) -> impl Iterator<Item = &Planned> {
        let plans = self.0.by_operation.iter().chain(&self.0.without_endpoint);
        plans.flat_map(|plan| &plan.planned)
    }
}

#[cold]
pub(crate) fn misconfigured(context: &AccessContext, missing: &'static str) -> Denial {
    context.misconfigured("rate-limit", missing)
}

fn check_names(policies: &[Policy]) -> Result<(), ConfigError> {
    let windows: Vec<&Window> = policies.iter().flat_map(|policy| &policy.windows).collect();
    for (i, window) in windows.iter().enumerate() {
        if windows[..i].iter().any(|other| other.name == window.name) {
            let subject = format!("policy {}", window.name);
            return Err(ConfigError::new(subject, "the name is used twice"));
        }
    }
    Ok(())
}

const MISSING_ENDPOINT: &str = "endpoint: a contract layer outside this one";

#[cfg(test)]
mod tests;
