//! The decision itself, without the types of a service.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use countersign_core::{
    AccessContext, Denial, LimitNote, Moment, Quota, Reason, StoreError, StoreErrorKind,
};
use http::Request;

use crate::failure::Mode;
use crate::fields;
use crate::in_flight::{Admission, Free, InFlight};
use crate::occasionally::Occasionally;
use crate::policies::{Planned, misconfigured};
use crate::{
    Costs, LimitDecision, LimitFuture, LimitRequest, LimitStore, LocalLimits, Policies,
    StoreFailure, StoreFull,
};

/// What all services of one layer share.
#[derive(Debug)]
pub(crate) struct Limiter {
    pub(crate) policies: Policies,
    pub(crate) store: Arc<dyn LimitStore>,
    pub(crate) on_failure: StoreFailure,
    pub(crate) classic_fields: bool,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) shows_fields: bool,
    /// Made when the store fails for the first time.
    pub(crate) fallback: OnceLock<LocalLimits>,
    pub(crate) failures: Occasionally,
}

/// A decision, or a store that must be waited for.
pub(crate) enum Step {
    Decided(Result<(), Denial>),
    Waiting(Pending, Terms),
}

/// What a request that waits for its decision brings along.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    costs: Option<Costs>,
    admission: Admitted,
}

/// The same for one message of a call.
pub(crate) enum MessageStep {
    Decided(Result<(), Denial>),
    Waiting(Pending),
}

/// Nothing where no limit on requests at once applies, which is the rule, and boxed so that nothing is
/// moved then.
type Admitted = Option<Box<Admission>>;

pub(crate) type Checked = Result<LimitDecision, StoreError>;
pub(crate) type Pending = Pin<Box<dyn Future<Output = Checked> + Send>>;

impl Limiter {
    #[inline]
    pub(crate) fn begin<B>(&self, request: &Request<B>, context: &AccessContext) -> Step {
        let costs = self.policies.costs(request, context);
        let laid_out = self.policies.lay_out(context, costs.as_ref());
        let limits = match &laid_out {
            Ok(limits) => limits,
            Err(missing) => return Step::Decided(Err(misconfigured(context, missing))),
        };
        let admission = if limits.plan().places.is_empty() {
            None
        } else {
            match self.enter(context, limits) {
                Ok(admission) => Some(Box::new(admission)),
                Err(denial) => return Step::Decided(Err(denial)),
            }
        };
        if limits.limits().len() == 0 {
            return Step::Decided(self.without_quotas(context, limits, admission));
        }
        // Judged where it stands: a decision is large.
        match self.store.check(limits) {
            LimitFuture::Ready(ref checked) => {
                Step::Decided(self.judge(context, limits, admission, checked))
            }
            LimitFuture::Later(pending) => Step::Waiting(pending, Terms { costs, admission }),
        }
    }

    /// The decision, when the store that was waited for has spoken.
    pub(crate) fn end(
        &self,
        context: &AccessContext,
        terms: Terms,
        checked: &Checked,
    ) -> Result<(), Denial> {
        let limits = self.limits(context, terms.costs.as_ref())?;
        self.judge(context, &limits, terms.admission, checked)
    }

    /// Begins to decide about one message, which came at `now`.
    pub(crate) fn begin_message(&self, context: &AccessContext, now: Moment) -> MessageStep {
        let limits = match self.policies.request(context) {
            Ok(limits) => limits.with_received(now),
            Err(denial) => return MessageStep::Decided(Err(denial)),
        };
        if limits.limits().len() == 0 {
            return MessageStep::Decided(Ok(()));
        }
        match self.store.check(&limits) {
            LimitFuture::Ready(ref checked) => {
                MessageStep::Decided(self.judge(context, &limits, None, checked))
            }
            LimitFuture::Later(pending) => MessageStep::Waiting(pending),
        }
    }

    /// The decision about a message, when the store has spoken.
    pub(crate) fn end_message(
        &self,
        context: &AccessContext,
        now: Moment,
        checked: &Checked,
    ) -> Result<(), Denial> {
        let limits = self.policies.request(context)?.with_received(now);
        self.judge(context, &limits, None, checked)
    }

    #[inline]
    fn limits<'a>(
        &'a self,
        context: &'a AccessContext,
        costs: Option<&'a Costs>,
    ) -> Result<LimitRequest<'a>, Denial> {
        match costs {
            None => self.policies.request(context),
            Some(costs) => self.policies.request_costing(context, costs),
        }
    }

    /// Takes a place of every limit on requests at once.
    fn enter(
        &self,
        context: &AccessContext,
        limits: &LimitRequest<'_>,
    ) -> Result<Admission, Denial> {
        let places = &limits.plan().places;
        let admission = self.in_flight.enter(places, limits.subject());
        if admission.permit.is_some() {
            return Ok(admission);
        }
        let full = &places[admission.told.len() - 1];
        context.note_limit(LimitNote {
            policy: Some(Arc::clone(&full.name)),
            fallback: false,
        });
        if let Some(fields) = fields::of(limits, None, &admission.told, false) {
            context.show_limits(fields);
        }
        Err(full.denial())
    }

    #[cold]
    fn without_quotas(
        &self,
        context: &AccessContext,
        limits: &LimitRequest<'_>,
        admission: Admitted,
    ) -> Result<(), Denial> {
        if let Some(fields) = fields::of(limits, None, told(&admission), false) {
            context.show_limits(fields);
        }
        keep(context, admission);
        Ok(())
    }

    #[inline]
    fn judge(
        &self,
        context: &AccessContext,
        request: &LimitRequest<'_>,
        admission: Admitted,
        checked: &Checked,
    ) -> Result<(), Denial> {
        let told = told(&admission);
        match checked {
            Ok(decision) if decision.outcomes().len() == request.limits().len() => {
                self.answer(context, request, decision, told, false)?;
            }
            // A decision about some of the limits is none.
            Ok(_) => {
                let corrupt = StoreError::new(StoreErrorKind::Corrupt);
                self.without_store(context, request, told, &corrupt)?;
            }
            Err(error) => self.without_store(context, request, told, error)?,
        }
        keep(context, admission);
        Ok(())
    }

    #[inline]
    fn answer(
        &self,
        context: &AccessContext,
        request: &LimitRequest<'_>,
        decision: &LimitDecision,
        told: &[Free],
        fallback: bool,
    ) -> Result<(), Denial> {
        let refused = decision.refused();
        let refused = refused.map(|i| (&request.plan().planned[i], &decision.outcomes()[i]));
        if fallback || refused.is_some() {
            let policy = refused.map(|(policy, _)| Arc::clone(&policy.name));
            context.note_limit(LimitNote { policy, fallback });
        }
        if self.shows_fields
            && let Some(fields) = fields::of(request, Some(decision), told, self.classic_fields)
        {
            context.show_limits(fields);
        }
        let Some((policy, outcome)) = refused else {
            return Ok(());
        };
        Err(policy.denial(outcome.retry_after()))
    }

    #[cold]
    fn without_store(
        &self,
        context: &AccessContext,
        request: &LimitRequest<'_>,
        told: &[Free],
        error: &StoreError,
    ) -> Result<(), Denial> {
        let full = error
            .source()
            .is_some_and(|source| source.is::<StoreFull>());
        if full {
            return Err(Reason::LimitStoreUnavailable.into());
        }
        self.tell(request, error);
        let planned = request.plan().planned.iter();
        let mut modes = planned.map(|planned| planned.failure_mode(self.on_failure));
        if modes.clone().any(|mode| mode == Mode::Closed) {
            return Err(Reason::LimitStoreUnavailable.into());
        }
        if modes.all(|mode| mode == Mode::Open) {
            context.note_limit(LimitNote {
                policy: None,
                fallback: true,
            });
            return Ok(());
        }
        let request = request.without_store(self.on_failure);
        match self.fallback.get_or_init(LocalLimits::new).decide(&request) {
            Ok(decision) => self.answer(context, &request, &decision, told, true),
            Err(_) => Err(Reason::LimitStoreUnavailable.into()),
        }
    }

    fn tell(&self, request: &LimitRequest<'_>, error: &StoreError) {
        if self
            .failures
            .is_due(request.received().monotonic.as_nanos())
        {
            tracing::error!(
                target: "countersign",
                error = error as &dyn Error,
                meanwhile = ?self.on_failure,
                "the limit store failed"
            );
        }
    }
}

impl Planned {
    /// The refusal by this policy of a request that fits after `wait`, or never.
    pub(crate) fn denial(&self, wait: Option<Duration>) -> Denial {
        let denial = match wait {
            Some(wait) => {
                let wait = wait.min(Quota::MAX_WINDOW);
                Denial::new(self.dimension.reason()).with_retry_after(wait)
            }
            // Nothing that the caller could wait for would let it pass, so it must not be told to.
            None => Denial::new(Reason::MalformedRequest).with_message(NEVER_FITS),
        };
        if self.dimension.is_shown() {
            denial.with_detail("policy", &*self.name)
        } else {
            denial
        }
    }
}

/// The request has its places until it is over.
#[inline]
fn keep(context: &AccessContext, admission: Admitted) {
    if let Some(permit) = admission.and_then(|admission| admission.permit) {
        context.hold(permit);
    }
}

#[inline]
fn told(admission: &Admitted) -> &[Free] {
    admission.as_ref().map_or(&[], |admission| &admission.told)
}

const NEVER_FITS: &str = "The request asks for more than its limits can ever allow; split it up.";
