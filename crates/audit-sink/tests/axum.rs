//! The layer alone on an axum router.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use countersign_audit_sink::{AuditLayer, AuditSink, MemoryBackend};
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::ServiceExt;

async fn ask(router: &Router) -> Response<Body> {
    let request = Request::get("/").body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn it_stands_alone_on_a_router() {
    let (backend, log) = MemoryBackend::new();
    let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
    sink.flush().await.unwrap();
    let router = Router::<()>::new()
        .route("/", get(async || "an answer"))
        .layer(AuditLayer::new(sink));
    let answer = ask(&router).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("x-request-id"));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "an answer");
    writer.shutdown(Duration::from_secs(5)).await;
    assert_eq!(log.lines().len(), 1);
    assert!(log.lines()[0].contains("external_api.request.allowed"));

    let refused = ask(&router).await;
    assert_eq!(refused.status(), 503);
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("service_unavailable"));
}
