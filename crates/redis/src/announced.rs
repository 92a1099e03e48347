//! A key store that tells of its changes.

use std::sync::Arc;

use async_trait::async_trait;
use countersign_core::{
    CompanyId, KeyId, KeyPrefix, LifecycleEvent, StoreError, StoreErrorKind, Timestamp,
};
use countersign_key_verify::{
    Change, ChangeFeed, Changed, CompanyRecord, EventClaim, FoundKey, KeyRecord, KeyStore,
    UseStore, Write,
};

use crate::RedisChanges;

/// A key store of which each committed change is told to all processes. Made by
/// [`RedisChanges::announce`].
///
/// A change is told after it was committed, and the commit is done when it was told. Where the
/// server can't be reached, or takes nothing, the commit is done all the same, and the change is told
/// as soon as the server takes it, as long as this process lives. Until then this store's change feed
/// is broken, and its cache believes its entries for the fallback bound.
#[derive(Debug)]
pub struct Announced<S> {
    store: S,
    changes: RedisChanges,
}

impl<S: KeyStore> Announced<S> {
    pub(crate) const fn new(store: S, changes: RedisChanges) -> Self {
        Self { store, changes }
    }

    /// The store itself. What is committed there is not told.
    pub const fn store(&self) -> &S {
        &self.store
    }

    async fn announce(&self, changed: Vec<Changed>) {
        if let Err(error) = self.changes.tell(&changed).await {
            self.changes.tell_later(changed, &error);
        }
    }
}

#[async_trait]
impl<S: KeyStore> KeyStore for Announced<S> {
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
        let committed = self.store.commit(change).await;
        let unknown = |error: &StoreError| matches!(error.kind(), StoreErrorKind::Unavailable);
        // What may have been written is told of as well.
        if committed.as_ref().err().is_none_or(unknown) && !change.writes.is_empty() {
            self.announce(change.writes.iter().map(changed).collect())
                .await;
        }
        committed
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        self.store.pending_events(limit).await
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        self.store.acknowledge_events(events).await
    }

    async fn claim_events(&self) -> Result<Option<EventClaim>, StoreError> {
        self.store.claim_events().await
    }

    fn change_feed(&self) -> Option<Arc<dyn ChangeFeed>> {
        Some(Arc::new(self.changes.clone()))
    }

    fn uses(&self) -> Option<&dyn UseStore> {
        self.store.uses()
    }
}

fn changed(write: &Write) -> Changed {
    match write {
        Write::InsertKey(record) | Write::UpdateKey { record, .. } => Changed::Key(record.prefix),
        Write::InsertCompany(record) | Write::UpdateCompany { record, .. } => {
            Changed::Company(record.id)
        }
        _ => Changed::Everything,
    }
}
