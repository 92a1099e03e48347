//! The service that [`AuditLayer`](crate::AuditLayer) makes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_core::body::{DenialBody, WatchBody};
use countersign_core::{AccessContext, Reason};
use http::{Request, Response};
use tower_service::Service;

use crate::event::Arrival;
use crate::future::ResponseFuture;
use crate::layer::Settings;
use crate::recording::{Recording, count_unrecorded};

/// Records the outcome of every request that goes to the inner service.
#[derive(Debug, Clone)]
pub struct Audit<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Audit<S> {
    pub(crate) const fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Audit<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: WatchBody,
    ResBody: DenialBody + WatchBody,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let entered = self.settings.edge.enter(&mut request);
        let is_first = entered.is_first();
        let context = entered.into_context(&request);
        let arrival = Arrival::of(&request, &context, &self.settings.form);
        let Some(permit) = self.settings.sink.reserve() else {
            return ResponseFuture::refused(without_record(&context, arrival));
        };
        let mut recording = Recording::new(context, arrival, permit);
        if !is_first {
            let context = recording.context();
            let denial = context.misconfigured("audit", "its place as the outermost layer");
            let response = context.refuse(denial);
            return ResponseFuture::refused(recording.answered(response));
        }
        match call(&mut self.inner, recording.watch(request)) {
            Some(future) => ResponseFuture::running(future, recording),
            None => {
                let response = recording.panicked();
                ResponseFuture::refused(recording.answered(response))
            }
        }
    }
}

/// Calls `inner`; `None` if that panicked. A handler's fault is the handler's: the service is used
/// on as its own state allows.
#[inline]
fn call<S: Service<R>, R>(inner: &mut S, request: R) -> Option<S::Future> {
    // Handed over by reference: what a closure takes and gives is copied once more each.
    let (mut request, mut future) = (Some(request), None);
    let called = catch_unwind(AssertUnwindSafe(|| {
        if let Some(request) = request.take() {
            future = Some(inner.call(request));
        }
    }));
    called.ok().and(future)
}

/// The refusal of a request for which the log has no room. The log itself counts it.
fn without_record<B: DenialBody>(context: &AccessContext, arrival: Arrival) -> Response<B> {
    let response = context.refuse(Reason::AuditUnavailable.into());
    count_unrecorded(context, arrival, &response);
    response
}
