//! What a store is asked: the counters that one request draws on.

use std::fmt;
use std::hash::{Hash, Hasher};

use countersign_core::source::SourceBucket;
use countersign_core::{CompanyId, Endpoint, Identity, KeyId, Moment, OperationType, Quota, Scope};

use crate::cost::Costs;
use crate::failure::Mode;
use crate::policies::{Counts, Overrides, Plan, Planned};
use crate::{Dimension, StoreFailure};

/// How many quotas can apply to one request: each quota of each policy is one.
pub const MAX_LIMITS: usize = 10;

/// The counters that one request draws on, and how much. Made by
/// [`Policies::request`](crate::Policies::request); a store decides about all of them at once.
#[derive(Debug, Clone, Copy)]
pub struct LimitRequest<'a> {
    plan: &'a Plan,
    overrides: &'a Overrides,
    subject: Subject<'a>,
    received: Moment,
    costs: Option<&'a Costs>,
    cost: Option<u32>,
    /// Said when the store is down: what happens then.
    down: Option<StoreFailure>,
    /// Whether the caller may have quotas of its own.
    is_special: bool,
    /// Whether quotas and costs are those of the policies and the endpoint.
    is_plain: bool,
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
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) endpoint: Option<&'a Endpoint>,
    /// Known where a policy counts by it.
    pub(crate) source: Option<SourceBucket>,
}

/// The name of one counter: the policy and its quota, the operation type where that counts apart, and
/// what the policy counts by. As text it is stable and unambiguous, for stores that name counters by text:
///
/// | dimension | text |
/// |---|---|
/// | key | `key/key_01J…`, `key-day/key_01J…` for a policy's other quota, or `key:write/key_01J…` for writes that count apart |
/// | company | `company/company_12` |
/// | endpoint | `endpoint/key_01J…/GET /external/v1/accounts/{id}` |
/// | scope | `scope/key_01J…/accounts:read` |
/// | operation | `operation/key_01J…/write` |
/// | source | `source/203.0.113.9`, or `source/2001:db8:1:2::/64` |
/// | platform | `platform` |
///
/// A key is named by the first one of its chain of rotations ([`Identity::key_origin`]), so that a successor
/// goes on where it was. Company, key and endpoint come from verified records and the contract, and the source from the
/// connection or a trusted proxy: never from the text of a request.
#[derive(Debug, Clone, Copy)]
pub struct LimitKey<'a> {
    policy: &'a Planned,
    subject: Subject<'a>,
}

impl<'a> LimitRequest<'a> {
    #[inline]
    pub(crate) fn new(
        plan: &'a Plan,
        overrides: &'a Overrides,
        subject: Subject<'a>,
        received: Moment,
        costs: Option<&'a Costs>,
    ) -> Self {
        let is_special = overrides.may_concern(subject.identity);
        Self {
            plan,
            overrides,
            subject,
            received,
            costs,
            cost: None,
            down: None,
            is_special,
            is_plain: costs.is_none() && !is_special,
        }
    }

    /// The limits, in the order in which the decision names their outcomes: at most
    /// [`MAX_LIMITS`]. No counter stands here twice.
    pub fn limits(&self) -> impl ExactSizeIterator<Item = Limit<'a>> + use<'_, 'a> {
        let planned = self.plan.planned.iter().enumerate();
        planned.map(|(index, policy)| self.limit(index, policy))
    }

    /// The limits where nothing is to be looked up: nearly always.
    #[inline]
    pub(crate) fn plain_limits(&self) -> Option<impl Iterator<Item = Limit<'a>> + use<'a>> {
        let endpoint = self.subject.endpoint;
        let planned = self.plan.planned.iter();
        self.is_plain
            .then(|| planned.map(move |policy| Limit::plain(policy, endpoint)))
    }

    fn limit(&self, index: usize, policy: &'a Planned) -> Limit<'a> {
        let plain = Limit::plain(policy, self.subject.endpoint);
        if self.is_plain {
            return plain;
        }
        let said = || self.costs.and_then(|costs| costs.of(index));
        let own = self.overrides.quota(policy, self.subject.identity);
        let limit = Limit {
            policy,
            quota: own.unwrap_or(plain.quota),
            cost: self.cost.or_else(said).unwrap_or(plain.cost),
        };
        match self.down {
            None => limit,
            Some(down) => limit.without_store(down),
        }
    }

    /// The name of `limit`'s counter.
    #[must_use]
    pub const fn key(&self, limit: &Limit<'a>) -> LimitKey<'a> {
        LimitKey {
            policy: limit.policy,
            subject: self.subject,
        }
    }

    /// The company that all counters but those of sources and the platform belong to
    /// ([`Dimension::is_per_company`]), if the caller is known. A store that spreads over several
    /// servers keeps a company's counters together by it.
    #[must_use]
    pub fn company(&self) -> Option<&'a CompanyId> {
        self.subject.company()
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
        self.is_plain = false;
        self
    }

    /// The same request at another time.
    #[must_use]
    pub const fn with_received(mut self, received: Moment) -> Self {
        self.received = received;
        self
    }

    /// The same request while the store is down: with the share of each quota, and without the
    /// quotas, that `otherwise` or the policies say.
    pub(crate) const fn without_store(mut self, otherwise: StoreFailure) -> Self {
        self.down = Some(otherwise);
        self.is_plain = false;
        self
    }

    pub(crate) const fn subject(&self) -> &Subject<'a> {
        &self.subject
    }

    /// What the limits count by.
    pub(crate) const fn counts(&self) -> Counts {
        self.plan.counts
    }

    pub(crate) const fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// Whether the quotas are surely those that the policies name.
    pub(crate) fn has_default_quotas(&self) -> bool {
        let declared = self.subject.endpoint.and_then(Endpoint::quota);
        self.down.is_none() && declared.is_none() && !self.is_special
    }
}

impl<'a> Limit<'a> {
    /// What the policy and the endpoint say.
    #[inline]
    fn plain(policy: &'a Planned, endpoint: Option<&Endpoint>) -> Self {
        let times = endpoint.map_or(1, |endpoint| endpoint.call_cost().get());
        Self {
            policy,
            quota: policy.quota_at(endpoint.and_then(Endpoint::quota)),
            cost: policy.cost.of(endpoint, times),
        }
    }

    /// The policy's name, with that of the quota where it has several: `key`, `key-day`.
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

    /// The quota: the one that the key, the company or the endpoint has in place of the policy's, or
    /// the policy's.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// How many units the request takes.
    #[must_use]
    pub const fn cost(&self) -> u32 {
        self.cost
    }

    fn without_store(mut self, otherwise: StoreFailure) -> Self {
        match self.policy.failure_mode(otherwise) {
            Mode::Local(share) => self.quota = share.of(self.quota, self.cost),
            // Looked at, and never short of anything.
            Mode::Open => self.cost = 0,
            // Refused before anybody asks for a limit.
            Mode::Closed => {}
        }
        self
    }
}

impl<'a> Subject<'a> {
    pub(crate) fn company(&self) -> Option<&'a CompanyId> {
        self.identity.map(Identity::company)
    }

    /// What stands for the key: a rotation begins no counter anew.
    pub(crate) fn key(&self) -> Option<KeyId> {
        self.identity.and_then(Identity::key_origin)
    }

    /// Whom `dimension` counts.
    pub(crate) fn write_to(&self, hasher: &mut impl Hasher, dimension: Dimension) {
        if dimension.is_per_key() {
            self.key().map(KeyId::as_u128).hash(hasher);
        }
        match dimension {
            Dimension::Key | Dimension::Platform => {}
            Dimension::Company => self.company().map(CompanyId::as_str).hash(hasher),
            Dimension::Source => self.source.hash(hasher),
            Dimension::Endpoint => {
                let parts = self.endpoint.map(|it| (it.method(), it.template()));
                parts.hash(hasher);
            }
            Dimension::Scope => self.scope().hash(hasher),
            Dimension::Operation => self.endpoint.map(Endpoint::operation).hash(hasher),
        }
    }

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
        let (company, key) = (self.subject.company(), self.subject.key());
        let Subject {
            endpoint, source, ..
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
            (Dimension::Source, ..) => match source {
                Some(source) => write!(f, "/{source}"),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
