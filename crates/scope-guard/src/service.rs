//! The two services.

use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_core::body::DenialBody;
use countersign_core::{Edge, Entered};
use http::{Request, Response};
use tower_service::Service;

use crate::lookup::look_up;
use crate::permit::permit;
use crate::{ContractLayer, ResponseFuture};

/// What [`ContractLayer`](crate::ContractLayer) makes of a service.
#[derive(Debug, Clone)]
pub struct ContractService<S> {
    inner: S,
    /// A server clones its services for each request: one count, not one for each setting.
    layer: Arc<ContractLayer>,
}

impl<S> ContractService<S> {
    pub(crate) const fn new(inner: S, layer: Arc<ContractLayer>) -> Self {
        Self { inner, layer }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ContractService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: DenialBody,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let entered = self.layer.edge.enter(&mut request);
        let context = entered.context(&request);
        match look_up(&self.layer.contract, &request, context) {
            Ok(()) => forward(&mut self.inner, request, entered),
            Err(denial) => ResponseFuture::refused(context.refuse(denial)),
        }
    }
}

/// What [`ScopeGuardLayer`](crate::ScopeGuardLayer) makes of a service.
#[derive(Debug, Clone)]
pub struct ScopeGuard<S> {
    inner: S,
    edge: Edge,
}

impl<S> ScopeGuard<S> {
    pub(crate) fn new(inner: S, edge: Edge) -> Self {
        Self { inner, edge }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ScopeGuard<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: DenialBody,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let entered = self.edge.enter(&mut request);
        let context = entered.context(&request);
        match permit(context) {
            Ok(()) => forward(&mut self.inner, request, entered),
            Err(denial) => ResponseFuture::refused(context.refuse(denial)),
        }
    }
}

fn forward<S, ReqBody, ResBody>(
    inner: &mut S,
    request: Request<ReqBody>,
    entered: Entered,
) -> ResponseFuture<S::Future, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    ResponseFuture::forwarded(inner.call(request), entered)
}
