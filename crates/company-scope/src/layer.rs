//! The layer.

use std::sync::Arc;

use countersign_core::Edge;
use http::HeaderName;
use tower_layer::Layer;

use crate::claims::Claims;
use crate::place::{OverLimit, Settings};
use crate::{CompanyScopeService, JsonPointer};

/// Makes the company that owns the verified credential the company scope of each request, and
/// refuses requests that name another one. Behind the layer that verifies callers, and behind a
/// contract layer if paths hold claims.
#[derive(Debug, Clone)]
#[must_use]
pub struct CompanyScopeLayer {
    settings: Arc<Settings>,
    edge: Edge,
}

impl CompanyScopeLayer {
    /// How much of a body is read unless said otherwise: 64 KiB.
    pub const DEFAULT_BODY_LIMIT: usize = 64 * 1024;

    /// A layer that expects no claims.
    pub fn new() -> Self {
        Self {
            settings: Arc::new(Settings {
                claims: Claims::default(),
                body_limit: Self::DEFAULT_BODY_LIMIT,
                over_limit: OverLimit::default(),
            }),
            edge: Edge::default(),
        }
    }

    /// Enters requests by `edge`, where this is the first layer of the stack.
    pub fn with_edge(mut self, edge: Edge) -> Self {
        self.edge = edge;
        self
    }

    /// Checks the path parameter `name` wherever an endpoint's template has it.
    pub fn claim_path(self, name: impl Into<Box<str>>) -> Self {
        self.with(|settings| settings.claims.path.push(name.into()))
    }

    /// Checks the query parameter `name`, each time it stands in the query.
    pub fn claim_query(self, name: impl Into<Box<str>>) -> Self {
        self.with(|settings| settings.claims.query.push(name.into()))
    }

    /// Checks the header field `name`, each line of it.
    pub fn claim_header(self, name: HeaderName) -> Self {
        self.with(|settings| settings.claims.headers.push(name))
    }

    /// Checks the text at `pointer` in JSON bodies. Requests with a body are then read before
    /// they go on, up to the bound.
    pub fn claim_json(self, pointer: JsonPointer) -> Self {
        self.with(|settings| settings.claims.json.insert(pointer))
    }

    /// Reads at most `bytes` of a body for its claims, in at most 1024 frames.
    pub fn body_limit(self, bytes: usize) -> Self {
        self.with(|settings| settings.body_limit = bytes)
    }

    /// What is done with a body that is longer.
    pub fn over_limit(self, over_limit: OverLimit) -> Self {
        self.with(|settings| settings.over_limit = over_limit)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl Default for CompanyScopeLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for CompanyScopeLayer {
    type Service = CompanyScopeService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CompanyScopeService::new(inner, Arc::clone(&self.settings), self.edge.clone())
    }
}
