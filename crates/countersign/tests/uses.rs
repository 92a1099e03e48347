//! Two services on one store: every use of a key is in it when both have shut down, once.
#![cfg(all(feature = "postgres", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign::{
    Actor, AuditSink, Clock, Contract, Countersign, Dimension, Edge, Endpoint, Environment,
    IssueRequest, IssuedKey, KeyManager, KeyStore, ManualClock, MemoryBackend, MemoryKeyStore,
    PeerAddr, Policies, Policy, Quota, Scope, ScopeSet, StoreLocator,
};
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};

const REQUESTS: u64 = 50;
const TASKS: u64 = 4;

fn stack(store: Arc<dyn KeyStore>, clock: &ManualClock, sink: &AuditSink) -> Countersign {
    let scope = |name: &str| name.parse::<Scope>().unwrap();
    let contract = Contract::builder()
        .endpoint(Endpoint::get("/accounts/{id}").scope(scope("accounts:read")))
        .endpoint(Endpoint::get("/payments").scope(scope("payments:read")))
        .endpoint(Endpoint::get("/tokens").scope(scope("tokens:manage")));
    let quota = Quota::per_second(10_000, 10_000).unwrap();
    Countersign::builder()
        .contract(contract.build().unwrap())
        .key_store(store)
        .limits(Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap())
        .audit(sink.clone())
        .edge(Edge::builder().clock(clock.clone()).build())
        .build()
        .unwrap()
}

async fn send(stack: &Countersign, issued: &IssuedKey, path: &str) -> u16 {
    let service = stack.layer(service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let raw = issued.key.expose();
    let request = Request::builder()
        .uri(path)
        .extension(PeerAddr("192.0.2.7:4000".parse().unwrap()))
        .header("host", "api.example")
        .header("x-api-key", raw.as_str())
        .body(Full::default())
        .unwrap();
    service.oneshot(request).await.unwrap().status().as_u16()
}

async fn issue(store: Arc<dyn KeyStore>, clock: &ManualClock) -> IssuedKey {
    let manager = KeyManager::builder(store).clock(clock.clone());
    let manager = manager.build().unwrap();
    let ada = Actor::operator("ada").unwrap();
    let company = "company_12".parse().unwrap();
    manager.create_company(&ada, company).await.unwrap();
    let scopes = ScopeSet::from_names(["accounts:read", "payments:read", "reports:read"]);
    let expiry = clock.now().wall.saturating_add(Duration::from_secs(3600));
    let request = IssueRequest::new(company, Environment::Live, scopes.unwrap(), expiry);
    let request = request.activate_now(true);
    manager.issue(&ada, request).await.unwrap()
}

/// Both ask for the accounts all the time; one once for something that the key may not have, and
/// then for its payments.
async fn no_use_is_lost(stores: [Arc<dyn KeyStore>; 2]) {
    let clock = ManualClock::default();
    let issued = Arc::new(issue(Arc::clone(&stores[0]), &clock).await);
    let (backend, _log) = MemoryBackend::new();
    let (sink, audit) = AuditSink::builder(backend).spawn().unwrap();
    let nodes = stores.clone().map(|store| stack(store, &clock, &sink));
    let writers = nodes.each_ref().map(|node| node.track_uses().unwrap());
    let mut running = Vec::new();
    for node in &nodes {
        for _ in 0..TASKS {
            let (node, issued) = (node.clone(), Arc::clone(&issued));
            running.push(tokio::spawn(async move {
                for n in 0..REQUESTS {
                    let status = send(&node, &issued, &format!("/accounts/{n}")).await;
                    assert_eq!(status, 200);
                }
            }));
        }
    }
    for task in running {
        task.await.unwrap();
    }
    clock.advance(Duration::from_secs(60));
    assert_eq!(send(&nodes[0], &issued, "/tokens").await, 403);
    clock.advance(Duration::from_secs(60));
    assert_eq!(send(&nodes[0], &issued, "/payments").await, 200);
    let all = 2 * TASKS * REQUESTS + 2;
    let mut written = 0;
    for writer in writers {
        let report = writer.shutdown().await;
        assert_eq!(report.lost, 0);
        written += report.written;
    }
    assert_eq!(written, all);

    let uses = stores[1].uses().unwrap();
    let found = uses.last_uses(&[issued.record.id]).await.unwrap();
    assert_eq!(found[0].count, all);
    assert_eq!(found[0].at, clock.now().wall);
    assert_eq!(found[0].route.as_deref(), Some("/payments"));
    let exercised = ScopeSet::from_names(["accounts:read", "payments:read"]);
    assert_eq!(found[0].scopes, exercised.unwrap(), "and not reports:read");
    audit.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_memory() {
    let store: Arc<dyn KeyStore> = Arc::new(MemoryKeyStore::default());
    no_use_is_lost([Arc::clone(&store), store]).await;
}

async fn twice(locator: &str) -> [Arc<dyn KeyStore>; 2] {
    let locator: StoreLocator = locator.parse().unwrap();
    [locator.open().await.unwrap(), locator.open().await.unwrap()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_one_sqlite_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    no_use_is_lost(twice(&format!("sqlite:{}", path.display())).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn on_one_postgresql() {
    let server = std::env::var("COUNTERSIGN_TEST_POSTGRES").expect("cargo xtask test names it");
    let schema = format!("uses_{}", std::process::id());
    no_use_is_lost(twice(&format!("{server}?schema={schema}")).await).await;
}
