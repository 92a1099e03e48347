//! The two layers.

use std::sync::Arc;

use countersign_core::Edge;
use tower_layer::Layer;

use crate::{Contract, ContractService, ScopeGuard};

/// Finds each request's endpoint in the contract and refuses what is not in it. The first layer
/// of a stack, or the second one behind the audit.
#[derive(Debug, Clone)]
#[must_use]
pub struct ContractLayer {
    pub(crate) contract: Contract,
    pub(crate) edge: Edge,
}

impl ContractLayer {
    /// A layer that lets through what `contract` declares.
    pub fn new(contract: Contract) -> Self {
        Self {
            contract,
            edge: Edge::default(),
        }
    }

    /// Enters requests by `edge`, where this is the first layer of the stack.
    pub fn with_edge(mut self, edge: Edge) -> Self {
        self.edge = edge;
        self
    }
}

impl<S> Layer<S> for ContractLayer {
    type Service = ContractService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ContractService::new(inner, Arc::new(self.clone()))
    }
}

/// Refuses a caller that lacks its endpoint's scope. Behind the layers that find the endpoint and
/// verify the caller.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ScopeGuardLayer {
    edge: Edge,
}

impl ScopeGuardLayer {
    /// A layer that compares scopes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters requests by `edge`, where this is the first layer of the stack.
    pub fn with_edge(mut self, edge: Edge) -> Self {
        self.edge = edge;
        self
    }
}

impl<S> Layer<S> for ScopeGuardLayer {
    type Service = ScopeGuard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ScopeGuard::new(inner, self.edge.clone())
    }
}
