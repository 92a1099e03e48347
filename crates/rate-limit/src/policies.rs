//! Policies, checked and laid out for the requests that they meet.

use std::sync::Arc;

use countersign_core::{
    AccessContext, ConfigError, Denial, Endpoint, Identity, LimitOverrides, OperationType, Quota,
};
use http::HeaderValue;

use crate::fields;
use crate::request::{LimitRequest, MAX_LIMITS, Subject};
use crate::{Dimension, Policy};

/// All policies of a stack, checked. A clone is a handle to the same.
#[derive(Debug, Clone)]
pub struct Policies(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    /// By operation type, in the order of [`OperationType::ALL`].
    by_operation: [Plan; 4],
    /// For requests whose endpoint nobody looked up; `None` where a policy must know it.
    without_endpoint: Option<Plan>,
}

/// The policies that one kind of request meets.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) planned: Box<[Planned]>,
    /// `RateLimit-Policy` for callers without a quota of their own.
    pub(crate) field: Option<HeaderValue>,
}

/// One policy as it applies to one kind of request.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) name: Arc<str>,
    pub(crate) class: Option<OperationType>,
    pub(crate) tag: u64,
    pub(crate) dimension: Dimension,
    pub(crate) quota: Quota,
    pub(crate) cost: u32,
    /// Under which name a key's own quota is looked up.
    override_name: Box<str>,
    /// The name as it stands in response fields.
    pub(crate) member: Box<str>,
}

impl Policies {
    /// Checks the policies and lays them out. A request is refused by the policy that it must wait
    /// longest for; their order is the order of the response fields.
    ///
    /// # Errors
    /// When a name is malformed or used twice, a cost is 0 or more than its quota holds, or more
    /// than 8 policies apply to one request. The error's subject names the policy.
    pub fn new(policies: impl IntoIterator<Item = Policy>) -> Result<Self, ConfigError> {
        let policies: Vec<Policy> = policies.into_iter().collect();
        for (i, policy) in policies.iter().enumerate() {
            policy.check()?;
            if policies[..i].iter().any(|other| other.name == policy.name) {
                let subject = format!("policy {}", policy.name);
                return Err(ConfigError::new(subject, "the name is used twice"));
            }
        }
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
        })))
    }

    /// What `context`'s request draws on: one limit for each policy that applies to it. A store is
    /// then asked about all of them at once.
    ///
    /// # Errors
    /// `misconfigured_stack` when a policy counts by something that no earlier layer found out: the
    /// endpoint, its scope, the verified caller, or its key.
    pub fn request<'a>(&'a self, context: &'a AccessContext) -> Result<LimitRequest<'a>, Denial> {
        self.plan(context)
            .and_then(|plan| plan.request(context))
            .map_err(|missing| context.misconfigured("rate-limit", missing))
    }

    /// Whether calls of `endpoint` can be counted as its contract says.
    ///
    /// # Errors
    /// When a call costs more than a quota holds, so that none would ever pass, or when the
    /// endpoint has a quota of its own and no policy counts by endpoint, so that nobody would
    /// apply it. The error's subject names the endpoint.
    pub fn check(&self, endpoint: &Endpoint) -> Result<(), ConfigError> {
        let problem = |problem: String| {
            let subject = format!("{} {}", endpoint.method(), endpoint.template());
            Err(ConfigError::new(subject, problem))
        };
        let planned = &self.0.by_operation[endpoint.operation() as usize].planned;
        for policy in planned {
            let cost = policy.cost.saturating_mul(endpoint.call_cost().get());
            if cost > policy.quota_at(endpoint.quota()).burst() {
                return problem(format!(
                    "a call costs {cost} and policy {} holds fewer, so none would ever pass",
                    policy.name
                ));
            }
        }
        let by_endpoint = |policy: &Planned| policy.dimension == Dimension::Endpoint;
        if endpoint.quota().is_some() && !planned.iter().any(by_endpoint) {
            let advice = "it has a quota of its own, and no policy counts by endpoint: add one";
            return problem(advice.to_owned());
        }
        Ok(())
    }

    fn plan(&self, context: &AccessContext) -> Result<&Plan, &'static str> {
        match context.endpoint() {
            Some(endpoint) => Ok(&self.0.by_operation[endpoint.operation() as usize]),
            None => self.0.without_endpoint.as_ref().ok_or(MISSING_ENDPOINT),
        }
    }
}

impl Plan {
    fn new(policies: &[Policy], operation: Option<OperationType>) -> Result<Self, ConfigError> {
        let applying = policies
            .iter()
            .filter(|policy| policy.applies_to(operation));
        let planned: Box<[Planned]> = applying
            .map(|policy| Planned::new(policy, operation))
            .collect::<Result<_, _>>()?;
        if let Some(excess) = planned.get(MAX_LIMITS) {
            let subject = format!("policy {}", excess.name);
            let problem = "at most 8 policies can apply to one request";
            return Err(ConfigError::new(subject, problem));
        }
        let field = fields::fixed_policy_field(&planned)?;
        Ok(Self { planned, field })
    }

    #[inline]
    fn request<'a>(&'a self, context: &'a AccessContext) -> Result<LimitRequest<'a>, &'static str> {
        let identity = context.identity();
        let subject = Subject {
            company: identity.map(Identity::company),
            key: identity.and_then(Identity::key_id),
            endpoint: context.endpoint(),
        };
        for planned in &self.planned {
            planned.require(&subject)?;
        }
        let own = identity.map_or(&LimitOverrides::EMPTY, Identity::limits);
        Ok(LimitRequest::new(self, subject, own, context.received()))
    }
}

impl Planned {
    fn new(policy: &Policy, operation: Option<OperationType>) -> Result<Self, ConfigError> {
        let (quota, class) = policy.quota_for(operation);
        Ok(Self {
            member: fields::member(&policy.name)?,
            override_name: match class {
                None => (&*policy.name).into(),
                Some(class) => format!("{}:{class}", policy.name).into(),
            },
            name: Arc::clone(&policy.name),
            class,
            tag: policy.tag(class),
            dimension: policy.dimension,
            quota,
            cost: policy.cost,
        })
    }

    fn require(&self, subject: &Subject<'_>) -> Result<(), &'static str> {
        if self.dimension != Dimension::Platform && subject.company.is_none() {
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
        Ok(())
    }

    /// The quota of a key that has its `own` quotas for some policies, this one perhaps.
    pub(crate) fn quota_of(&self, own: &LimitOverrides) -> Option<Quota> {
        let counted = self.dimension.is_per_key();
        counted.then(|| own.get(&self.override_name)).flatten()
    }

    /// The quota at an endpoint that may have `declared` one of its own.
    #[inline]
    pub(crate) fn quota_at(&self, declared: Option<Quota>) -> Quota {
        match declared {
            Some(quota) if self.dimension == Dimension::Endpoint => quota,
            _ => self.quota,
        }
    }
}

const MISSING_ENDPOINT: &str = "endpoint: a contract layer outside this one";

#[cfg(test)]
mod tests {
    use super::*;

    fn quota() -> Quota {
        Quota::per_second(10, 10).unwrap()
    }

    fn policy(name: &str) -> Policy {
        Policy::new(name, Dimension::Key, quota())
    }

    fn subject_of_error<const N: usize>(policies: [Policy; N]) -> String {
        Policies::new(policies).unwrap_err().subject().to_owned()
    }

    #[test]
    fn a_mistake_names_its_policy() {
        assert_eq!(subject_of_error([policy("Key")]), "policy Key");
        assert_eq!(subject_of_error([policy("")]), "policy ");
        assert_eq!(
            subject_of_error([policy(&"x".repeat(33))]),
            format!("policy {}", "x".repeat(33))
        );
        assert_eq!(
            subject_of_error([policy("a"), policy("b"), policy("a")]),
            "policy a"
        );
        assert_eq!(subject_of_error([policy("a").cost(11)]), "policy a");
        assert_eq!(subject_of_error([policy("a").cost(0)]), "policy a");
        let write = OperationType::Write;
        let small = Quota::per_second(4, 1).unwrap();
        assert_eq!(
            subject_of_error([policy("a").cost(5).for_operation(write, small)]),
            "policy a"
        );
        let twice = policy("a")
            .for_operation(write, quota())
            .for_operation(write, quota());
        assert_eq!(subject_of_error([twice]), "policy a");
        let unused = policy("a")
            .only(OperationType::Read)
            .for_operation(write, quota());
        assert_eq!(subject_of_error([unused]), "policy a");
        assert!(Policies::new([policy("a-1"), policy("b")]).is_ok());
        assert!(Policies::new([]).is_ok());
    }

    #[test]
    fn eight_policies_apply_to_one_request_and_no_more() {
        let named = |i: usize| policy(&format!("p{i}"));
        assert!(Policies::new((0..8).map(named)).is_ok());
        let error = Policies::new((0..9).map(named)).unwrap_err();
        assert_eq!(error.subject(), "policy p8");
        // Nine in all, but no more than eight of them meet.
        let apart = (0..9).map(|i| match i {
            0 => named(i).only(OperationType::Read),
            1 => named(i).only(OperationType::Write),
            _ => named(i),
        });
        assert!(Policies::new(apart).is_ok());
    }
}
