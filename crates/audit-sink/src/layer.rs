//! The outermost layer of a stack.

use std::sync::Arc;

use countersign_core::Edge;
use tower_layer::Layer;

use crate::{Audit, AuditSink, IntentLayer, SourceForm};

/// Records the outcome of every request. It must be the outermost layer of the stack: what a layer
/// outside it refuses would not be recorded, so that it refuses everything there.
#[derive(Debug, Clone)]
#[must_use]
pub struct AuditLayer(Arc<Settings>);

/// Shared by all clones of a service, so that a clone costs one reference count.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) sink: AuditSink,
    pub(crate) edge: Edge,
    pub(crate) form: SourceForm,
}

impl AuditLayer {
    /// Records into `sink`, with the default edge and plain source addresses.
    pub fn new(sink: AuditSink) -> Self {
        Self(Settings::new(sink))
    }

    /// How requests enter: clock, trusted proxies, request ids, form of refusals.
    pub fn with_edge(mut self, edge: Edge) -> Self {
        Arc::make_mut(&mut self.0).edge = edge;
        self
    }

    /// In which form source addresses are recorded.
    pub fn with_source_form(mut self, form: SourceForm) -> Self {
        Arc::make_mut(&mut self.0).form = form;
        self
    }

    /// The innermost layer of the same stack, with the same log, edge and form of sources.
    pub fn intent(&self) -> IntentLayer {
        IntentLayer::with_settings(Arc::clone(&self.0))
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Audit<S>;

    fn layer(&self, inner: S) -> Audit<S> {
        Audit::new(inner, Arc::clone(&self.0))
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
