//! The fastest that peers allow without writing a framework: tower-http's request validation for
//! credential and scope, `tower_governor`, and a typed event, all in one `Router::layer`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tokio::sync::mpsc::Sender;
use tower::{Service, ServiceBuilder, layer::layer_fn};
use tower_governor::GovernorLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;

use super::caller::{self, Caller, Callers};
use super::{api, drain};

/// The router behind the stack; `consume` gets the events.
pub(crate) fn router(callers: Callers, consume: impl FnMut(Event) + Send + 'static) -> Router {
    let events = drain::start(consume);
    let authenticate = move |request: &mut Request<Body>| {
        let caller = callers.find(request.headers());
        let caller = caller.ok_or_else(|| refuse(StatusCode::UNAUTHORIZED))?;
        request.extensions_mut().insert(caller);
        Ok(())
    };
    let scope = |request: &mut Request<Body>| {
        let caller = request.extensions().get::<Arc<Caller>>();
        let allowed = caller.is_some_and(|it| it.may_read());
        allowed
            .then_some(())
            .ok_or_else(|| refuse(StatusCode::FORBIDDEN))
    };
    api::bare().layer(
        ServiceBuilder::new()
            .layer(ValidateRequestHeaderLayer::custom(authenticate))
            .layer(layer_fn(move |inner| Audit {
                inner,
                events: events.clone(),
            }))
            .layer(ValidateRequestHeaderLayer::custom(scope))
            .layer(GovernorLayer::new(caller::limit())),
    )
}

fn refuse(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// One request, as the assembled stack records it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) time: SystemTime,
    pub(crate) caller: Option<Arc<Caller>>,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) status: StatusCode,
    pub(crate) latency_us: u64,
}

#[derive(Clone)]
struct Audit<S> {
    inner: S,
    events: Sender<Event>,
}

impl<S> Service<Request<Body>> for Audit<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Recorded<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let event = Event {
            time: SystemTime::now(),
            caller: request.extensions().get::<Arc<Caller>>().cloned(),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            status: StatusCode::OK,
            latency_us: 0,
        };
        Recorded {
            started: Instant::now(),
            event: Some(event),
            events: self.events.clone(),
            inner: self.inner.call(request),
        }
    }
}

pin_project! {
    struct Recorded<F> {
        started: Instant,
        event: Option<Event>,
        events: Sender<Event>,
        #[pin]
        inner: F,
    }
}

impl<F, E> Future for Recorded<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        if let Some(mut event) = this.event.take() {
            event.status = response.status();
            event.latency_us = this.started.elapsed().as_micros() as u64;
            drain::send(this.events, event);
        }
        Poll::Ready(Ok(response))
    }
}
