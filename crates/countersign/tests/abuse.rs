//! The monitor of abuse in the whole stack: what is suspended, what is refused to be built.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign::{
    AbuseKind, AbuseMonitor, AbuseReaction, AbuseRule, AbuseRules, AbuseSubject, Actor, AuditSink,
    AuditWriter, Clock, Contract, Countersign, Dimension, Edge, Endpoint, Environment,
    IssueRequest, IssuedKey, KeyManager, KeyStatus, ManualClock, MemoryBackend, MemoryKeyStore,
    MemoryLog, PeerAddr, Policies, Policy, Quota, ScopeSet, SourceThrottle,
};
use countersign_core::testing::ReadinessProbe;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt};

const MINUTE: Duration = Duration::from_secs(60);

struct World {
    stack: Countersign,
    manager: KeyManager,
    store: Arc<MemoryKeyStore>,
    clock: ManualClock,
    sink: AuditSink,
    log: MemoryLog,
    probe: ReadinessProbe,
    _writer: AuditWriter,
}

impl World {
    /// A stack that suspends a key at the third scope it asks for in vain.
    async fn new() -> Self {
        let clock = ManualClock::default();
        let store = Arc::new(MemoryKeyStore::default());
        let (backend, log) = MemoryBackend::new();
        let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
        let rule = AbuseRule::new(3, MINUTE).react(AbuseReaction::Suspend);
        let rules = AbuseRules::none().with(AbuseKind::ScopeDenials, rule);
        let stack = builder(&sink, Arc::clone(&store), &clock)
            .abuse(AbuseMonitor::builder().rules(rules))
            .build()
            .unwrap();
        let manager = KeyManager::builder(Arc::clone(&store))
            .clock(clock.clone())
            .evict_from(stack.key_cache())
            .build()
            .unwrap();
        let company = "company_12".parse().unwrap();
        manager.create_company(&ada(), company).await.unwrap();
        Self {
            stack,
            manager,
            store,
            clock,
            sink,
            log,
            probe: ReadinessProbe::default(),
            _writer: writer,
        }
    }

    async fn issue(&self) -> IssuedKey {
        self.issue_for(1).await
    }

    async fn issue_for(&self, days: u64) -> IssuedKey {
        let expiry = self
            .clock
            .now()
            .wall
            .saturating_add(Duration::from_secs(days * 86_400));
        let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
        let company = "company_12".parse().unwrap();
        let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
        self.manager
            .issue(&ada(), request.activate_now(true))
            .await
            .unwrap()
    }

    async fn ask(&self, path: &str, key: &IssuedKey) -> StatusCode {
        let request = Request::get(path)
            .header("host", "api.example.com")
            .header("x-api-key", key.key.expose().as_str())
            .extension(PeerAddr("192.0.2.7:4711".parse().unwrap()))
            .body(Full::<Bytes>::default())
            .unwrap();
        let service = self.stack.layer(self.probe.clone());
        service.oneshot(request).await.unwrap().status()
    }

    async fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        self.sink.flush().await.unwrap();
        let lines = self.log.lines();
        let events = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        events
            .filter(|event: &serde_json::Value| event["type"] == kind)
            .collect()
    }
}

fn ada() -> Actor {
    Actor::operator("ada").unwrap()
}

fn builder(
    sink: &AuditSink,
    store: Arc<MemoryKeyStore>,
    clock: &ManualClock,
) -> countersign::Builder<Contract, Arc<dyn countersign::KeyStore>, Policies, AuditSink> {
    let endpoint = |path: &str, scope: &str| Endpoint::get(path).scope(scope.parse().unwrap());
    let contract = Contract::builder()
        .endpoint(endpoint("/accounts", "accounts:read"))
        .endpoint(endpoint("/payments", "payments:read"));
    let quota = Quota::per_second(100, 100).unwrap();
    Countersign::builder()
        .contract(contract.build().unwrap())
        .key_store(store)
        .limits(Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap())
        .audit(sink.clone())
        .edge(Edge::builder().clock(clock.clone()).build())
}

#[tokio::test]
async fn a_key_that_a_rule_suspends_is_kept_away_at_once_and_suspended_in_the_store() {
    let world = World::new().await;
    let suspender = world.stack.suspend_abusers(world.manager.clone()).unwrap();
    let drain = world.stack.drain_outbox(world.store.clone());
    let (greedy, other) = (world.issue().await, world.issue().await);
    assert_eq!(world.ask("/accounts", &greedy).await, 200);
    for _ in 0..3 {
        assert_eq!(world.ask("/payments", &greedy).await, 403);
    }
    let away = world.ask("/accounts", &greedy).await;
    assert!(
        away == 429 || away == 401,
        "by the penalty, or suspended already: {away}"
    );
    suspender.shutdown().await;
    assert_eq!(world.ask("/accounts", &greedy).await, 401);
    assert_eq!(world.ask("/accounts", &other).await, 200);
    assert_eq!(world.probe.calls(), 2);

    let company = "company_12".parse().unwrap();
    let id = greedy.record.id;
    let stored = world.manager.show(&ada(), &company, id).await.unwrap();
    assert_eq!(stored.status, KeyStatus::Suspended);
    drain.shutdown().await;
    let signals = world.events("external_api.abuse.signal").await;
    assert_eq!(signals.len(), 1);
    assert_eq!(signals[0]["metadata"]["reaction"], "suspend");
    assert_eq!(signals[0]["key_id"], id.to_string());
    let suspended = world.events("external_api.token.suspended").await;
    assert_eq!(suspended.len(), 1);
    assert_eq!(suspended[0]["actor"], "system");
    assert_eq!(suspended[0]["key_id"], id.to_string());
    assert!(
        suspended[0].to_string().contains("abuse:scope_denials"),
        "{}",
        suspended[0]
    );

    // The penalty passes by itself; what was suspended, an operator brings back.
    world
        .manager
        .reactivate(&ada(), &company, id)
        .await
        .unwrap();
    assert_eq!(world.ask("/accounts", &greedy).await, 429);
    let monitor = world.stack.abuse().unwrap();
    assert!(monitor.pardon(&AbuseSubject::Key(id), world.clock.now().monotonic));
    assert_eq!(world.ask("/accounts", &greedy).await, 200);
}

/// A rotated key has no state to be suspended in: else whoever rotates first would keep the old key.
#[tokio::test]
async fn a_rotated_key_in_its_overlap_is_stopped_too() {
    let world = World::new().await;
    let suspender = world.stack.suspend_abusers(world.manager.clone()).unwrap();
    let drain = world.stack.drain_outbox(world.store.clone());
    let greedy = world.issue_for(30).await;
    let company = "company_12".parse().unwrap();
    let (id, week) = (greedy.record.id, 7 * 1440 * MINUTE);
    assert_eq!(world.ask("/payments", &greedy).await, 403);
    let rotated = world.manager.rotate(&ada(), &company, id, week).await;
    let successor = rotated.unwrap();
    // Both count as one; who is stopped is who was there last.
    assert_eq!(world.ask("/payments", &successor).await, 403);
    assert_eq!(world.ask("/payments", &greedy).await, 403);
    suspender.shutdown().await;
    // The penalty of this process is over; what stands in the store holds everywhere.
    world.clock.advance(MINUTE);
    assert_eq!(world.ask("/accounts", &greedy).await, 401);
    assert_eq!(world.ask("/accounts", &successor).await, 200);

    drain.shutdown().await;
    let signals = world.events("external_api.abuse.signal").await;
    assert_eq!(signals[0]["metadata"]["reaction"], "suspend");
    let revoked = world.events("external_api.token.revoked").await;
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0]["key_id"], id.to_string());
    assert_eq!(revoked[0]["reason"], "excessive_denied_requests");
    let told = revoked[0].to_string();
    assert!(told.contains("abuse:scope_denials"), "{told}");
}

#[tokio::test]
async fn without_a_suspender_the_key_is_kept_away_for_a_while() {
    let world = World::new().await;
    let greedy = world.issue().await;
    for _ in 0..3 {
        assert_eq!(world.ask("/payments", &greedy).await, 403);
    }
    assert_eq!(world.ask("/accounts", &greedy).await, 429);
    let denied = world.events("external_api.request.abuse_denied").await;
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0]["reason"], "abuse_denied");
    assert_eq!(denied[0]["error"], "rate_limit_exceeded");
    world.clock.advance(MINUTE);
    assert_eq!(world.ask("/accounts", &greedy).await, 200);
}

#[tokio::test]
async fn a_key_that_wakes_up_is_noticed_after_a_restart() {
    let clock = ManualClock::default();
    let store = Arc::new(MemoryKeyStore::default());
    let build = || {
        let (backend, log) = MemoryBackend::new();
        let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
        let stack = builder(&sink, Arc::clone(&store), &clock).abuse(AbuseMonitor::builder());
        let (stack, probe) = (stack.build().unwrap(), ReadinessProbe::default());
        let manager = KeyManager::builder(Arc::clone(&store))
            .clock(clock.clone())
            .build();
        World {
            stack,
            manager: manager.unwrap(),
            store: Arc::clone(&store),
            clock: clock.clone(),
            sink,
            log,
            probe,
            _writer: writer,
        }
    };
    let before = build();
    let company = "company_12".parse().unwrap();
    before
        .manager
        .create_company(&ada(), company)
        .await
        .unwrap();
    let (sleeper, fresh) = (before.issue_for(100).await, before.issue_for(100).await);
    let uses = before.stack.track_uses().unwrap();
    assert_eq!(before.ask("/accounts", &sleeper).await, 200);
    uses.shutdown().await;
    clock.advance(40 * 1440 * MINUTE);

    let after = build();
    assert_eq!(after.stack.remember_uses(&*store).await.unwrap(), 1);
    assert_eq!(after.ask("/accounts", &fresh).await, 200);
    assert_eq!(after.ask("/accounts", &sleeper).await, 200);
    assert_eq!(after.ask("/accounts", &sleeper).await, 200);
    let signals = after.events("external_api.abuse.signal").await;
    assert_eq!(signals.len(), 1, "{signals:?}");
    assert_eq!(signals[0]["reason"], "sudden_use");
    assert_eq!(signals[0]["key_id"], sleeper.record.id.to_string());
}

#[tokio::test]
async fn contradictions_are_found_when_the_stack_is_built() {
    let (backend, _log) = MemoryBackend::new();
    let (sink, _writer) = AuditSink::builder(backend).spawn().unwrap();
    let clock = ManualClock::default();
    let base = || builder(&sink, Arc::default(), &clock);
    let monitor = AbuseMonitor::builder;
    let two = base()
        .abuse(monitor())
        .throttle(SourceThrottle::new())
        .build();
    assert_eq!(two.unwrap_err().subject(), "abuse monitor");
    let seen = Edge::default().with_observer(monitor().build().unwrap());
    let observed = base().edge(seen).abuse(monitor()).build();
    assert_eq!(observed.unwrap_err().subject(), "abuse monitor");
    let nobody = AbuseRule::new(0, MINUTE);
    let rules = AbuseRules::none().with(AbuseKind::Spike, nobody);
    let senseless = base().abuse(monitor().rules(rules)).build();
    assert_eq!(senseless.unwrap_err().subject(), "spike");
    let off = base().build().unwrap();
    assert!(off.abuse().is_none());
    let manager = KeyManager::builder(MemoryKeyStore::default())
        .build()
        .unwrap();
    assert!(off.suspend_abusers(manager).is_err());
}
