//! The layer and its cache: readiness, dropped futures, stores that hang, look-ups that race with
//! an eviction.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use countersign_core::testing::{NeverAnswers, ReadinessProbe};
use countersign_core::{
    AccessContext, Clock, CompanyId, Edge, Environment, KeyId, KeyPrefix, LifecycleEvent,
    ManualClock, Reason, ScopeSet, Standing, StoreError, Timestamp,
};
use countersign_key_verify::{
    Actor, Change, CompanyRecord, FoundKey, IssueRequest, IssuedKey, KeyManager, KeyRecord,
    KeyStore, KeyVerifier, KeyVerify, KeyVerifyLayer, MemoryKeyStore, RevocationReason,
};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt};

/// A memory store that lets look-ups pass one by one, and counts them.
#[derive(Debug)]
struct Gated {
    inner: MemoryKeyStore,
    asked: AtomicUsize,
    /// What was read before the gate; look-ups answer after it, as over a slow network.
    gate: Semaphore,
}

#[async_trait]
impl KeyStore for Gated {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.inner.find(prefix).await;
        self.gate.acquire().await.unwrap().forget();
        found
    }

    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.inner.get(id).await
    }

    async fn list(
        &self,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.inner.list(company, after, limit).await
    }

    async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        self.inner.due_keys(now, limit).await
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        self.inner.company(id).await
    }

    async fn companies(
        &self,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        self.inner.companies(after, limit).await
    }

    async fn commit(&self, change: &Change) -> Result<(), StoreError> {
        self.inner.commit(change).await
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        self.inner.pending_events(limit).await
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        self.inner.acknowledge_events(events).await
    }
}

struct World {
    store: Arc<Gated>,
    clock: ManualClock,
    verifier: KeyVerifier,
    manager: KeyManager,
    operator: Actor,
    issued: IssuedKey,
}

impl World {
    /// `open` look-ups pass without waiting.
    async fn new(open: usize) -> Self {
        let clock = ManualClock::default();
        let store = Arc::new(Gated {
            inner: MemoryKeyStore::default(),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(open),
        });
        let verifier = KeyVerifier::builder(Arc::clone(&store))
            .clock(clock.clone())
            .build()
            .unwrap();
        let manager = KeyManager::builder(Arc::clone(&store))
            .clock(clock.clone())
            .evict_from(verifier.cache().clone())
            .build()
            .unwrap();
        let operator = Actor::operator("ada").unwrap();
        let company = "company_12".parse().unwrap();
        manager.create_company(&operator, company).await.unwrap();
        let expiry = clock.now().wall.saturating_add(Duration::from_secs(86_400));
        let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
        let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
        let issued = manager
            .issue(&operator, request.activate_now(true))
            .await
            .unwrap();
        Self {
            store,
            clock,
            verifier,
            manager,
            operator,
            issued,
        }
    }

    fn layer(&self) -> KeyVerifyLayer {
        let edge = Edge::builder().clock(self.clock.clone()).build();
        KeyVerifyLayer::new(self.verifier.clone()).with_edge(edge)
    }

    fn request(&self) -> Request<Full<Bytes>> {
        Request::builder()
            .header("x-api-key", self.issued.key.expose().as_str())
            .body(Full::default())
            .unwrap()
    }

    async fn status(&self) -> u16 {
        let service = self.layer().layer(ReadinessProbe::default());
        let response = service.oneshot(self.request()).await.unwrap();
        response.status().as_u16()
    }

    fn asked(&self) -> usize {
        self.store.asked.load(Ordering::SeqCst)
    }

    /// Waits until the store was asked this often.
    async fn until_asked(&self, times: usize) {
        while self.asked() < times {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn the_ready_service_is_called_from_the_cache_and_from_the_store() {
    let world = World::new(1).await;
    let probe = ReadinessProbe::default();
    let mut service = world.layer().layer(probe.clone());
    for _ in 0..3 {
        let service = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service);
        let response = service.await.unwrap().call(world.request()).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(probe.calls(), 3);
    assert_eq!(world.asked(), 1, "the store is asked once");
}

#[tokio::test]
async fn a_caller_who_leaves_strands_nobody() {
    let world = World::new(0).await;
    let probe = ReadinessProbe::default();
    let service = world.layer().layer(probe.clone());
    let leaving = service.clone().oneshot(world.request());
    let staying = tokio::spawn(service.oneshot(world.request()));
    let leaving = tokio::time::timeout(Duration::from_millis(20), leaving).await;
    assert!(leaving.is_err(), "the store has not answered yet");
    world.until_asked(1).await;
    world.store.gate.add_permits(1);
    assert_eq!(staying.await.unwrap().unwrap().status(), 200);
    assert_eq!(world.asked(), 1, "both shared one look-up");
    assert_eq!(
        probe.calls(),
        1,
        "the handler ran for the caller who stayed"
    );
}

#[tokio::test]
async fn a_future_dropped_in_the_handler_leaves_the_layer_whole() {
    let world = World::new(1).await;
    let stuck = world.layer().layer(NeverAnswers).oneshot(world.request());
    assert!(
        tokio::time::timeout(Duration::from_millis(20), stuck)
            .await
            .is_err()
    );
    assert_eq!(world.status().await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_has_failed() {
    let world = World::new(0).await;
    assert_eq!(world.status().await, 503);
}

#[tokio::test]
async fn a_look_up_under_way_does_not_bring_a_revoked_key_back() {
    let world = World::new(0).await;
    let service = world.layer().layer(ReadinessProbe::default());
    let early = tokio::spawn(service.oneshot(world.request()));
    world.until_asked(1).await;
    // The look-up has read the active record; now the key is revoked, and then it answers.
    let (id, reason) = (world.issued.record.id, RevocationReason::SuspectedLeakage);
    world
        .manager
        .revoke(&world.operator, &world.issued.record.company, id, reason)
        .await
        .unwrap();
    world.store.gate.add_permits(10);
    let early = early.await.unwrap().unwrap();
    assert_eq!(early.status(), 200, "it began before the revocation");
    assert_eq!(world.status().await, 401, "and what it read was not kept");
}

#[tokio::test]
async fn suspending_a_company_forgets_every_key_of_it() {
    let world = World::new(10).await;
    assert_eq!(world.status().await, 200);
    let company = "company_12".parse().unwrap();
    let suspended = world
        .manager
        .suspend_company(&world.operator, company)
        .await;
    assert!(suspended.is_ok());
    assert_eq!(world.status().await, 401);
    let back = world
        .manager
        .reactivate_company(&world.operator, company)
        .await;
    assert!(back.is_ok());
    assert_eq!(world.status().await, 200);
}

#[tokio::test]
async fn a_verified_key_outlives_the_store_for_exactly_the_bound() {
    let world = World::new(1).await;
    assert_eq!(world.status().await, 200);
    world.store.inner.set_available(false);
    world.store.gate.add_permits(100);
    world.clock.advance(Duration::from_nanos(4_999_999_999));
    assert_eq!(world.status().await, 200);
    world.clock.advance(Duration::from_nanos(1));
    assert_eq!(world.status().await, 503);
    world.store.inner.set_available(true);
    assert_eq!(world.status().await, 200);
}

#[tokio::test]
async fn expiry_does_not_wait_for_the_cache() {
    let world = World::new(100).await;
    assert_eq!(world.status().await, 200);
    world.clock.set_wall(world.issued.record.expires_at);
    assert_eq!(world.status().await, 401);
}

#[tokio::test]
async fn made_up_prefixes_do_not_push_out_real_keys() {
    let world = World::new(1_000_000).await;
    let verifier = KeyVerifier::builder(Arc::clone(&world.store))
        .clock(world.clock.clone())
        .cached_keys(2)
        .cached_absent(8)
        .build()
        .unwrap();
    let edge = Edge::builder().clock(world.clock.clone()).build();
    let layer = KeyVerifyLayer::new(verifier.clone()).with_edge(edge);
    let service = layer.layer(ReadinessProbe::default());
    let known = service.clone().oneshot(world.request()).await.unwrap();
    assert_eq!(known.status(), 200);
    for _ in 0..100 {
        let unknown = countersign_key_verify::RawKey::generate("acme", Environment::Live).unwrap();
        let mut request = world.request();
        let value = unknown.expose().parse().unwrap();
        request.headers_mut().insert("x-api-key", value);
        let refused = service.clone().oneshot(request).await.unwrap();
        assert_eq!(refused.status(), 401);
    }
    let asked = world.asked();
    let known = service.oneshot(world.request()).await.unwrap();
    assert_eq!(known.status(), 200);
    assert_eq!(world.asked(), asked, "the real key is still in the cache");
    assert_eq!(verifier.cache().len(), 1);
}

#[tokio::test]
async fn debug_output_holds_no_secret() {
    let world = World::new(1).await;
    assert_eq!(world.status().await, 200);
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        world.verifier,
        world.layer(),
        world.issued,
        world.manager,
        world.store
    );
    let raw = world.issued.key.expose();
    assert!(
        !shown.contains(&raw[raw.len() - 49..]),
        "the raw key is shown"
    );
    let digest = world.issued.record.digest.encode();
    assert!(
        !shown.contains(digest.trim_start_matches("sha256:")),
        "the digest is shown"
    );
}

#[tokio::test]
async fn works_under_buffer_and_load_shed() {
    let world = World::new(10).await;
    let service = tower::ServiceBuilder::new()
        .load_shed()
        .buffer(8)
        .layer(world.layer())
        .service(tower::service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));
    let response = service.oneshot(world.request()).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn works_over_streaming_bodies() {
    type Stream = UnsyncBoxBody<Bytes, std::io::Error>;
    let world = World::new(10).await;
    let inner = tower::service_fn(async |_: Request<Stream>| {
        Ok::<_, Infallible>(Response::new(Stream::default()))
    });
    let service = world.layer().layer(inner);
    let (parts, _) = world.request().into_parts();
    let request = Request::from_parts(parts, Stream::default());
    let response = service.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let refused = service.oneshot(Request::new(Stream::default())).await;
    let refused = refused.unwrap();
    assert_eq!(refused.status(), 401);
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert!(!body.is_empty());
}

static_assertions::assert_impl_all!(KeyVerifier: Send, Sync, Clone);
static_assertions::assert_impl_all!(KeyVerifyLayer: Send, Sync, Clone);
static_assertions::assert_impl_all!(KeyVerify<ReadinessProbe>: Send, Sync, Clone);

/// A call that is under way is asked about as a new one would be.
#[tokio::test]
async fn the_standing_of_a_caller_is_that_of_its_key_now() {
    let world = World::new(100).await;
    let contexts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let handler = {
        let contexts = Arc::clone(&contexts);
        tower::service_fn(move |request: Request<Full<Bytes>>| {
            let context = AccessContext::of(&request).unwrap().clone();
            contexts.lock().unwrap().push(context);
            std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
        })
    };
    let service = world.layer().layer(handler);
    let call = |content_type: &'static str| {
        let mut request = world.request();
        let content_type = content_type.parse().unwrap();
        request.headers_mut().insert("content-type", content_type);
        service.clone().oneshot(request)
    };
    call("application/json").await.unwrap();
    call("application/grpc").await.unwrap();
    let contexts = contexts.lock().unwrap().clone();
    let [request, call] = &contexts[..] else {
        panic!("both are let in");
    };
    assert!(request.standing().is_none(), "a request is soon over");
    let standing = async || match call.standing().unwrap().check(call) {
        Standing::Good => None,
        Standing::Fallen(denial) => Some(denial.reason()),
        Standing::Ask(asking) => asking.await.err().map(|denial| denial.reason()),
    };
    assert_eq!(standing().await, None);
    // Past the bound somebody must be asked.
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(standing().await, None);
    let company = world.issued.record.company;
    let id = world.issued.record.id;
    let (manager, operator) = (&world.manager, &world.operator);
    manager.suspend(operator, &company, id).await.unwrap();
    assert_eq!(standing().await, Some(Reason::SuspendedApiKey));
    manager.reactivate(operator, &company, id).await.unwrap();
    assert_eq!(standing().await, None);
    world.store.inner.set_available(false);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(standing().await, Some(Reason::KeyStoreUnavailable));
    world.store.inner.set_available(true);
    let reason = RevocationReason::SuspectedLeakage;
    manager
        .revoke(operator, &company, id, reason)
        .await
        .unwrap();
    assert_eq!(standing().await, Some(Reason::RevokedApiKey));
}
