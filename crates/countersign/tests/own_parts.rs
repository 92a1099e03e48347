//! A key store, a limit store and an audit backend of one's own, written with the facade alone.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/key.rs"]
mod key;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use countersign::{
    AuditBackend, AuditSink, Change, ChangeFeed, CompanyId, CompanyRecord, CompanyScope, Contract,
    Countersign, Dimension, Endpoint, EventClaim, EventHistory, EventId, FoundKey, HeldClaim,
    KeyId, KeyPrefix, KeyRecord, KeyStore, LifecycleEvent, LimitDecision, LimitFuture,
    LimitOutcome, LimitRequest, LimitStore, MAX_LIMITS, MemoryKeyStore, Notice, PeerAddr, Policies,
    Policy, Quota, Record, Recovery, StoreError, StoreErrorKind, StoreFull, Timestamp, UseStore,
    gcra,
};
use http::Request;
use tower::ServiceExt;

use self::key::key;

#[derive(Debug, Default)]
struct Keys(MemoryKeyStore);

struct Lock;

#[async_trait]
impl HeldClaim for Lock {
    async fn is_held(&self) -> bool {
        true
    }
}

#[async_trait]
impl KeyStore for Keys {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        self.0.find(prefix).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.0.get(id).await
    }

    async fn list(
        &self,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.0.list(company, after, limit).await
    }

    async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        self.0.due_keys(now, limit).await
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        self.0.company(id).await
    }

    async fn companies(
        &self,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        self.0.companies(after, limit).await
    }

    async fn commit(&self, change: &Change) -> Result<(), StoreError> {
        self.0.commit(change).await
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        self.0.pending_events(limit).await
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        self.0.acknowledge_events(events).await
    }

    async fn claim_events(&self) -> Result<Option<EventClaim>, StoreError> {
        Ok(Some(EventClaim::held_by(Lock)))
    }

    fn change_feed(&self) -> Option<Arc<dyn ChangeFeed>> {
        None
    }

    fn uses(&self) -> Option<&dyn UseStore> {
        self.0.uses()
    }
}

/// Counters by name, as many as there is room for.
#[derive(Debug)]
struct Counters {
    room: usize,
    cells: Mutex<HashMap<String, u64>>,
}

impl Counters {
    fn decide(&self, request: &LimitRequest<'_>) -> Result<LimitDecision, StoreError> {
        let now = request.received().monotonic.as_nanos();
        let mut cells = self.cells.lock().unwrap();
        let mut drawn = Vec::with_capacity(MAX_LIMITS);
        for limit in request.limits() {
            let key = request.key(&limit).to_string();
            let tat = cells.get(&key).copied();
            if tat.is_none() && cells.len() == self.room {
                return Err(StoreError::with_source(
                    StoreErrorKind::Unavailable,
                    StoreFull,
                ));
            }
            let verdict = gcra::decide(tat.unwrap_or(0), now, limit.quota(), limit.cost());
            drawn.push((key, verdict));
        }
        let decision = LimitDecision::new(drawn.iter().map(|(_, it)| LimitOutcome::from(*it)))?;
        if decision.is_allowed() {
            cells.extend(drawn.into_iter().map(|(key, it)| (key, it.new_tat)));
        }
        Ok(decision)
    }
}

impl LimitStore for Counters {
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture {
        self.decide(request).into()
    }
}

type Lines = Arc<Mutex<Vec<(EventId, String)>>>;

#[derive(Debug)]
struct Log {
    lines: Lines,
    recovery: Option<Recovery>,
    notices: Vec<Notice>,
}

#[async_trait]
impl AuditBackend for Log {
    fn next_seq(&self) -> u64 {
        self.lines.lock().unwrap().len() as u64
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        self.recovery.take()
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn history(&self) -> Option<Arc<dyn EventHistory>> {
        Some(Arc::new(History(Arc::clone(&self.lines))))
    }

    async fn append(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        if batch.first().is_some_and(|it| it.seq() != self.next_seq()) {
            return Err(StoreErrorKind::Conflict.into());
        }
        let text = |record: &Record| String::from_utf8(record.line().to_vec()).unwrap();
        let batch = batch.iter().map(|record| (record.id(), text(record)));
        self.lines.lock().unwrap().extend(batch);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn health(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[derive(Debug)]
struct History(Lines);

impl EventHistory for History {
    fn find(&self, ids: &HashSet<EventId>) -> Result<HashSet<EventId>, StoreError> {
        let lines = self.0.lock().unwrap();
        let known = lines.iter().map(|(id, _)| *id);
        Ok(known.filter(|id| ids.contains(id)).collect())
    }
}

#[tokio::test]
async fn a_stack_stands_on_them() {
    let (store, lines) = (Arc::new(Keys::default()), Lines::default());
    let log = Log {
        lines: Arc::clone(&lines),
        recovery: Some(Recovery::new(7)),
        notices: vec![Notice::gap(3)],
    };
    let (sink, writer) = AuditSink::builder(log).spawn().unwrap();
    let endpoint = Endpoint::get("/accounts").scope("accounts:read".parse().unwrap());
    let quota = Quota::per_minute(2, 1);
    let stack = Countersign::builder()
        .contract(Contract::builder().endpoint(endpoint).build().unwrap())
        .key_store(Arc::clone(&store))
        .limits(Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap())
        .limit_store(Counters {
            room: 1,
            cells: Mutex::default(),
        })
        .audit(sink)
        .build()
        .unwrap();
    let outbox = stack.drain_outbox(Arc::clone(&store) as Arc<dyn KeyStore>);
    let handler = async |scope: CompanyScope| scope.company().to_string();
    let router = axum::Router::new()
        .route("/accounts", axum::routing::get(handler))
        .layer(stack);
    let key = key(&store).await;
    let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let request = Request::get("/accounts")
            .header("host", "api.example.com")
            .header("x-api-key", &key)
            .extension(PeerAddr(peer))
            .body(axum::body::Body::empty())
            .unwrap();
        answers.push(
            router
                .clone()
                .oneshot(request)
                .await
                .unwrap()
                .status()
                .as_u16(),
        );
    }
    assert_eq!(answers, [200, 200, 429]);
    outbox.shutdown().await;
    assert_eq!(writer.shutdown(Duration::from_secs(5)).await.lost, 0);
    let lines = lines
        .lock()
        .unwrap()
        .iter()
        .map(|(_, line)| line.clone())
        .collect::<String>();
    for told in [
        "audit.recovered",
        "audit.gap",
        "token.created",
        "request.allowed",
        "rate_limited",
    ] {
        assert!(lines.contains(told), "{told}: {lines}");
    }
}
