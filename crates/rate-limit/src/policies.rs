//! Policies, checked and laid out for the requests that they meet.

use std::collections::HashMap;
use std::sync::Arc;

use countersign_core::{
    AccessContext, CompanyId, ConfigError, Denial, Identity, KeyId, LimitOverride, LimitOverrides,
    OperationType, Quota,
};
use http::{HeaderValue, Request};

use crate::cost::{Call, Cost, Costs};
use crate::fields;
use crate::policy::Window;
use crate::request::{LimitRequest, MAX_LIMITS, Own, Subject};
use crate::{Dimension, Policy, StoreFailure};

/// All policies of a stack, checked. A clone is a handle to the same.
#[derive(Debug, Clone)]
pub struct Policies(Arc<Compiled>);

#[derive(Debug, Clone)]
struct Compiled {
    /// By operation type, in the order of [`OperationType::ALL`].
    by_operation: [Plan; 4],
    /// For requests whose endpoint nobody looked up; `None` where a policy must know it.
    without_endpoint: Option<Plan>,
    companies: HashMap<CompanyId, LimitOverrides>,
    keys: HashMap<KeyId, LimitOverrides>,
}

/// The policies that one kind of request meets.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) planned: Box<[Planned]>,
    /// `RateLimit-Policy` for callers without a quota of their own.
    pub(crate) field: Option<HeaderValue>,
    /// Whether a function must be asked what a request costs.
    asks: bool,
}

/// One quota of a policy as it applies to one kind of request.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) name: Arc<str>,
    /// The policy that this is a quota of.
    policy: Arc<str>,
    pub(crate) class: Option<OperationType>,
    pub(crate) tag: u64,
    pub(crate) dimension: Dimension,
    pub(crate) quota: Quota,
    pub(crate) cost: Cost,
    pub(crate) on_failure: Option<StoreFailure>,
    /// Under which name another quota is looked up.
    override_name: Box<str>,
    /// The name as it stands in response fields.
    pub(crate) member: Box<str>,
    /// The least that another quota must hold, so that some request can pass.
    dearest: u32,
}

impl Policies {
    /// Checks the policies and lays them out. A request is refused by the policy that it must wait
    /// longest for; their order is the order of the response fields.
    ///
    /// # Errors
    /// When a name is malformed or used twice, a cost is 0 or more than its quota holds, a quota can
    /// never speak because another one of its policy is always tighter, or more than
    /// [`MAX_LIMITS`] quotas apply to one request. The error's subject names the policy.
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
            companies: HashMap::new(),
            keys: HashMap::new(),
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
        Arc::make_mut(&mut self.0)
            .companies
            .insert(company, overrides);
        Ok(self)
    }

    /// Gives one key other quotas than everybody else, where a policy counts by key. They go before
    /// those of its company; what stands in the key's own record
    /// ([`Identity::limits`](countersign_core::Identity::limits)) goes before both.
    ///
    /// # Errors
    /// As [`Policies::for_company`], and when a policy counts by company.
    pub fn for_key(
        mut self,
        key: KeyId,
        overrides: impl IntoIterator<Item = LimitOverride>,
    ) -> Result<Self, ConfigError> {
        let overrides = self.checked(overrides, Dimension::is_per_key)?;
        Arc::make_mut(&mut self.0).keys.insert(key, overrides);
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
        self.lay_out(context, None)
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
        self.lay_out(context, Some(costs))
    }

    /// Asks the functions that say what `request` costs, each of them once; `None` where there are
    /// none.
    #[inline]
    pub fn costs<B>(&self, request: &Request<B>, context: &AccessContext) -> Option<Costs> {
        let plan = self.plan(context).ok()?;
        plan.asks.then(|| plan.costs(&Call::new(request, context)))
    }

    #[inline]
    fn lay_out<'a>(
        &'a self,
        context: &'a AccessContext,
        costs: Option<&'a Costs>,
    ) -> Result<LimitRequest<'a>, Denial> {
        let request = || {
            let plan = self.plan(context)?;
            let subject = plan.subject(context)?;
            if plan.asks && costs.is_none_or(|costs| costs.of(plan.planned.len() - 1).is_none()) {
                return Err("the request: a function says what it costs");
            }
            let own = self.own(context.identity());
            Ok(LimitRequest::new(
                plan,
                subject,
                own,
                context.received(),
                costs,
            ))
        };
        request().map_err(|missing| context.misconfigured("rate-limit", missing))
    }

    fn plan(&self, context: &AccessContext) -> Result<&Plan, &'static str> {
        match context.endpoint() {
            Some(endpoint) => Ok(&self.0.by_operation[endpoint.operation() as usize]),
            None => self.0.without_endpoint.as_ref().ok_or(MISSING_ENDPOINT),
        }
    }

    #[inline]
    fn own<'a>(&'a self, identity: Option<&'a Identity>) -> Own<'a> {
        let Some(identity) = identity else {
            return Own::NONE;
        };
        let (keys, companies) = (&self.0.keys, &self.0.companies);
        let record = identity.limits();
        Own {
            record: (!record.is_empty()).then_some(record),
            key: if keys.is_empty() {
                None
            } else {
                identity.key_id().and_then(|key| keys.get(&key))
            },
            company: if companies.is_empty() {
                None
            } else {
                companies.get(identity.company())
            },
        }
    }

    fn checked(
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

    fn planned(&self) -> impl Iterator<Item = &Planned> {
        let plans = self.0.by_operation.iter().chain(&self.0.without_endpoint);
        plans.flat_map(|plan| &plan.planned)
    }
}

impl Plan {
    fn new(policies: &[Policy], operation: Option<OperationType>) -> Result<Self, ConfigError> {
        let applying = policies
            .iter()
            .filter(|policy| policy.applies_to(operation));
        let planned: Box<[Planned]> = applying
            .flat_map(|policy| policy.windows.iter().map(move |window| (policy, window)))
            .map(|(policy, window)| Planned::new(policy, window, operation))
            .collect::<Result<_, _>>()?;
        if let Some(excess) = planned.get(MAX_LIMITS) {
            let subject = format!("policy {}", excess.name);
            let problem = format!("at most {MAX_LIMITS} quotas can apply to one request");
            return Err(ConfigError::new(subject, problem));
        }
        let field = fields::fixed_policy_field(&planned)?;
        let asks = planned.iter().any(|planned| planned.cost.by.is_some());
        Ok(Self {
            planned,
            field,
            asks,
        })
    }

    #[inline]
    fn subject<'a>(&self, context: &'a AccessContext) -> Result<Subject<'a>, &'static str> {
        let identity = context.identity();
        let subject = Subject {
            company: identity.map(Identity::company),
            key: identity.and_then(Identity::key_id),
            endpoint: context.endpoint(),
            source: context.source().map(|source| source.bucket()),
        };
        for planned in &self.planned {
            planned.require(&subject)?;
        }
        Ok(subject)
    }

    #[cold]
    fn costs(&self, call: &Call<'_>) -> Costs {
        let mut last: Option<(&Arc<str>, u32)> = None;
        Costs::new(self.planned.iter().map(|planned| {
            let Some(by) = &planned.cost.by else {
                return planned.cost.of(call.context().endpoint());
            };
            // The quotas of one policy stand side by side: its function is asked for the first.
            let units = match last {
                Some((policy, units)) if Arc::ptr_eq(policy, &planned.policy) => units,
                _ => by(call),
            };
            last = Some((&planned.policy, units));
            units
        }))
    }
}

impl Planned {
    fn new(
        policy: &Policy,
        window: &Window,
        operation: Option<OperationType>,
    ) -> Result<Self, ConfigError> {
        let (quota, class) = window.quota_for(operation);
        Ok(Self {
            member: fields::member(&window.name)?,
            override_name: match class {
                None => (&*window.name).into(),
                Some(class) => format!("{}:{class}", window.name).into(),
            },
            name: Arc::clone(&window.name),
            policy: Arc::clone(&policy.name),
            class,
            tag: window.tag(policy.dimension, class),
            dimension: policy.dimension,
            quota,
            cost: policy.cost.clone(),
            on_failure: policy.on_failure,
            dearest: operation.map_or(0, |operation| policy.cost.dearest(operation)),
        })
    }

    fn require(&self, subject: &Subject<'_>) -> Result<(), &'static str> {
        if self.dimension.is_per_company() && subject.company.is_none() {
            return Err("identity: a layer outside this one that verifies the caller");
        }
        if self.dimension.is_per_key() && subject.key.is_none() {
            return Err("a key: this caller was verified without one, and a policy counts by key");
        }
        if self.dimension.needs_endpoint() && subject.endpoint.is_none() {
            return Err(MISSING_ENDPOINT);
        }
        if self.dimension == Dimension::Scope && subject.scope().is_none() {
            return Err("the endpoint's scope: a policy counts by it");
        }
        if self.dimension == Dimension::Source && subject.source.is_none() {
            return Err("the peer's address: a policy counts by it");
        }
        Ok(())
    }

    /// The quota of somebody who has quotas of its `own` for some policies.
    pub(crate) fn quota_of(&self, own: &Own<'_>) -> Quota {
        let find = |overrides: Option<&LimitOverrides>| overrides?.get(&self.override_name);
        let by_key = || find(own.record).or_else(|| find(own.key));
        let by_key = self.dimension.is_per_key().then(by_key).flatten();
        let by_company = || find(own.company);
        let by_company = || self.dimension.is_per_company().then(by_company).flatten();
        by_key.or_else(by_company).unwrap_or(self.quota)
    }
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
