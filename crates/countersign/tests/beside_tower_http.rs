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
use tower_http::decompression::RequestDecompressionLayer;
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

/// How a compressed claim of another company is answered, whether the stack is around or within what
/// unpacks it.
async fn answered(content_type: Option<&str>, unpacked: bool) -> u16 {
    let claim = "/company_id".parse().unwrap();
    let world = World::with(|stack| stack.claim_json(claim)).await;
    let mut request = world.request("/accounts");
    *request.body_mut() = GZIPPED.into();
    let headers = request.headers_mut();
    headers.insert("content-encoding", "gzip".parse().unwrap());
    if let Some(content_type) = content_type {
        headers.insert("content-type", content_type.parse().unwrap());
    }
    let routes = Router::new().route("/accounts", get(async || "accounts"));
    let (unpack, stack) = (RequestDecompressionLayer::new(), world.stack.clone());
    let service = if unpacked {
        routes.layer(stack).layer(unpack)
    } else {
        routes.layer(unpack).layer(stack)
    };
    service.oneshot(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn claims_in_compressed_bodies_are_seen_where_they_are_unpacked_before() {
    assert_eq!(answered(Some("application/json"), true).await, 403);
    assert_eq!(answered(None, true).await, 403);
    assert_eq!(answered(Some("application/json"), false).await, 400);
    assert_eq!(answered(None, false).await, 200, "unchecked");
}

/// `{"company_id":"company_34"}`
const GZIPPED: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 74, 206, 207, 45, 72, 204, 171, 140, 207, 76, 81,
    178, 130, 115, 140, 77, 148, 106, 1, 118, 197, 213, 233, 27, 0, 0, 0,
];
const LONGEST: Duration = Duration::from_millis(20);
