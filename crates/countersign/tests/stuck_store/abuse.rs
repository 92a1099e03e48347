//! Keys that a rule against abuse names are suspended all the same.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign::{
    AbuseKind, AbuseMonitor, AbuseReaction, AbuseRule, AbuseRules, Actor, AuditSink, AuditWriter,
    Clock, Contract, Countersign, Dimension, Endpoint, Environment, IssueRequest, IssuedKey,
    KeyManager, KeyStatus, KeyStore, MemoryBackend, PeerAddr, Policies, Policy, Quota, ScopeSet,
    SystemClock,
};
use countersign_core::testing::ReadinessProbe;
use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt};

use crate::flawed::{Flawed, Question, Way};

/// A stack that suspends a key at the first scope it asks for in vain.
fn stack(store: &Arc<Flawed>) -> (Countersign, AuditWriter) {
    let (backend, _) = MemoryBackend::new();
    let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
    let rule = AbuseRule::new(1, Duration::from_secs(60)).react(AbuseReaction::Suspend);
    let rules = AbuseRules::none().with(AbuseKind::ScopeDenials, rule);
    let endpoint = Endpoint::get("/payments").scope("payments:read".parse().unwrap());
    let quota = Quota::per_second(100, 100).unwrap();
    let stack = Countersign::builder()
        .contract(Contract::builder().endpoint(endpoint).build().unwrap())
        .key_store(Arc::clone(store))
        .limits(Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap())
        .audit(sink)
        .abuse(AbuseMonitor::builder().rules(rules));
    (stack.build().unwrap(), writer)
}

async fn issue(manager: &KeyManager) -> IssuedKey {
    let ada = Actor::operator("ada").unwrap();
    let company = "company_12".parse().unwrap();
    // It is there when a second key is issued.
    let _ = manager.create_company(&ada, company).await;
    let expiry = SystemClock.now().wall;
    let expiry = expiry.saturating_add(Duration::from_secs(3600));
    let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
    let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
    let issued = manager.issue(&ada, request.activate_now(true)).await;
    issued.unwrap()
}

async fn misuse(stack: &Countersign, key: &IssuedKey) {
    let request = Request::get("/payments")
        .header("host", "api.example.com")
        .header("x-api-key", key.key.expose().as_str())
        .extension(PeerAddr("192.0.2.7:4711".parse().unwrap()))
        .body(Full::<Bytes>::default())
        .unwrap();
    let service = stack.layer(ReadinessProbe::default());
    let answer = service.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 403);
}

async fn both_are_suspended(way: Way) {
    let store = Flawed::new(Question::Get, way, 1);
    let manager = KeyManager::builder(Arc::clone(&store)).build().unwrap();
    let (stack, _writer) = stack(&store);
    let keys = [issue(&manager).await, issue(&manager).await];
    let suspender = stack.suspend_abusers(manager).unwrap();
    for key in &keys {
        misuse(&stack, key).await;
    }
    suspender.shutdown().await;
    for key in keys {
        let stored = store.inner.get(key.record.id).await.unwrap().unwrap();
        assert_eq!(stored.status, KeyStatus::Suspended, "{way:?}");
    }
}

#[tokio::test]
async fn a_store_that_fails_once_keeps_no_key_from_being_suspended() {
    tokio::join!(
        both_are_suspended(Way::Panics),
        both_are_suspended(Way::Hangs)
    );
}

/// Longer than a shutdown waits, so that it is cut off.
#[tokio::test]
async fn a_shutdown_ends_beside_a_store_that_never_answers() {
    let store = Flawed::new(Question::Get, Way::Hangs, u32::MAX);
    let manager = KeyManager::builder(Arc::clone(&store)).build().unwrap();
    let (stack, _writer) = stack(&store);
    let key = issue(&manager).await;
    let suspender = stack.suspend_abusers(manager).unwrap();
    misuse(&stack, &key).await;
    let ended = tokio::time::timeout(Duration::from_secs(15), suspender.shutdown()).await;
    assert!(ended.is_ok());
}
