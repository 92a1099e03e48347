//! The layer alone on an axum router.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use countersign_core::AccessContext;
use http::{Request, Response};
use http_body_util::BodyExt;
use support::World;
use tower::ServiceExt;

async fn text(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn it_stands_alone_on_a_router() {
    let world = World::new().await;
    let key = world.key().await.key.expose();
    let who = async |request: Request<Body>| {
        let context = AccessContext::of(&request).unwrap();
        context.identity().unwrap().company().to_string()
    };
    let router = Router::<()>::new()
        .route("/", get(who))
        .layer(world.layer(|builder| builder));
    let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    let ask = |key: &str| {
        let request = Request::get("/")
            .header("x-api-key", key)
            .extension(ConnectInfo(peer));
        router.clone().oneshot(request.body(Body::empty()).unwrap())
    };
    let allowed = text(ask(&key).await.unwrap()).await;
    assert_eq!(allowed, (200, "company_12".to_owned()));
    let (status, body) = text(ask("no key").await.unwrap()).await;
    assert_eq!(status, 401);
    assert!(body.contains("authentication_failed"), "{body}");
}
