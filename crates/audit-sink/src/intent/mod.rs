//! The innermost layer of a stack: the intent of a sensitive call is on disk before its handler
//! runs.

mod future;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_core::body::DenialBody;
use countersign_core::{AccessContext, Denial, Edge, Sensitivity};
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

pub use self::future::IntentFuture;
use self::future::Waiting;
use crate::event::Arrival;
use crate::layer::Settings;
use crate::{AuditEvent, AuditSink, SourceForm};

/// Writes the intent of every call to a sensitive endpoint, and lets the call go on once that is on
/// disk; every other call passes at once. Take it from [`AuditLayer::intent`](crate::AuditLayer::intent)
/// where there is such a layer, so that both write alike. It must be the innermost layer, just before the
/// handler, because what stands behind it may still refuse.
#[derive(Debug, Clone)]
#[must_use]
pub struct IntentLayer(Arc<Settings>);

impl IntentLayer {
    /// Writes into `sink`, with the default edge and plain source addresses.
    pub fn new(sink: AuditSink) -> Self {
        Self(Settings::new(sink))
    }

    pub(crate) const fn with_settings(settings: Arc<Settings>) -> Self {
        Self(settings)
    }

    /// How requests enter, where no layer before this one saw them.
    pub fn with_edge(mut self, edge: Edge) -> Self {
        Arc::make_mut(&mut self.0).edge = edge;
        self
    }

    /// In which form source addresses are recorded: the same as in the
    /// [`AuditLayer`](crate::AuditLayer).
    pub fn with_source_form(mut self, form: SourceForm) -> Self {
        Arc::make_mut(&mut self.0).form = form;
        self
    }
}

impl<S> Layer<S> for IntentLayer {
    type Service = Intent<S>;

    fn layer(&self, inner: S) -> Intent<S> {
        Intent {
            inner,
            settings: Arc::clone(&self.0),
        }
    }
}

/// Lets a sensitive call go on once its intent is on disk.
#[derive(Clone)]
pub struct Intent<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Intent<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: DenialBody,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = IntentFuture<S, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let entered = self.settings.edge.enter(&mut request);
        let context = entered.context(&request);
        match needs_intent(context) {
            Ok(false) => IntentFuture::running(self.inner.call(request)),
            Err(denial) => IntentFuture::refused(context.refuse(denial)),
            Ok(true) => {
                let context = context.clone();
                let arrival = Arrival::of(&request, &context, &self.settings.form);
                let intent = AuditEvent::intent(&context, arrival);
                let durable = self.settings.sink.append_durable(intent);
                // The service that was polled ready takes this call; its clone is not ready and
                // stays here.
                let clone = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, clone);
                IntentFuture::waiting(Waiting {
                    durable,
                    context,
                    inner,
                    request,
                })
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Intent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intent")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// Whether the request's endpoint is sensitive. Who calls, and what, must be known by now.
fn needs_intent(context: &AccessContext) -> Result<bool, Denial> {
    let Some(endpoint) = context.endpoint() else {
        return Err(context.misconfigured("intent", "the endpoint"));
    };
    if context.identity().is_none() {
        return Err(context.misconfigured("intent", "the identity"));
    }
    Ok(endpoint.sensitivity() == Sensitivity::Sensitive)
}
