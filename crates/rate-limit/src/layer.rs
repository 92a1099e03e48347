//! The layer.

use std::sync::{Arc, OnceLock};

use countersign_core::{AccessContext, Edge, Guard, Guarded, Verdict, Wait};
use http::Request;
use tower_layer::Layer;

use crate::in_flight::InFlight;
use crate::limiter::{Limiter, Step};
use crate::occasionally::Occasionally;
use crate::{LimitStore, Policies, StoreFailure};

/// Lets a request on if all policies that apply to it allow it. Behind the layers that find the
/// endpoint and verify the caller.
///
/// One layer has one fallback store and one count of the requests that are under way: its services
/// share them, and so do its clones. Settings are
/// made before the layer is put to use.
#[derive(Debug, Clone)]
#[must_use]
pub struct RateLimitLayer {
    policies: Policies,
    store: Arc<dyn LimitStore>,
    on_failure: StoreFailure,
    classic_fields: bool,
    edge: Edge,
    limiter: Arc<OnceLock<Arc<Limiter>>>,
}

/// What [`RateLimitLayer`] makes of a service.
pub type RateLimit<S> = Guarded<S, RateLimitLayer>;

impl RateLimitLayer {
    /// A layer that keeps `policies` with counters in `store`.
    pub fn new(policies: Policies, store: impl LimitStore) -> Self {
        Self {
            policies,
            store: Arc::new(store),
            on_failure: StoreFailure::default(),
            classic_fields: false,
            edge: Edge::default(),
            limiter: Arc::default(),
        }
    }

    /// Enters requests by `edge`, where this is the first layer of the stack.
    pub fn with_edge(mut self, edge: Edge) -> Self {
        self.edge = edge;
        self
    }

    /// Sends `X-RateLimit-Limit`, `-Remaining` and `-Reset` as well, for clients that know only
    /// these: the numbers of the tightest policy, `Reset` in seconds from now.
    pub fn with_classic_fields(mut self) -> Self {
        self.classic_fields = true;
        self.limiter = Arc::default();
        self
    }

    /// What happens while the store is down; unless said otherwise, local counters decide with half
    /// of each quota.
    pub fn on_store_failure(mut self, on_failure: StoreFailure) -> Self {
        self.on_failure = on_failure;
        self.limiter = Arc::default();
        self
    }

    fn limiter(&self) -> &Arc<Limiter> {
        self.limiter.get_or_init(|| {
            Arc::new(Limiter {
                policies: self.policies.clone(),
                store: Arc::clone(&self.store),
                on_failure: self.on_failure,
                classic_fields: self.classic_fields,
                in_flight: Arc::new(InFlight::new()),
                shows_fields: true,
                fallback: OnceLock::new(),
                failures: Occasionally::default(),
            })
        })
    }
}

impl<B: Send + 'static> Guard<B> for RateLimitLayer {
    #[inline]
    fn check(&self, request: &Request<B>, context: &AccessContext) -> Verdict<B> {
        let limiter = self.limiter();
        match limiter.begin(request, context) {
            Step::Decided(decided) => decided.into(),
            Step::Waiting(pending, terms) => {
                let (limiter, context) = (Arc::clone(limiter), context.clone());
                Verdict::Wait(Wait::until(async move {
                    let checked = pending.await;
                    limiter.end(&context, terms, &checked)
                }))
            }
        }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded::new(inner, self.clone(), self.edge.clone())
    }
}
