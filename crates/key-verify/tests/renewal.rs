//! A store that hangs once while a digest is renewed does not keep that key's digest for good.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use countersign_core::{CompanyId, KeyId, KeyPrefix, LifecycleEvent, StoreError, Timestamp};
use countersign_key_verify::{
    Change, CompanyRecord, Digester, FoundKey, KeyManager, KeyRecord, KeyStore, KeyVerifier,
    KeyVerifyLayer, MemoryKeyStore, PepperId,
};
use support::{World, with_key};

/// Hangs when it is asked for a key by its id, once.
#[derive(Debug)]
struct HangsOnce(Arc<MemoryKeyStore>, AtomicBool);

#[async_trait]
impl KeyStore for HangsOnce {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        self.0.find(prefix).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        if self.1.swap(false, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
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
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_once_does_not_keep_an_old_digest_for_good() {
    let world = World::new().await;
    let old = (PepperId(1), &b"an older pepper, long enough"[..]);
    let new = (PepperId(2), &b"a newer pepper, long enough"[..]);
    let manager = KeyManager::builder(world.store.clone())
        .clock(world.clock.clone())
        .digester(Digester::with_peppers(old, []).unwrap());
    let draft = world.draft(countersign_core::Environment::Live);
    let issuing = manager.build().unwrap();
    let issued = issuing.issue(&world.operator, draft).await.unwrap();
    let digester = Digester::with_peppers(new, [old]).unwrap();
    let store = HangsOnce(world.store.clone(), AtomicBool::new(true));
    let verifier = KeyVerifier::builder(store)
        .clock(world.clock.clone())
        .digester(digester.clone())
        .redigest_on_use();
    let layer = KeyVerifyLayer::new(verifier.build().unwrap()).with_edge(world.edge());
    let renewed = async || {
        assert!(world.send(&layer, with_key(&issued)).await.passed);
        // Longer than the store may take, and than the pause after a failure.
        tokio::time::sleep(Duration::from_secs(70)).await;
        let stored = world.store.get(issued.record.id).await.unwrap().unwrap();
        digester.is_current(&stored.digest)
    };
    assert!(!renewed().await, "the store hung");
    assert!(renewed().await, "and was asked again");
}
