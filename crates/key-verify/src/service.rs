//! The service.

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_core::body::DenialBody;
use http::{Request, Response};
use tower_service::Service;

use crate::future::ResponseFuture;
use crate::layer::KeyVerifyLayer;
use crate::verifier::Step;

/// A service behind [`KeyVerifyLayer`](crate::KeyVerifyLayer).
#[derive(Debug, Clone)]
pub struct KeyVerify<S> {
    pub(crate) inner: S,
    /// A server clones its services for each request: one count, not one for each setting.
    pub(crate) layer: Arc<KeyVerifyLayer>,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for KeyVerify<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: DenialBody,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let entered = self.layer.edge.enter(&mut request);
        let context = entered.context(&request);
        let query = request.uri().query();
        match self.layer.verifier.check(context, request.headers(), query) {
            Step::Allowed => ResponseFuture::calling(entered, self.inner.call(request)),
            Step::Refused(denial) => {
                let response = context.refuse(denial);
                ResponseFuture::refused(entered, response)
            }
            Step::Ask(key) => {
                // The future takes the service that was polled ready and leaves its clone: a clone
                // never inherits readiness.
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                let answer = self.layer.verifier.clone().ask(context.clone(), key);
                ResponseFuture::asking(entered, Box::pin(answer), ready, request)
            }
        }
    }
}
