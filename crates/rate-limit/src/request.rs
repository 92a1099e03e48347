//! What a store is asked: the counters that one request draws on.

use std::fmt;

use countersign_core::{
    CompanyId, Endpoint, KeyId, LimitOverrides, Moment, OperationType, Quota, Scope,
};

use crate::Dimension;
use crate::failure::Share;
use crate::policies::{Plan, Planned};

/// How many policies can apply to one request.
pub const MAX_LIMITS: usize = 8;

/// The counters that one request draws on, and how much. Made by
/// [`Policies::request`](crate::Policies::request); a store decides about all of them at once.
#[derive(Debug, Clone, Copy)]
pub struct LimitRequest<'a> {
    plan: &'a Plan,
    pub(crate) subject: Subject<'a>,
    /// The key's own quotas, if it has any.
    own: Option<&'a LimitOverrides>,
    received: Moment,
    cost: Option<u32>,
    share: Option<Share>,
}

/// One counter, its quota, and the units that the request takes from it.
#[derive(Debug, Clone, Copy)]
pub struct Limit<'a> {
    pub(crate) policy: &'a Planned,
    pub(crate) quota: Quota,
    pub(crate) cost: u32,
}

/// What policies can count by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) company: Option<&'a CompanyId>,
    pub(crate) key: Option<KeyId>,
    pub(crate) endpoint: Option<&'a Endpoint>,
}

/// The name of one counter: the policy, the operation type where that counts apart, and what the
/// policy counts by. As text it is stable and unambiguous, for stores that name counters by text:
///
/// | dimension | text |
/// |---|---|
/// | key | `key/key_01J…`, or `key:write/key_01J…` for writes that count apart |
/// | company | `company/company_12` |
/// | endpoint | `endpoint/key_01J…/GET /external/v1/accounts/{id}` |
/// | scope | `scope/key_01J…/accounts:read` |
/// | operation | `operation/key_01J…/write` |
/// | platform | `platform` |
///
/// Company, key and endpoint come from verified records and the contract, never from the text of
/// a request.
#[derive(Debug, Clone, Copy)]
pub struct LimitKey<'a> {
    policy: &'a Planned,
    subject: Subject<'a>,
}

impl<'a> LimitRequest<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        subject: Subject<'a>,
        own: &'a LimitOverrides,
        received: Moment,
    ) -> Self {
        Self {
            plan,
            subject,
            own: (!own.is_empty()).then_some(own),
            received,
            cost: None,
            share: None,
        }
    }

    /// The limits, in the order in which the decision names their outcomes: at most
    /// [`MAX_LIMITS`]. No counter stands here twice.
    #[inline]
    pub fn limits(&self) -> impl ExactSizeIterator<Item = Limit<'a>> + use<'a> {
        let Self {
            own, cost, share, ..
        } = *self;
        let endpoint = self.subject.endpoint;
        let times = endpoint.map_or(1, |endpoint| endpoint.call_cost().get());
        let declared = endpoint.and_then(Endpoint::quota);
        self.plan.planned.iter().map(move |policy| {
            let cost = cost.unwrap_or(policy.cost.saturating_mul(times));
            let whole = own.and_then(|own| policy.quota_of(own));
            let whole = whole.unwrap_or(policy.quota_at(declared));
            Limit {
                policy,
                quota: share.map_or(whole, |share| share.of(whole, cost)),
                cost,
            }
        })
    }

    /// The name of `limit`'s counter.
    #[must_use]
    pub const fn key(&self, limit: &Limit<'a>) -> LimitKey<'a> {
        LimitKey {
            policy: limit.policy,
            subject: self.subject,
        }
    }

    /// The company that all counters but those of the platform belong to, if the caller is known.
    /// A store that spreads over several servers keeps a company's counters together by it.
    #[must_use]
    pub const fn company(&self) -> Option<&'a CompanyId> {
        self.subject.company
    }

    /// When the request came in. A store of one process decides by its monotonic part; a store
    /// that several processes share decides by its own clock.
    #[must_use]
    pub const fn received(&self) -> Moment {
        self.received
    }

    /// The same request with another cost for every limit: 0 looks at the counters and takes
    /// nothing.
    #[must_use]
    pub const fn with_cost(mut self, units: u32) -> Self {
        self.cost = Some(units);
        self
    }

    /// The same request at another time.
    #[must_use]
    pub const fn with_received(mut self, received: Moment) -> Self {
        self.received = received;
        self
    }

    /// The same request with a share of each quota.
    pub(crate) const fn with_share(mut self, share: Share) -> Self {
        self.share = Some(share);
        self
    }

    pub(crate) const fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// Whether the quotas are surely those that the policies name.
    pub(crate) fn has_default_quotas(&self) -> bool {
        let declared = self.subject.endpoint.and_then(Endpoint::quota);
        self.own.is_none() && self.share.is_none() && declared.is_none()
    }
}

impl<'a> Limit<'a> {
    /// The policy's name.
    #[must_use]
    pub fn policy(&self) -> &'a str {
        &self.policy.name
    }

    /// What the policy counts by.
    #[must_use]
    pub const fn dimension(&self) -> Dimension {
        self.policy.dimension
    }

    /// The operation type that is counted apart from the rest, if this request's is.
    #[must_use]
    pub const fn operation(&self) -> Option<OperationType> {
        self.policy.class
    }

    /// The quota: the key's own, or where a policy counts by endpoint the endpoint's, or the
    /// policy's.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// How many units the request takes.
    #[must_use]
    pub const fn cost(&self) -> u32 {
        self.cost
    }
}

impl Subject<'_> {
    pub(crate) fn scope(&self) -> Option<Scope> {
        self.endpoint.and_then(Endpoint::required_scope)
    }
}

impl fmt::Display for LimitKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.policy.name)?;
        if let Some(class) = self.policy.class {
            write!(f, ":{class}")?;
        }
        // What a dimension needs is there: `Policies::request` fails without it.
        let Subject {
            company,
            key,
            endpoint,
        } = self.subject;
        if let (true, Some(key)) = (self.policy.dimension.is_per_key(), key) {
            write!(f, "/{key}")?;
        }
        match (self.policy.dimension, company, endpoint) {
            (Dimension::Company, Some(company), _) => write!(f, "/{company}"),
            (Dimension::Endpoint, _, Some(endpoint)) => {
                write!(f, "/{} {}", endpoint.method(), endpoint.template())
            }
            (Dimension::Scope, ..) => match self.subject.scope() {
                Some(scope) => write!(f, "/{scope}"),
                None => Ok(()),
            },
            (Dimension::Operation, _, Some(endpoint)) => write!(f, "/{}", endpoint.operation()),
            _ => Ok(()),
        }
    }
}
