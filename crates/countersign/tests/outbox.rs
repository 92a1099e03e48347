//! Several processes on one store, and one audit log: each event of a change is in it once.
#![cfg(all(feature = "postgres", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use countersign::{
    Actor, AuditSink, Clock, Contract, Countersign, Dimension, Endpoint, Environment, IssueRequest,
    KeyManager, KeyStore, MemoryBackend, OutboxDrain, Policies, Policy, Quota, ScopeSet,
    StoreLocator, SystemClock,
};
use serde_json::Value;

const PROCESSES: usize = 4;
const KEYS: usize = 60;

/// What one process has: connections of its own, and a drain into the shared log.
async fn process(locator: &StoreLocator, sink: &AuditSink) -> (Arc<dyn KeyStore>, OutboxDrain) {
    let store = locator.open().await.unwrap();
    let endpoint = Endpoint::get("/accounts").scope("accounts:read".parse().unwrap());
    let quota = Quota::per_second(100, 100).unwrap();
    let stack = Countersign::builder()
        .contract(Contract::builder().endpoint(endpoint).build().unwrap())
        .key_store(Arc::clone(&store))
        .limits(Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap())
        .audit(sink.clone())
        .build()
        .unwrap();
    let drain = stack.drain_outbox(Arc::clone(&store));
    (store, drain)
}

async fn issue_many(store: Arc<dyn KeyStore>) {
    let manager = KeyManager::builder(store).build().unwrap();
    let ada = Actor::operator("ada").unwrap();
    let company = "company_12".parse().unwrap();
    // One of the processes is the first.
    let _ = manager.create_company(&ada, company).await;
    let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
    let expiry = SystemClock
        .now()
        .wall
        .saturating_add(Duration::from_secs(60));
    for _ in 0..KEYS {
        let request = IssueRequest::new(company, Environment::Live, scopes.clone(), expiry);
        manager.issue(&ada, request).await.unwrap();
    }
}

/// Processes change keys, and end one after the other while others still change more.
async fn each_event_is_told_once(locator: &str) {
    let locator: StoreLocator = locator.parse().unwrap();
    let (backend, log) = MemoryBackend::new();
    let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(process(&locator, &sink).await);
    }
    let changing: Vec<_> = processes
        .iter()
        .map(|(store, _)| tokio::spawn(issue_many(Arc::clone(store))))
        .collect();
    let last = process(&locator, &sink).await;
    for ((_, drain), changes) in processes.into_iter().zip(changing) {
        // The one that has the claim hands it over in the middle of the others' changes.
        drain.shutdown().await;
        changes.await.unwrap();
    }
    let store = Arc::clone(&last.0);
    let waiting = async {
        while !store.pending_events(1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("all are brought over");
    last.1.shutdown().await;
    writer.shutdown(Duration::from_secs(5)).await;

    let mut told: HashMap<String, HashMap<String, u32>> = HashMap::new();
    for line in log.lines() {
        let event: Value = serde_json::from_str(&line).unwrap();
        let Some(key) = event["key_id"].as_str() else {
            continue;
        };
        let kind = event["type"].as_str().unwrap().to_owned();
        *told
            .entry(key.to_owned())
            .or_default()
            .entry(kind)
            .or_default() += 1;
    }
    assert_eq!(told.len(), PROCESSES * KEYS, "nothing is lost");
    for (key, kinds) in told {
        let once = [
            "external_api.token.created",
            "external_api.token.displayed_once",
        ];
        let once = once.map(|kind| (kind.to_owned(), 1));
        assert_eq!(kinds, HashMap::from(once), "{key}: nothing is told twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_one_sqlite_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.db");
    each_event_is_told_once(&format!("sqlite:{}", file.display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn on_one_postgresql() {
    let server = std::env::var("COUNTERSIGN_TEST_POSTGRES").expect("cargo xtask test names it");
    let schema = format!("outbox_{}", std::process::id());
    each_event_is_told_once(&format!("{server}?schema={schema}")).await;
}
