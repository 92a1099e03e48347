//! The layer alone on an axum router.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use countersign_core::{AccessContext, Clock, Environment, ScopeSet, SystemClock};
use countersign_key_verify::{
    Actor, IssueRequest, KeyManager, KeyVerifier, KeyVerifyLayer, MemoryKeyStore,
};
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::ServiceExt;

async fn key(store: &Arc<MemoryKeyStore>) -> String {
    let manager = KeyManager::builder(Arc::clone(store)).build().unwrap();
    let ada = Actor::operator("ada").unwrap();
    let company = "company_12".parse().unwrap();
    manager.create_company(&ada, company).await.unwrap();
    let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
    let expiry = SystemClock
        .now()
        .wall
        .saturating_add(Duration::from_secs(3600));
    let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
    let issued = manager
        .issue(&ada, request.activate_now(true))
        .await
        .unwrap();
    issued.key.expose().to_string()
}

async fn text(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn it_stands_alone_on_a_router() {
    let store = Arc::new(MemoryKeyStore::default());
    let key = key(&store).await;
    let verifier = KeyVerifier::builder(store).build().unwrap();
    let who = async |request: Request<Body>| {
        let context = AccessContext::of(&request).unwrap();
        context.identity().unwrap().company().to_string()
    };
    let router = Router::<()>::new()
        .route("/", get(who))
        .layer(KeyVerifyLayer::new(verifier));
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
