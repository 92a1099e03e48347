//! The in-memory store passes the suite, and a store that ignores versions does not.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use async_trait::async_trait;
use countersign_core::{CompanyId, KeyId, KeyPrefix, LifecycleEvent, StoreError, Timestamp};
use countersign_key_verify::{
    Change, CompanyRecord, FoundKey, KeyRecord, KeyStore, MemoryKeyStore, Write, conformance,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_store_conforms() {
    conformance::run(async || MemoryKeyStore::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "another version")]
async fn the_suite_finds_a_store_that_ignores_versions() {
    conformance::run(async || LastWriteWins(MemoryKeyStore::default())).await;
}

/// A store that writes whatever version it is told to expect.
#[derive(Debug)]
struct LastWriteWins(MemoryKeyStore);

#[async_trait]
impl KeyStore for LastWriteWins {
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
        let mut change = change.clone();
        for write in &mut change.writes {
            if let Write::UpdateKey { record, expected } = write
                && let Some(stored) = self.0.get(record.id).await?
            {
                *expected = stored.version;
            }
        }
        self.0.commit(&change).await
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        self.0.pending_events(limit).await
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        self.0.acknowledge_events(events).await
    }
}
