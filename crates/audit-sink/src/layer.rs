//! The outermost layer of a stack.

use std::sync::Arc;

use countersign_core::Edge;
use tower_layer::Layer;

use crate::{Audit, AuditSink, IntentLayer, SourceForm};

/// Records the outcome of every request. It must be the outermost layer of the stack: what a layer
/// outside it refuses would not be recorded, so that it refuses everything there.
#[derive(Debug, Clone)]
#[must_use]
pub struct AuditLayer<G = ()> {
    settings: Arc<Settings>,
    guard: G,
}

/// What a layer and the layer of its intents record alike.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) sink: AuditSink,
    pub(crate) edge: Edge,
    pub(crate) form: SourceForm,
}

impl AuditLayer {
    /// Records into `sink`, with the default edge and plain source addresses.
    pub fn new(sink: AuditSink) -> Self {
        Self {
            settings: Settings::new(sink),
            guard: (),
        }
    }

    /// Decides with `guard` on each request too, as a service of its own directly inside this one
    /// would, but with one service, one future and one handle of the request's record for both.
    pub fn guarding<G>(self, guard: G) -> AuditLayer<G> {
        AuditLayer {
            settings: self.settings,
            guard,
        }
    }
}

impl<G> AuditLayer<G> {
    /// How requests enter: clock, trusted proxies, request ids, form of refusals.
    pub fn with_edge(mut self, edge: Edge) -> Self {
        Arc::make_mut(&mut self.settings).edge = edge;
        self
    }

    /// In which form source addresses are recorded.
    pub fn with_source_form(mut self, form: SourceForm) -> Self {
        Arc::make_mut(&mut self.settings).form = form;
        self
    }

    /// The innermost layer of the same stack, with the same log, edge and form of sources.
    pub fn intent(&self) -> IntentLayer {
        IntentLayer::with_settings(Arc::clone(&self.settings))
    }

    /// What decides on each request; nothing unless [`AuditLayer::guarding`] gave it one.
    pub const fn guard(&self) -> &G {
        &self.guard
    }
}

impl<S, G: Clone> Layer<S> for AuditLayer<G> {
    type Service = Audit<S, G>;

    fn layer(&self, inner: S) -> Audit<S, G> {
        Audit::new(inner, Arc::clone(&self.settings), self.guard.clone())
    }
}

impl Settings {
    pub(crate) fn new(sink: AuditSink) -> Arc<Self> {
        Arc::new(Self {
            sink,
            edge: Edge::default(),
            form: SourceForm::Plain,
        })
    }
}
