//! The innermost layer of a stack: the intent of a sensitive call is on disk before its handler
//! runs.

use std::sync::Arc;

use countersign_core::{
    AccessContext, Denial, Edge, Guard, Guarded, Reason, Sensitivity, Verdict, Wait,
};
use http::Request;
use tower_layer::Layer;

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

/// Lets a sensitive call go on once its intent is on disk.
pub type Intent<S> = Guarded<S, IntentLayer>;

impl<B: Send + 'static> Guard<B> for IntentLayer {
    #[inline]
    fn check(&self, request: &Request<B>, context: &AccessContext) -> Verdict<B> {
        match needs_intent(context) {
            Ok(false) => Verdict::Pass,
            Ok(true) => Verdict::Wait(self.begin(request, context)),
            Err(denial) => Verdict::Refuse(denial),
        }
    }
}

impl IntentLayer {
    fn begin<B: Send + 'static>(&self, request: &Request<B>, context: &AccessContext) -> Wait<B> {
        let arrival = Arrival::of(request, context, &self.0.form);
        let intent = AuditEvent::intent(context, arrival);
        let durable = self.0.sink.append_durable(intent);
        Wait::until(async { durable.await.map_err(|_| Reason::AuditUnavailable.into()) })
    }
}

impl<S> Layer<S> for IntentLayer {
    type Service = Intent<S>;

    fn layer(&self, inner: S) -> Intent<S> {
        Guarded::new(inner, self.clone(), self.0.edge.clone())
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
