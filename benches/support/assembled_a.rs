//! What many services have: `middleware::from_fn` for credential and scope, `tower_governor`, and
//! an event as free-form JSON.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tower_governor::GovernorLayer;

use super::caller::{self, Caller, Callers};
use super::{api, drain};

/// The router behind the stack; `consume` gets the events.
pub(crate) fn router(callers: Callers, consume: impl FnMut(Value) + Send + 'static) -> Router {
    api::bare()
        .layer(GovernorLayer::new(caller::limit()))
        .layer(from_fn(scope))
        .layer(from_fn_with_state(drain::start(consume), audit))
        .layer(from_fn_with_state(callers, authenticate))
}

async fn authenticate(
    State(callers): State<Callers>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let caller = callers
        .find(request.headers())
        .ok_or(StatusCode::UNAUTHORIZED)?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

async fn scope(request: Request, next: Next) -> Result<Response, StatusCode> {
    let caller = request.extensions().get::<Arc<Caller>>();
    if caller.is_some_and(|it| it.may_read()) {
        Ok(next.run(request).await)
    } else {
        Err(StatusCode::FORBIDDEN)
    }
}

async fn audit(State(events): State<Sender<Value>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let caller = request.extensions().get::<Arc<Caller>>().cloned();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let event = json!({
        "time": time.map_or(0, |it| it.as_micros() as u64),
        "key": caller.as_ref().map(|it| &it.name),
        "company": caller.as_ref().map(|it| &it.company),
        "method": method.as_str(),
        "path": path,
        "status": response.status().as_u16(),
        "latency_us": started.elapsed().as_micros() as u64,
    });
    drain::send(&events, event);
    response
}
