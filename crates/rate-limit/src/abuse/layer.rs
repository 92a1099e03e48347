//! The layer that refuses keys under a penalty.

use countersign_core::{AccessContext, Edge, Guard, Guarded, Verdict};
use http::Request;
use tower_layer::Layer;

use super::AbuseMonitor;

/// Refuses keys that a rule against abuse keeps away for a while: 429 `rate_limit_exceeded`, audit
/// reason `abuse_denied`. Behind the layer that verifies, in front of the limits, so that a refused
/// request takes nothing from them. While no key is kept away, it costs one load.
///
/// It only refuses. The monitor sees nothing until it is the [`Edge`]'s observer
/// ([`Edge::with_observer`]), and penalties of sources and prefixes are in force where it is the
/// failure meter of the layer that verifies.
#[derive(Debug, Clone)]
#[must_use]
pub struct AbuseLayer {
    monitor: Option<AbuseMonitor>,
    edge: Edge,
}

/// What [`AbuseLayer`] makes of a service.
pub type Abuse<S> = Guarded<S, AbuseLayer>;

impl AbuseLayer {
    /// A layer that refuses the keys that `monitor` keeps away.
    pub fn new(monitor: AbuseMonitor) -> Self {
        Self {
            monitor: Some(monitor),
            edge: Edge::default(),
        }
    }

    /// A layer that refuses nobody.
    pub fn off() -> Self {
        Self {
            monitor: None,
            edge: Edge::default(),
        }
    }

    /// Enters requests by `edge`, where this is the first layer of the stack.
    pub fn with_edge(mut self, edge: Edge) -> Self {
        self.edge = edge;
        self
    }

    /// The monitor, if there is one.
    #[must_use]
    pub const fn monitor(&self) -> Option<&AbuseMonitor> {
        self.monitor.as_ref()
    }
}

impl<B> Guard<B> for AbuseLayer {
    #[inline]
    fn check(&self, _: &Request<B>, context: &AccessContext) -> Verdict<B> {
        match &self.monitor {
            Some(monitor) => monitor.check_key(context).into(),
            None => Verdict::Pass,
        }
    }
}

impl<S> Layer<S> for AbuseLayer {
    type Service = Abuse<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded::new(inner, self.clone(), self.edge.clone())
    }
}
