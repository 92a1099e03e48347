//! Several processes on one store, and one audit log: each event of a change is in it once,
//! whoever is killed or fails in between.
#![cfg(all(feature = "postgres", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use countersign::{
    Actor, AuditBackend, AuditSink, Change, Clock, CompanyId, CompanyRecord, Contract, Countersign,
    Dimension, Edge, Endpoint, Environment, FileLog, FoundKey, IssueRequest, KeyId, KeyManager,
    KeyPrefix, KeyRecord, KeyStore, LifecycleEvent, LogEvents, ManualClock, MemoryBackend,
    MemoryKeyStore, OutboxDrain, Policies, Policy, Quota, ScopeSet, StoreError, StoreErrorKind,
    StoreLocator, SystemClock, Timestamp,
};
use serde_json::Value;

const PROCESSES: usize = 4;
const KEYS: usize = 60;

/// What one process has: connections of its own, and a drain into the shared log.
async fn process(locator: &StoreLocator, sink: &AuditSink) -> (Arc<dyn KeyStore>, OutboxDrain) {
    let store = locator.open().await.unwrap();
    let drain = drain(Arc::clone(&store), sink);
    (store, drain)
}

fn drain(store: Arc<dyn KeyStore>, sink: &AuditSink) -> OutboxDrain {
    drain_by(SystemClock, store, sink)
}

fn drain_by(clock: impl Clock, store: Arc<dyn KeyStore>, sink: &AuditSink) -> OutboxDrain {
    let endpoint = Endpoint::get("/accounts").scope("accounts:read".parse().unwrap());
    let quota = Quota::per_second(100, 100).unwrap();
    let stack = Countersign::builder()
        .contract(Contract::builder().endpoint(endpoint).build().unwrap())
        .key_store(Arc::clone(&store))
        .limits(Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap())
        .audit(sink.clone())
        .edge(Edge::builder().clock(clock).build())
        .build()
        .unwrap();
    stack.drain_outbox(store)
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
    wait_until_empty(&*last.0).await;
    last.1.shutdown().await;
    writer.shutdown(Duration::from_secs(5)).await;
    assert_told_once(log.lines(), PROCESSES * KEYS);
}

async fn wait_until_empty(store: &dyn KeyStore) {
    let waiting = async {
        while !store.pending_events(1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("all are brought over");
}

fn assert_told_once(lines: impl IntoIterator<Item = String>, keys: usize) {
    let mut told: HashMap<String, HashMap<String, u32>> = HashMap::new();
    for line in lines {
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
    assert_eq!(told.len(), keys, "nothing is lost");
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

/// A store that can't be told that events are written, as when its client is killed before that.
#[derive(Debug)]
struct Forgetful {
    store: MemoryKeyStore,
    forgets: AtomicBool,
}

impl Forgetful {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            store: MemoryKeyStore::default(),
            forgets: AtomicBool::new(true),
        })
    }
}

#[async_trait]
impl KeyStore for Forgetful {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        self.store.find(prefix).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.store.get(id).await
    }

    async fn list(
        &self,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.store.list(company, after, limit).await
    }

    async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        self.store.due_keys(now, limit).await
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        self.store.company(id).await
    }

    async fn companies(
        &self,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        self.store.companies(after, limit).await
    }

    async fn commit(&self, change: &Change) -> Result<(), StoreError> {
        self.store.commit(change).await
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        self.store.pending_events(limit).await
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        if self.forgets.load(Ordering::SeqCst) {
            return Err(StoreErrorKind::Unavailable.into());
        }
        self.store.acknowledge_events(events).await
    }
}

/// One process's life on `log`: `during` it, the drain is at work.
async fn live(store: &Arc<Forgetful>, log: impl AuditBackend, during: impl AsyncFnOnce()) {
    let (sink, writer) = AuditSink::builder(log).spawn().unwrap();
    let drain = drain(store.clone(), &sink);
    during().await;
    drain.shutdown().await;
    writer.shutdown(Duration::from_secs(5)).await;
}

fn lines(log: &Path) -> Vec<String> {
    let events = LogEvents::open(log).unwrap().map(Result::unwrap);
    events
        .map(|event| String::from_utf8(event.line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_process_that_was_killed_before_it_could_say_so_has_told_already() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    // Of small segments, so that what was told is not in the newest.
    let open = || FileLog::options(&log).segment_bytes(2000).open().unwrap();
    let store = Forgetful::new();
    live(&store, open(), async || issue_many(store.clone()).await).await;
    live(&store, open(), async || ()).await;
    let told = lines(&log).len();
    assert!(told > 100, "{told}: a batch was told and not acknowledged");
    store.forgets.store(false, Ordering::SeqCst);
    live(&store, open(), async || wait_until_empty(&*store).await).await;
    assert_told_once(lines(&log), KEYS);
}

#[tokio::test]
async fn a_log_that_hangs_in_the_middle_tells_once() {
    let (backend, log) = MemoryBackend::new();
    let deadline = Duration::from_millis(20);
    let (sink, writer) = AuditSink::builder(backend)
        .deadline(deadline)
        .spawn()
        .unwrap();
    let store = Forgetful::new();
    store.forgets.store(false, Ordering::SeqCst);
    // Once it writes, a write that hangs is one that was taken.
    sink.flush().await.unwrap();
    log.hang(true);
    let drain = drain(store.clone(), &sink);
    issue_many(store.clone()).await;
    let hanging = async {
        while sink.health().failures == 0 {
            tokio::time::sleep(deadline).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), hanging)
        .await
        .expect("the write is noticed to hang");
    log.hang(false);
    wait_until_empty(&*store).await;
    drain.shutdown().await;
    writer.shutdown(Duration::from_secs(5)).await;
    assert_told_once(log.lines(), KEYS);
}

/// Three processes on one store and one log, and keys that end: each end is in the log once, as is
/// everything else, and it was the system that told.
#[tokio::test]
async fn the_end_of_a_key_is_told_once_and_a_minute_after_it() {
    let (backend, log) = MemoryBackend::new();
    let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.db");
    let locator: StoreLocator = format!("sqlite:{}", file.display()).parse().unwrap();
    let store = locator.open().await.unwrap();
    let clock = ManualClock::default();
    let drains = [(); 3].map(|()| drain_by(clock.clone(), Arc::clone(&store), &sink));
    let manager = KeyManager::builder(Arc::clone(&store)).clock(clock.clone());
    let manager = manager.build().unwrap();
    let ada = Actor::operator("ada").unwrap();
    let company = "company_12".parse().unwrap();
    manager.create_company(&ada, company).await.unwrap();
    let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
    let end = clock.now().wall.saturating_add(Duration::from_secs(3600));
    for _ in 0..120 {
        let request = IssueRequest::new(company, Environment::Live, scopes.clone(), end);
        let request = request.activate_now(true);
        manager.issue(&ada, request).await.unwrap();
    }
    clock.advance(Duration::from_secs(3659));
    wait_until_empty(&*store).await;
    let ended = |log: &countersign::MemoryLog| {
        let lines = log.lines().into_iter();
        let ended = lines.filter(|line| line.contains("external_api.token.expired"));
        ended.collect::<Vec<_>>()
    };
    assert_eq!(ended(&log), [""; 0], "a minute has not passed");
    clock.advance(Duration::from_secs(11));
    let told = async {
        while ended(&log).len() < 120 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told)
        .await
        .expect("all ends are told");
    for drain in drains {
        drain.shutdown().await;
    }
    writer.shutdown(Duration::from_secs(5)).await;
    let mut keys = HashMap::new();
    for line in ended(&log) {
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["actor"], "system");
        assert_eq!(event["decision"], "lifecycle_changed");
        *keys.entry(event["key_id"].to_string()).or_insert(0) += 1;
    }
    assert_eq!(keys.len(), 120);
    assert!(keys.values().all(|times| *times == 1), "{keys:?}");
}
