//! The layer.

use std::sync::Arc;

use countersign_core::Edge;
use tower_layer::Layer;

use crate::service::KeyVerify;
use crate::verifier::KeyVerifier;

/// Lets a request pass when it carries a key that [`KeyVerifier`] accepts, and puts the key's
/// identity into the request's record.
#[derive(Debug, Clone)]
#[must_use]
pub struct KeyVerifyLayer {
    pub(crate) verifier: KeyVerifier,
    pub(crate) edge: Edge,
}

impl KeyVerifyLayer {
    /// Verifies keys with `verifier`.
    pub fn new(verifier: KeyVerifier) -> Self {
        Self {
            verifier,
            edge: Edge::default(),
        }
    }

    /// Shares the edge of the other layers of the stack.
    pub fn with_edge(mut self, edge: Edge) -> Self {
        self.edge = edge;
        self
    }
}

impl<S> Layer<S> for KeyVerifyLayer {
    type Service = KeyVerify<S>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyVerify {
            inner,
            layer: Arc::new(self.clone()),
        }
    }
}
