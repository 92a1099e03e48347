//! The layer.

use countersign_core::{AccessContext, Edge, Guard, Guarded, Verdict, Wait};
use http::Request;
use tower_layer::Layer;

use crate::verifier::{KeyVerifier, Step};

/// Lets a request pass when it carries a key that [`KeyVerifier`] accepts, and puts the key's
/// identity into the request's record.
#[derive(Debug, Clone)]
#[must_use]
pub struct KeyVerifyLayer {
    verifier: KeyVerifier,
    edge: Edge,
}

/// A service behind [`KeyVerifyLayer`].
pub type KeyVerify<S> = Guarded<S, KeyVerifyLayer>;

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

impl<B: Send + 'static> Guard<B> for KeyVerifyLayer {
    #[inline]
    fn check(&self, request: &Request<B>, context: &AccessContext) -> Verdict<B> {
        let query = request.uri().query();
        match self.verifier.check(context, request.headers(), query) {
            Step::Allowed => Verdict::Pass,
            Step::Refused(denial) => Verdict::Refuse(denial),
            Step::Ask(key) => {
                let answer = self.verifier.clone().ask(context.clone(), key);
                Verdict::Wait(Wait::until(answer))
            }
        }
    }
}

impl<S> Layer<S> for KeyVerifyLayer {
    type Service = KeyVerify<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded::new(inner, self.clone(), self.edge.clone())
    }
}
