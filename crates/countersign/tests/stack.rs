//! The whole stack as a tower service: readiness, dropped futures, bodies, foreign layers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use countersign::{
    Actor, AuditSink, AuditWriter, Clock, Contract, Countersign, CountersignService, Dimension,
    Edge, Endpoint, Environment, IssueRequest, KeyManager, ManualClock, MemoryBackend,
    MemoryKeyStore, MemoryLog, PeerAddr, Policies, Policy, Quota, ScopeSet,
};
use countersign_core::testing::{NeverAnswers, ReadinessProbe};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

struct World {
    stack: Countersign,
    log: MemoryLog,
    sink: AuditSink,
    key: String,
    _writer: AuditWriter,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::default();
        let store = Arc::new(MemoryKeyStore::default());
        let manager = KeyManager::builder(Arc::clone(&store))
            .clock(clock.clone())
            .build()
            .unwrap();
        let operator = Actor::operator("ada").unwrap();
        let company = "company_12".parse().unwrap();
        manager.create_company(&operator, company).await.unwrap();
        let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
        let expiry = clock.now().wall.saturating_add(Duration::from_secs(3600));
        let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
        let issued = manager
            .issue(&operator, request.activate_now(true))
            .await
            .unwrap();
        let (backend, log) = MemoryBackend::new();
        let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
        let scope = "accounts:read".parse().unwrap();
        let contract = Contract::builder()
            .endpoint(Endpoint::get("/accounts").scope(scope))
            .endpoint(Endpoint::post("/accounts").scope(scope).sensitive())
            .build()
            .unwrap();
        let quota = Quota::per_second(100, 100).unwrap();
        let stack = Countersign::builder()
            .contract(contract)
            .key_store(store)
            .limits(Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap())
            .audit(sink.clone())
            .claim_json("/company_id".parse().unwrap())
            .edge(Edge::builder().clock(clock).build())
            .build()
            .unwrap();
        Self {
            stack,
            log,
            sink,
            key: issued.key.expose().to_string(),
            _writer: writer,
        }
    }

    fn request<B>(&self, method: &str, body: B) -> Request<B> {
        let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        Request::builder()
            .method(method)
            .uri("/accounts")
            .header("host", "api.example.com")
            .header("x-api-key", &self.key)
            .extension(PeerAddr(peer))
            .body(body)
            .unwrap()
    }

    async fn events(&self) -> Vec<serde_json::Value> {
        self.sink.flush().await.unwrap();
        let lines = self.log.lines();
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[tokio::test]
async fn the_ready_service_is_called() {
    let world = World::new().await;
    let probe = ReadinessProbe::default();
    let mut service = world.stack.layer(probe.clone());
    for method in ["GET", "POST", "GET", "HEAD"] {
        let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service)
            .await
            .unwrap();
        let request = world.request(method, Full::<Bytes>::default());
        assert_eq!(ready.call(request).await.unwrap().status(), 200, "{method}");
    }
    assert_eq!(probe.calls(), 4);
}

#[tokio::test]
async fn a_future_that_is_dropped_is_told_once() {
    let world = World::new().await;
    let service = world.stack.layer(NeverAnswers);
    for method in ["GET", "POST"] {
        let stuck = service
            .clone()
            .oneshot(world.request(method, Full::<Bytes>::default()));
        let ended = tokio::time::timeout(Duration::from_millis(50), stuck).await;
        assert!(ended.is_err());
    }
    let events = world.events().await;
    let told: Vec<_> = events
        .iter()
        .map(|e| (&e["type"], &e["reason"], &e["status"]))
        .collect();
    assert_eq!(told.len(), 3, "an outcome each, and one intent: {told:?}");
    for event in events
        .iter()
        .filter(|e| e["type"] != "external_api.request.intent")
    {
        assert_eq!(event["reason"], "client_disconnected");
        assert!(event.get("status").is_none());
    }
}

#[tokio::test]
async fn works_over_axum_full_and_streaming_bodies() {
    let world = World::new().await;
    let json = r#"{"company_id":"company_12"}"#;
    let router = axum::Router::new()
        .route("/accounts", axum::routing::post(async |body: String| body))
        .layer(world.stack.clone());
    let response = router
        .oneshot(world.request("POST", Body::from(json)))
        .await
        .unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        json
    );

    let echo = tower::service_fn(async |request: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let service = world.stack.layer(echo);
    let response = service
        .oneshot(world.request("POST", Full::from(json)))
        .await
        .unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        json
    );

    type Streaming = UnsyncBoxBody<Bytes, Infallible>;
    let echo = tower::service_fn(async |request: Request<Streaming>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let service = world.stack.layer(echo);
    let streaming = Full::<Bytes>::from(json).boxed_unsync();
    let response = service
        .oneshot(world.request("POST", streaming))
        .await
        .unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        json
    );
}

#[tokio::test]
async fn works_among_foreign_layers() {
    let world = World::new().await;
    let handler = tower::service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = ServiceBuilder::new()
        .load_shed()
        .buffer(16)
        .layer(world.stack.clone())
        .service(handler);
    let request = world.request("GET", Full::<Bytes>::default());
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn one_stack_within_another_fails_closed() {
    let world = World::new().await;
    let probe = ReadinessProbe::default();
    let service = world.stack.layer(world.stack.layer(probe.clone()));
    let request = world.request("GET", Full::<Bytes>::default());
    assert_eq!(service.oneshot(request).await.unwrap().status(), 500);
    assert_eq!(probe.calls(), 0);
    let events = world.events().await;
    assert_eq!(events[0]["reason"], "misconfigured_stack");
}

/// Each layer misses what it needs where the earlier ones are left out, and says so with 500.
#[tokio::test]
async fn a_layer_without_the_earlier_ones_fails_closed() {
    use countersign::{
        CompanyScopeLayer, IntentLayer, LocalLimits, RateLimitLayer, ScopeGuardLayer,
    };
    let world = World::new().await;
    let quota = Quota::per_second(100, 100).unwrap();
    let policies = Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap();
    let limits = RateLimitLayer::new(policies, LocalLimits::default());
    let probe = ReadinessProbe::default();
    let request = || world.request("GET", Full::<Bytes>::default());
    let company = CompanyScopeLayer::new().layer(probe.clone());
    let scope = ScopeGuardLayer::new().layer(probe.clone());
    let limits = limits.layer(probe.clone());
    let intent = IntentLayer::new(world.sink.clone()).layer(probe.clone());
    let statuses = [
        company.oneshot(request()).await.unwrap().status(),
        scope.oneshot(request()).await.unwrap().status(),
        limits.oneshot(request()).await.unwrap().status(),
        intent.oneshot(request()).await.unwrap().status(),
    ];
    assert_eq!(statuses, [500; 4]);
    assert_eq!(probe.calls(), 0);
}

static_assertions::assert_impl_all!(Countersign: Send, Sync, Clone);
static_assertions::assert_impl_all!(CountersignService<ReadinessProbe>: Send, Clone);
