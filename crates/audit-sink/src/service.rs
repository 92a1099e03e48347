//! The service that [`AuditLayer`](crate::AuditLayer) makes.

use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_core::body::{DenialBody, WatchBody};
use countersign_core::{AccessContext, Guard, Reason};
use http::{Request, Response};
use tower_service::Service;

use crate::event::Arrival;
use crate::future::ResponseFuture;
use crate::layer::Settings;
use crate::recording::{Recording, count_unrecorded};

/// Records the outcome of every request that goes to the inner service, and decides on it where the
/// layer was given a guard.
#[derive(Debug)]
pub struct Audit<S, G = ()> {
    inner: S,
    /// A server clones its services for each request: one count, not one for each setting.
    shared: Arc<Shared<G>>,
}

#[derive(Debug)]
struct Shared<G> {
    settings: Arc<Settings>,
    guard: G,
}

impl<S, G> Audit<S, G> {
    pub(crate) fn new(inner: S, settings: Arc<Settings>, guard: G) -> Self {
        let shared = Arc::new(Shared { settings, guard });
        Self { inner, shared }
    }
}

impl<S: Clone, G> Clone for Audit<S, G> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S, G, ReqBody, ResBody> Service<Request<ReqBody>> for Audit<S, G>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    G: Guard<ReqBody>,
    ReqBody: WatchBody + Send + 'static,
    ResBody: DenialBody + WatchBody,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, S::Future, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let Shared { settings, guard } = &*self.shared;
        match arrive(settings, &mut request) {
            Ok(recording) => {
                if !request.body().has_ended() {
                    request = recording.watch(request);
                }
                ResponseFuture::begin(guard, &mut self.inner, request, recording)
            }
            Err(response) => ResponseFuture::refused(response),
        }
    }
}

/// Begins to record `request`.
///
/// # Errors
/// The answer, where it can't be recorded or was changed before it came here.
#[inline]
fn arrive<ReqBody, ResBody>(
    settings: &Settings,
    request: &mut Request<ReqBody>,
) -> Result<Recording, Response<ResBody>>
where
    ResBody: DenialBody + WatchBody,
{
    let entered = settings.edge.enter(request);
    let is_first = entered.is_first();
    let context = entered.into_context(request);
    let arrival = Arrival::of(request, &context, &settings.form);
    let Some(permit) = settings.sink.reserve() else {
        return Err(without_record(&context, arrival));
    };
    let recording = Recording::new(context, arrival, permit);
    if is_first {
        return Ok(recording);
    }
    let context = recording.context();
    let denial = context.misconfigured("audit", "its place as the outermost layer");
    let response = context.refuse(denial);
    Err(recording.answered(response))
}

fn without_record<B: DenialBody>(context: &AccessContext, arrival: Arrival) -> Response<B> {
    let response = context.refuse(Reason::AuditUnavailable.into());
    count_unrecorded(context, arrival, &response);
    response
}
