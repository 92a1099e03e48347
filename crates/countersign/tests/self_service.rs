//! A company looks after its own keys and finds no others.
#![cfg(feature = "self-service")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use countersign::{
    Actor, ActorType, AuditSink, Clock, CompanyId, Contract, Countersign, Dimension, Edge,
    Environment, IssueRequest, IssuedKey, KeyManager, KeyStore, LifecycleKind, ManualClock,
    MemoryBackend, MemoryKeyStore, PeerAddr, Policies, Policy, Quota, ScopeSet, SelfService,
};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

const DAY: Duration = Duration::from_secs(86_400);
const MANAGE: &[&str] = &["tokens:manage", "accounts:read"];

struct World {
    clock: ManualClock,
    store: Arc<MemoryKeyStore>,
    manager: KeyManager,
    ada: Actor,
    routes: Router,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::default();
        let store = Arc::new(MemoryKeyStore::default());
        let ada = Actor::operator("ada").unwrap();
        let manager = KeyManager::builder(store.clone()).clock(clock.clone());
        let manager = manager.build().unwrap();
        for company in ["company_12", "company_34"] {
            let company = company.parse().unwrap();
            manager.create_company(&ada, company).await.unwrap();
        }
        let tokens = SelfService::new(manager.clone()).at("/v1/tokens").unwrap();
        let contract = Contract::builder().endpoints(tokens.endpoints());
        let quota = Quota::per_second(10_000, 10_000).unwrap();
        let (sink, _audit) = AuditSink::builder(MemoryBackend::new().0).spawn().unwrap();
        let stack = Countersign::builder()
            .contract(contract.build().unwrap())
            .key_store(store.clone())
            .limits(Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap())
            .audit(sink)
            .claim_query("company_id")
            .staleness_bound(Duration::ZERO)
            .edge(Edge::builder().clock(clock.clone()).build())
            .build()
            .unwrap();
        let routes = tokens.router().layer(stack);
        Self {
            clock,
            store,
            manager,
            ada,
            routes,
        }
    }

    async fn issue(&self, company: &str, environment: Environment, scopes: &[&str]) -> IssuedKey {
        let scopes = ScopeSet::from_names(scopes.iter().copied()).unwrap();
        let expiry = self.clock.now().wall.saturating_add(90 * DAY);
        let request = IssueRequest::new(company.parse().unwrap(), environment, scopes, expiry);
        let request = request.activate_now(true).label("ledger");
        self.manager.issue(&self.ada, request).await.unwrap()
    }

    async fn key(&self, scopes: &[&str]) -> IssuedKey {
        self.issue("company_12", Environment::Live, scopes).await
    }

    async fn send(&self, raw: &str, method: Method, path: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .extension(PeerAddr("192.0.2.7:4000".parse().unwrap()))
            .header("host", "api.example")
            .header("content-type", "application/json")
            .header("x-api-key", raw)
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap(),
        }
    }

    async fn get(&self, key: &IssuedKey, query: &str) -> Answer {
        let path = format!("/v1/tokens{query}");
        let raw = key.key.expose();
        self.send(&raw, Method::GET, &path, "").await
    }

    async fn post(&self, key: &IssuedKey, path: &str, body: &str) -> Answer {
        let raw = key.key.expose();
        let path = format!("/v1/tokens/{path}");
        self.send(&raw, Method::POST, &path, body).await
    }
}

fn ids(answer: &Answer) -> Vec<&str> {
    let keys = answer.body["data"].as_array().unwrap().iter();
    keys.map(|key| key["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_company_is_shown_its_own_keys_of_its_environment() {
    let world = World::new().await;
    let key = world.key(MANAGE).await;
    world.clock.advance(DAY);
    let other = world.key(&["payments:create"]).await;
    world.issue("company_34", Environment::Live, MANAGE).await;
    world.issue("company_12", Environment::Test, MANAGE).await;
    let listed = world.get(&key, "").await;
    assert_eq!(listed.status, 200);
    assert_eq!(
        ids(&listed),
        [key.record.id.to_string(), other.record.id.to_string()]
    );
    assert_eq!(listed.headers["cache-control"], "no-store");
    assert!(listed.body.get("next").is_none());
    let first = &listed.body["data"][0];
    assert_eq!(
        (&first["label"], &first["status"]),
        (&json!("ledger"), &json!("active"))
    );
    let text = listed.body.to_string();
    let raw = key.key.expose();
    assert!(
        !text.contains(raw.rsplit_once('_').unwrap().1) && !text.contains("digest"),
        "{text}"
    );
}

#[tokio::test]
async fn many_keys_come_in_pages() {
    let world = World::new().await;
    let key = world.key(MANAGE).await;
    for n in 0..149 {
        let environment = [Environment::Live, Environment::Test][n % 2];
        world.issue("company_12", environment, MANAGE).await;
        world.clock.advance(Duration::from_millis(1));
    }
    for _ in 0..50 {
        world.key(MANAGE).await;
    }
    let first = world.get(&key, "").await;
    assert_eq!(ids(&first).len(), 100);
    let next = first.body["next"].as_str().unwrap();
    let second = world.get(&key, &format!("?after={next}")).await;
    assert_eq!(ids(&second).len(), 26);
    assert!(second.body.get("next").is_none());
    assert!(ids(&second).iter().all(|id| !ids(&first).contains(id)));
    assert_eq!(world.get(&key, "?after=everything").await.status, 422);
    assert_eq!(world.get(&key, "?after=a&after=b").await.status, 400);
}

#[tokio::test]
async fn a_rotation_hands_out_a_key_once() {
    let world = World::new().await;
    let key = world.key(MANAGE).await;
    let path = format!("{}/rotate", key.record.id);
    let rotated = world.post(&key, &path, r#"{"overlapSeconds": 60}"#).await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    assert_eq!(rotated.headers["cache-control"], "no-store");
    let data = &rotated.body["data"];
    assert_eq!(data["replaces"], key.record.id.to_string());
    assert_eq!(
        data["expiresAt"],
        json!(key.record.expires_at),
        "no more time"
    );
    let raw = data["key"].as_str().unwrap();
    let new = world.send(raw, Method::GET, "/v1/tokens", "").await;
    assert_eq!(new.status, 200);
    // Both were made in one millisecond, so either may come first.
    let mut listed = new.body["data"].as_array().unwrap().iter();
    let old = listed.find(|it| it["id"] == data["replaces"]).unwrap();
    assert_eq!(old["replacedBy"], data["id"]);
    assert!(old["acceptedUntil"].is_string());
    assert!(!new.body.to_string().contains(raw));
    assert_eq!(world.get(&key, "").await.status, 200, "within the overlap");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.get(&key, "").await.status, 401);

    let events = world.store.pending_events(1000).await.unwrap();
    let told: Vec<_> = events.iter().rev().take(4).collect();
    assert!(
        told.iter()
            .any(|event| event.kind == LifecycleKind::TokenRotated)
    );
    for event in told {
        assert_eq!(event.actor_type, ActorType::ApiKey);
        assert_eq!(event.actor, key.record.prefix.to_string());
    }
}

#[tokio::test]
async fn nobody_rotates_a_key_into_more_than_they_have() {
    let world = World::new().await;
    let manager = world.key(&["tokens:manage"]).await;
    let payer = world.key(&["payments:create"]).await;
    let path = format!("{}/rotate", payer.record.id);
    let refused = world.post(&manager, &path, "").await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.body["error"], "insufficient_scope");
    assert_eq!(refused.body["details"]["requiredScope"], "payments:create");
    let stored = world.store.get(payer.record.id).await.unwrap().unwrap();
    assert_eq!(stored, payer.record);
    let path = format!("{}/revoke", payer.record.id);
    let ended = world.post(&manager, &path, "").await;
    assert_eq!(ended.status, 200, "to end a key gives nobody anything");
}

/// What an operator bound a key by, its holder does not lose by rotating another one.
#[tokio::test]
async fn nobody_rotates_a_key_out_of_the_networks_that_bind_their_own() {
    let world = World::new().await;
    let (manager, free) = (world.key(MANAGE).await, world.key(MANAGE).await);
    let (company, id) = (manager.record.company, manager.record.id);
    let networks = vec!["192.0.2.0/24".parse().unwrap()];
    let bound = world
        .manager
        .set_networks(&world.ada, &company, id, networks);
    bound.await.unwrap();
    let path = format!("{}/rotate", free.record.id);
    let refused = world.post(&manager, &path, "").await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert_eq!(refused.body["error"], "insufficient_scope");
    assert!(refused.body.get("details").is_none(), "{}", refused.body);
    let stored = world.store.get(free.record.id).await.unwrap().unwrap();
    assert_eq!(stored, free.record);
    let own = format!("{id}/rotate");
    assert_eq!(world.post(&manager, &own, "").await.status, 200);
}

#[tokio::test]
async fn a_revocation_takes_effect_at_once_and_once() {
    let world = World::new().await;
    let (key, gone) = (world.key(MANAGE).await, world.key(MANAGE).await);
    let path = format!("{}/revoke", gone.record.id);
    for bad in [r#"{"reason": "because"}"#, r#"{"why": "company_request"}"#] {
        assert_eq!(world.post(&key, &path, bad).await.status, 422, "{bad}");
    }
    for bad in ["{", "[1]"] {
        assert_eq!(world.post(&key, &path, bad).await.status, 400, "{bad}");
    }
    assert_eq!(world.get(&gone, "").await.status, 200);
    let events = world.store.pending_events(1000).await.unwrap().len();
    let body = r#"{"reason": "suspected_leakage"}"#;
    for _ in 0..2 {
        let revoked = world.post(&key, &path, body).await;
        assert_eq!(revoked.status, 200);
        assert_eq!(revoked.body["data"]["status"], "revoked");
        assert_eq!(world.get(&gone, "").await.status, 401);
    }
    let told = world.store.pending_events(1000).await.unwrap();
    assert_eq!(told.len(), events + 1, "once");
    assert_eq!(
        told.last().unwrap().reason.as_deref(),
        Some("suspected_leakage")
    );
    let own = format!("{}/revoke", key.record.id);
    assert_eq!(world.post(&key, &own, "").await.status, 200);
    assert_eq!(world.get(&key, "").await.status, 401);
}

/// Everything of an answer but what differs from request to request.
fn shape(mut answer: Answer) -> (u16, HeaderMap, Value) {
    assert!(answer.headers.remove("x-request-id").is_some());
    for field in ["ratelimit", "date"] {
        answer.headers.remove(field);
    }
    let body = answer.body.as_object_mut().unwrap();
    assert!(body.remove("requestId").is_some());
    (answer.status, answer.headers, answer.body)
}

#[tokio::test]
async fn another_company_s_key_is_like_one_that_never_was() {
    let world = World::new().await;
    let key = world.key(MANAGE).await;
    let foreign = world.issue("company_34", Environment::Live, MANAGE).await;
    let sandbox = world.issue("company_12", Environment::Test, MANAGE).await;
    let reason = countersign::RevocationReason::CompanyRequest;
    let ended = world.issue("company_34", Environment::Live, MANAGE).await;
    let (company, id) = (ended.record.company, ended.record.id);
    let ended = world.manager.revoke(&world.ada, &company, id, reason).await;
    let unknown = "key_00000000000000000000000000";
    for verb in ["rotate", "revoke"] {
        for body in [
            "",
            "{}",
            "{",
            r#"{"overlapSeconds": 99999999}"#,
            r#"{"reason": "because"}"#,
        ] {
            let expected = world.post(&key, &format!("{unknown}/{verb}"), body).await;
            let expected = shape(expected);
            assert_eq!(expected.0, 404, "{verb} {body}");
            for id in [
                foreign.record.id.to_string(),
                sandbox.record.id.to_string(),
                ended.as_ref().unwrap().id.to_string(),
                "no-id".to_owned(),
            ] {
                let seen = world.post(&key, &format!("{id}/{verb}"), body).await;
                assert_eq!(shape(seen), expected, "{verb} {id} {body}");
            }
        }
    }
    for kept in [foreign.record, sandbox.record] {
        assert_eq!(world.store.get(kept.id).await.unwrap(), Some(kept));
    }
}

#[tokio::test]
async fn a_grant_of_a_subsidiary_s_data_is_no_grant_of_its_keys() {
    let world = World::new().await;
    let parent = world.key(MANAGE).await;
    let child: CompanyId = "company_34".parse().unwrap();
    let (company, id) = (parent.record.company, parent.record.id);
    let granted = world
        .manager
        .set_subsidiaries(&world.ada, &company, id, vec![child]);
    granted.await.unwrap();
    let theirs = world.issue("company_34", Environment::Live, MANAGE).await;
    let listed = world.get(&parent, "?company_id=company_34").await;
    assert_eq!(listed.status, 403);
    assert_eq!(listed.body["error"], "company_boundary_violation");
    let path = format!("{}/revoke?company_id=company_34", theirs.record.id);
    assert_eq!(world.post(&parent, &path, "").await.status, 403);
    assert_eq!(world.get(&theirs, "").await.status, 200);
    assert_eq!(
        world.get(&parent, "?company_id=company_12").await.status,
        200
    );
}

#[tokio::test]
async fn without_the_scope_the_store_or_the_stack_nothing_happens() {
    let world = World::new().await;
    let plain = world.key(&["accounts:read"]).await;
    let refused = world.get(&plain, "").await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.body["details"]["requiredScope"], "tokens:manage");

    let bare: Router = SelfService::new(world.manager.clone()).router();
    let request = Request::get("/tokens").body(Body::empty()).unwrap();
    assert_eq!(bare.oneshot(request).await.unwrap().status(), 500);

    world.store.set_available(false);
    assert_eq!(world.get(&plain, "").await.status, 503);
}

#[test]
fn a_path_that_can_t_be_served_is_refused() {
    let tokens = SelfService::new(
        KeyManager::builder(MemoryKeyStore::default())
            .build()
            .unwrap(),
    );
    for bad in [
        "",
        "/",
        "tokens",
        "/tokens/",
        "/{company}/tokens",
        "/{*rest}",
    ] {
        assert!(tokens.clone().at(bad).is_err(), "{bad}");
    }
}
