//! What one kind of request meets, laid out before it comes.

use std::sync::Arc;

use countersign_core::{AccessContext, ConfigError, Endpoint, OperationType, Quota};
use http::HeaderValue;

use crate::concurrency::Places;
use crate::cost::{Call, Cost, Costs};
use crate::dimension::Home;
use crate::fields::{self, Member};
use crate::in_flight::MAX_PLACES;
use crate::policy::Window;
use crate::request::{MAX_LIMITS, Subject};
use crate::{Concurrency, Dimension, Policy, StoreFailure};

/// The policies that one kind of request meets.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) planned: Box<[Planned]>,
    /// Limits on requests at once.
    pub(crate) places: Vec<Places>,
    /// `RateLimit-Policy` for callers without a quota of their own.
    pub(crate) field: Option<HeaderValue>,
    /// Whether a function must be asked what a request costs.
    pub(super) asks: bool,
    /// What the quotas count by.
    pub(crate) counts: Counts,
    /// What must be known of a request.
    needs: Counts,
}

/// What the policies of a plan count by, so that nothing is looked for that none of them needs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) company: bool,
    key: bool,
    endpoint: bool,
    pub(crate) scope: bool,
    pub(crate) source: bool,
    pub(crate) platform: bool,
}

/// One quota of a policy as it applies to one kind of request.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) name: Arc<str>,
    /// The policy that this is a quota of.
    family: Arc<str>,
    /// Whether it is the policy's first quota, which an endpoint may replace.
    is_first: bool,
    pub(crate) class: Option<OperationType>,
    pub(crate) tag: u64,
    pub(crate) dimension: Dimension,
    pub(crate) home: Home,
    pub(crate) quota: Quota,
    pub(crate) cost: Cost,
    pub(crate) on_failure: Option<StoreFailure>,
    /// Under which name another quota is looked up.
    pub(super) override_name: Box<str>,
    pub(crate) member: Member,
    /// The least that another quota must hold, so that some request can pass.
    pub(super) dearest: u32,
}

impl Plan {
    pub(super) fn new(
        policies: &[Policy],
        operation: Option<OperationType>,
    ) -> Result<Self, ConfigError> {
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
        Ok(Self {
            field: fields::fixed_policy_field(&planned, &[])?,
            asks: planned.iter().any(|planned| planned.cost.by.is_some()),
            counts: Counts::of(planned.iter().map(|planned| planned.dimension)),
            needs: Counts::of(planned.iter().map(|planned| planned.dimension)),
            planned,
            places: Vec::new(),
        })
    }

    /// Adds a limit on requests at once, if it applies to `operation`.
    pub(super) fn add(
        &mut self,
        limit: &Arc<Concurrency>,
        operation: Option<OperationType>,
    ) -> Result<(), ConfigError> {
        if !limit.applies_to(operation) {
            return Ok(());
        }
        if self.places.len() == MAX_PLACES {
            let problem = format!("at most {MAX_PLACES} of these can apply to one request");
            return Err(ConfigError::new(format!("policy {}", limit.name), problem));
        }
        self.places.push(Places::new(limit)?);
        self.field = fields::fixed_policy_field(&self.planned, &self.places)?;
        let quotas = self.planned.iter().map(|planned| planned.dimension);
        let places = self.places.iter().map(|places| places.dimension);
        self.needs = Counts::of(quotas.chain(places));
        Ok(())
    }

    /// Whom `context`'s request is counted for.
    ///
    /// # Errors
    /// What an earlier layer should have found out, if it did not.
    #[inline]
    pub(super) fn subject<'a>(
        &self,
        context: &'a AccessContext,
        endpoint: Option<&'a Endpoint>,
    ) -> Result<Subject<'a>, &'static str> {
        let source = || context.source().map(|source| source.bucket());
        let subject = Subject {
            identity: context.identity(),
            endpoint,
            source: self.needs.source.then(source).flatten(),
        };
        self.needs.require(&subject)?;
        Ok(subject)
    }

    #[cold]
    pub(super) fn costs(&self, call: &Call<'_>) -> Costs {
        let endpoint = call.context().endpoint();
        let times = endpoint.map_or(1, |endpoint| endpoint.call_cost().get());
        let mut last: Option<(&Arc<str>, u32)> = None;
        Costs::new(self.planned.iter().map(|planned| {
            let Some(by) = &planned.cost.by else {
                return planned.cost.of(endpoint, times);
            };
            // The quotas of one policy stand side by side: its function is asked for the first.
            let units = match last {
                Some((family, units)) if Arc::ptr_eq(family, &planned.family) => units,
                _ => by(call),
            };
            last = Some((&planned.family, units));
            units
        }))
    }
}

impl Counts {
    fn of(dimensions: impl Iterator<Item = Dimension>) -> Self {
        let dimensions: Vec<Dimension> = dimensions.collect();
        let by = |test: fn(Dimension) -> bool| dimensions.iter().copied().any(test);
        Self {
            company: by(Dimension::is_per_company),
            key: by(Dimension::is_per_key),
            endpoint: by(Dimension::needs_endpoint),
            scope: by(|dimension| dimension == Dimension::Scope),
            source: by(|dimension| dimension == Dimension::Source),
            platform: by(|dimension| dimension == Dimension::Platform),
        }
    }

    #[inline]
    fn require(self, subject: &Subject<'_>) -> Result<(), &'static str> {
        if self.company && subject.identity.is_none() {
            return Err("identity: a layer outside this one that verifies the caller");
        }
        if self.key && subject.key().is_none() {
            return Err("a verified key: a policy counts by it");
        }
        if self.endpoint && subject.endpoint.is_none() {
            return Err(super::MISSING_ENDPOINT);
        }
        if self.scope && subject.scope().is_none() {
            return Err("the endpoint's scope: a policy counts by it");
        }
        if self.source && subject.source.is_none() {
            return Err("the peer's address: a policy counts by it");
        }
        Ok(())
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
            member: Member::new(&window.name)?,
            override_name: match class {
                None => (&*window.name).into(),
                Some(class) => format!("{}:{class}", window.name).into(),
            },
            name: Arc::clone(&window.name),
            family: Arc::clone(&policy.name),
            is_first: window.name == policy.name,
            class,
            tag: window.tag(policy.dimension, class),
            dimension: policy.dimension,
            home: policy.dimension.home(),
            quota,
            cost: policy.cost.clone(),
            on_failure: policy.on_failure,
            dearest: operation.map_or(0, |operation| policy.cost.dearest(operation)),
        })
    }

    /// The quota at an endpoint that may have `declared` one of its own.
    #[inline]
    pub(crate) fn quota_at(&self, declared: Option<Quota>) -> Quota {
        match declared {
            Some(quota) if self.dimension == Dimension::Endpoint && self.is_first => quota,
            _ => self.quota,
        }
    }
}
