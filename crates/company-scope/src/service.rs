//! The service.

use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_core::Edge;
use countersign_core::body::{DenialBody, ReplayBody};
use http::{Request, Response};
use tower_service::Service;

use crate::ResponseFuture;
use crate::future::Waiting;
use crate::place::{BodyPlan, Settings, note_claim, place};

/// What [`CompanyScopeLayer`](crate::CompanyScopeLayer) makes of a service.
#[derive(Debug, Clone)]
pub struct CompanyScopeService<S> {
    inner: S,
    settings: Arc<Settings>,
    edge: Edge,
}

impl<S> CompanyScopeService<S> {
    pub(crate) fn new(inner: S, settings: Arc<Settings>, edge: Edge) -> Self {
        Self {
            inner,
            settings,
            edge,
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for CompanyScopeService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ReqBody: ReplayBody + Unpin,
    ResBody: DenialBody,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let entered = self.edge.enter(&mut request);
        let context = entered.context(&request);
        let placed = match place(&self.settings, &request, context) {
            Ok(placed) => placed,
            Err(denial) => return ResponseFuture::refused(context.refuse(denial)),
        };
        if placed.body == BodyPlan::Skip {
            note_claim(context, placed.owner, placed.claimed);
            return ResponseFuture::forwarded(self.inner.call(request), entered);
        }
        // The service that was polled ready waits for the body; its clone, which is not ready,
        // stays here to be polled before the next call.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        let settings = Arc::clone(&self.settings);
        ResponseFuture::waiting(Waiting::new(ready, request, entered, placed, settings))
    }
}
