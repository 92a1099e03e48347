//! The service.

use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_core::Edge;
use countersign_core::body::DenialBody;
use http::{Request, Response};
use tower_service::Service;

use crate::ResponseFuture;
use crate::future::Waiting;
use crate::limiter::{Limiter, Step};

/// What [`RateLimitLayer`](crate::RateLimitLayer) makes of a service.
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    limiter: Arc<Limiter>,
    edge: Edge,
}

impl<S> RateLimit<S> {
    pub(crate) const fn new(inner: S, limiter: Arc<Limiter>, edge: Edge) -> Self {
        Self {
            inner,
            limiter,
            edge,
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RateLimit<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: DenialBody,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, S::Future, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let entered = self.edge.enter(&mut request);
        let context = entered.context(&request);
        match self.limiter.begin(context) {
            Step::Answered(answer) => match answer.denial {
                None => ResponseFuture::forwarded(self.inner.call(request), entered, answer.fields),
                Some(denial) => ResponseFuture::refused(context, denial, answer.fields),
            },
            Step::Waiting(pending) => {
                // The ready service goes with the request; a clone never inherits readiness.
                let clone = self.inner.clone();
                ResponseFuture::waiting(Waiting {
                    pending,
                    inner: std::mem::replace(&mut self.inner, clone),
                    request,
                    entered,
                    limiter: Arc::clone(&self.limiter),
                })
            }
        }
    }
}
