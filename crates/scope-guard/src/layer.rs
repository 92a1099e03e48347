//! The two layers.

use countersign_core::{AccessContext, Edge, Guard, Guarded, Verdict};
use http::Request;
use tower_layer::Layer;

use crate::Contract;
use crate::lookup::look_up;
use crate::permit::permit;

/// Finds each request's endpoint in the contract and refuses what is not in it. The first layer
/// of a stack, or the second one behind the audit.
#[derive(Debug, Clone)]
#[must_use]
pub struct ContractLayer {
    contract: Contract,
    edge: Edge,
}

/// What [`ContractLayer`] makes of a service.
pub type ContractService<S> = Guarded<S, ContractLayer>;

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

impl<B> Guard<B> for ContractLayer {
    #[inline]
    fn check(&self, request: &Request<B>, context: &AccessContext) -> Verdict<B> {
        look_up(&self.contract, request, context).into()
    }
}

impl<S> Layer<S> for ContractLayer {
    type Service = ContractService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded::new(inner, self.clone(), self.edge.clone())
    }
}

/// Refuses a caller that lacks its endpoint's scope. Behind the layers that find the endpoint and
/// verify the caller.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ScopeGuardLayer {
    edge: Edge,
}

/// What [`ScopeGuardLayer`] makes of a service.
pub type ScopeGuard<S> = Guarded<S, ScopeGuardLayer>;

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

impl<B> Guard<B> for ScopeGuardLayer {
    #[inline]
    fn check(&self, _: &Request<B>, context: &AccessContext) -> Verdict<B> {
        permit(context).into()
    }
}

impl<S> Layer<S> for ScopeGuardLayer {
    type Service = ScopeGuard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded::new(inner, self.clone(), self.edge.clone())
    }
}
