//! The decision itself, without the types of a service.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use countersign_core::{
    AccessContext, Denial, LimitNote, Quota, Reason, StoreError, StoreErrorKind,
};

use crate::failure::Mode;
use crate::fields;
use crate::occasionally::Occasionally;
use crate::{
    LimitDecision, LimitFuture, LimitRequest, LimitStore, LocalLimits, Policies, StoreFailure,
    StoreFull,
};

/// What all services of one layer share.
#[derive(Debug)]
pub(crate) struct Limiter {
    pub(crate) policies: Policies,
    pub(crate) store: Arc<dyn LimitStore>,
    pub(crate) on_failure: StoreFailure,
    pub(crate) classic_fields: bool,
    /// Made when the store fails for the first time.
    pub(crate) fallback: OnceLock<LocalLimits>,
    pub(crate) failures: Occasionally,
}

/// A decision, or a store that must be waited for.
pub(crate) enum Step {
    Decided(Result<(), Denial>),
    Waiting(Pending),
}

pub(crate) type Checked = Result<LimitDecision, StoreError>;
pub(crate) type Pending = Pin<Box<dyn Future<Output = Checked> + Send>>;

impl Limiter {
    #[inline]
    pub(crate) fn begin(&self, context: &AccessContext) -> Step {
        let request = match self.policies.request(context) {
            Ok(request) => request,
            Err(denial) => return Step::Decided(Err(denial)),
        };
        match self.store.check(&request) {
            LimitFuture::Ready(checked) => Step::Decided(self.judge(context, &request, checked)),
            LimitFuture::Later(pending) => Step::Waiting(pending),
        }
    }

    /// The decision, when the store that was waited for has spoken.
    pub(crate) fn end(&self, context: &AccessContext, checked: Checked) -> Result<(), Denial> {
        let request = self.policies.request(context)?;
        self.judge(context, &request, checked)
    }

    #[inline]
    fn judge(
        &self,
        context: &AccessContext,
        request: &LimitRequest<'_>,
        checked: Checked,
    ) -> Result<(), Denial> {
        match complete(request, checked) {
            Ok(decision) => self.answer(context, request, &decision, false),
            Err(error) => self.without_store(context, request, &error),
        }
    }

    #[inline]
    fn answer(
        &self,
        context: &AccessContext,
        request: &LimitRequest<'_>,
        decision: &LimitDecision,
        fallback: bool,
    ) -> Result<(), Denial> {
        let refused = decision.refused();
        let refused = refused.map(|i| (&request.plan().planned[i], &decision.outcomes()[i]));
        if fallback || refused.is_some() {
            let policy = refused.map(|(policy, _)| Arc::clone(&policy.name));
            context.note_limit(LimitNote { policy, fallback });
        }
        if let Some(fields) = fields::of(request, decision, self.classic_fields) {
            context.show_limits(fields);
        }
        let Some((policy, outcome)) = refused else {
            return Ok(());
        };
        let wait = outcome.retry_after().unwrap_or(Duration::MAX);
        let wait = wait.min(Quota::MAX_WINDOW);
        Err(Denial::new(policy.dimension.reason()).with_retry_after(wait))
    }

    #[cold]
    fn without_store(
        &self,
        context: &AccessContext,
        request: &LimitRequest<'_>,
        error: &StoreError,
    ) -> Result<(), Denial> {
        let full = error
            .source()
            .is_some_and(|source| source.is::<StoreFull>());
        if full {
            return Err(Reason::LimitStoreUnavailable.into());
        }
        self.tell(request, error);
        match self.on_failure.0 {
            Mode::Closed => Err(Reason::LimitStoreUnavailable.into()),
            Mode::Open => {
                context.note_limit(LimitNote {
                    policy: None,
                    fallback: true,
                });
                Ok(())
            }
            Mode::Local(share) => {
                let request = request.with_share(share);
                match self.fallback.get_or_init(LocalLimits::new).decide(&request) {
                    Ok(decision) => self.answer(context, &request, &decision, true),
                    Err(_) => Err(Reason::LimitStoreUnavailable.into()),
                }
            }
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

/// A decision about some of the limits is none.
#[inline]
fn complete(request: &LimitRequest<'_>, checked: Checked) -> Checked {
    let decision = checked?;
    if decision.outcomes().len() == request.limits().len() {
        Ok(decision)
    } else {
        Err(StoreError::new(StoreErrorKind::Corrupt))
    }
}
