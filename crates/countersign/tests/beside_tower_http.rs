//! Layers of tower-http around the stack and behind it, as `docs/tower-http.md` orders them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::future::pending;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use countersign::Countersign;
use http::{Request, StatusCode};
use support::World;
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

fn service(routes: Router, stack: Countersign) -> Router {
    let late = StatusCode::GATEWAY_TIMEOUT;
    routes
        // Behind the stack: what cuts a request short is an answer like any other, with its audit event.
        .layer(RequestBodyLimitLayer::new(64 * 1024))
        .layer(TimeoutLayer::with_status_code(late, LONGEST))
        .layer(stack)
        // Around it: what concerns refusals too.
        .layer(CompressionLayer::new())
}

/// The status of an answer, and that of its only event, which has the answer's id.
async fn told(routes: Router, change: impl FnOnce(&mut Request<Body>)) -> (u16, String) {
    let world = World::new().await;
    let mut request = world.request("/accounts");
    change(&mut request);
    let answer = service(routes, world.stack.clone())
        .oneshot(request)
        .await
        .unwrap();
    let events = world.events().await;
    assert_eq!(events.len(), 1, "{events:?}");
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    assert_eq!(events[0]["request_id"], id);
    assert_eq!(events[0]["status"], answer.status().as_u16());
    let cause = events[0]["metadata"]["cause"].as_str();
    (
        answer.status().as_u16(),
        cause.unwrap_or_default().to_owned(),
    )
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_answered_and_recorded() {
    let routes = Router::new().route("/accounts", get(pending::<&str>));
    assert_eq!(told(routes, |_| {}).await, (504, String::new()));
}

#[tokio::test]
async fn a_body_that_is_too_long_is_answered_and_recorded() {
    let routes = Router::new().route("/accounts", get(async |body: String| body));
    let long = |request: &mut Request<Body>| *request.body_mut() = vec![b'x'; 65 * 1024].into();
    assert_eq!(told(routes, long).await, (413, String::new()));
}

#[tokio::test]
async fn answers_and_refusals_are_compressed() {
    let gzip = |request: &mut Request<Body>| {
        let headers = request.headers_mut();
        headers.insert("accept-encoding", "gzip".parse().unwrap());
    };
    let refused = |request: &mut Request<Body>| {
        gzip(request);
        request.headers_mut().remove("x-api-key");
    };
    let routes = || Router::new().route("/accounts", get(async || "accounts ".repeat(99)));
    assert_eq!(told(routes(), gzip).await, (200, String::new()));
    assert_eq!(told(routes(), refused).await, (401, String::new()));
    let world = World::new().await;
    let mut request = world.request("/accounts");
    refused(&mut request);
    let answer = service(routes(), world.stack).oneshot(request).await;
    assert_eq!(answer.unwrap().headers()["content-encoding"], "gzip");
}

const LONGEST: Duration = Duration::from_millis(20);
