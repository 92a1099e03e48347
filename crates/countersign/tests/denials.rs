//! A handler's denial: by itself, and behind the stack.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use countersign::{CompanyScope, Denial};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use support::World;
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;

async fn json(response: Response<Body>) -> Value {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

fn field<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn a_denial_without_a_stack_is_json_by_itself() {
    let router = Router::new()
        .route("/denied", get(async || Denial::not_found()))
        .route("/scoped", get(async |_: CompanyScope| "never"));
    for (path, status, error) in [
        ("/denied", 404, "resource_not_found"),
        ("/scoped", 500, "internal_error"),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(field(&answer, "content-type"), "application/json");
        let id = field(&answer, "x-request-id").to_owned();
        let body = json(answer).await;
        assert_eq!(
            (&body["error"], &body["requestId"]),
            (&error.into(), &id.into())
        );
        assert!(body["message"].is_string());
    }
}

#[tokio::test]
async fn behind_the_stack_it_is_the_requests_own_whatever_stands_in_between() {
    let world = World::new().await;
    let router = Router::new()
        .route("/accounts", get(async || Denial::not_found()))
        .layer(CompressionLayer::new())
        .layer(world.stack.clone());
    let mut request = world.request("/accounts");
    request
        .headers_mut()
        .insert("accept-encoding", "gzip".parse().unwrap());
    let answer = router.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(!answer.headers().contains_key("content-encoding"));
    let id = field(&answer, "x-request-id").to_owned();
    assert_eq!(json(answer).await["requestId"], id);
    let events = world.events().await;
    assert_eq!((events.len(), &events[0]["request_id"]), (1, &id.into()));
}

/// axum adds the methods of a route to an answer to another method, unless it says them itself.
#[tokio::test]
async fn a_refusal_does_not_say_which_internal_routes_there_are() {
    let world = World::new().await;
    let router = Router::new()
        .route("/accounts", get(async || "ok"))
        .route("/internal/v1/payouts", get(async || "ok"))
        .layer(world.stack.clone());
    for path in ["/internal/v1/nothing", "/internal/v1/payouts"] {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let mut request = world.request(path);
            *request.method_mut() = method.parse().unwrap();
            request.headers_mut().remove("x-api-key");
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), 403, "{method} {path}");
            assert_eq!(field(&answer, "allow"), "", "{method} {path}");
        }
    }
}
