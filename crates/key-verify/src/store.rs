//! The store that an application brings.

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use countersign_core::{CompanyId, KeyId, KeyPrefix, LifecycleEvent, StoreError, Timestamp};

use crate::feed::ChangeFeed;
use crate::record::{CompanyRecord, CompanyStatus, KeyRecord};
use crate::uses::UseStore;

/// Where keys are kept. Ours are in memory (tests), SQLite (embedded) and whatever you write:
/// run the `conformance` suite against it.
///
/// Reading is off the hot path: verified keys are answered from a cache. Writing is one verb,
/// [`KeyStore::commit`], so that a change and its audit event are stored together or not at all.
/// Records are never deleted: a key at its end is evidence.
#[async_trait]
pub trait KeyStore: Debug + Send + Sync + 'static {
    /// The key with this prefix and the standing of its company, read at one point in time.
    ///
    /// # Errors
    /// When the store can't be asked; the request is then refused with 503.
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError>;

    /// The key with this id.
    ///
    /// # Errors
    /// When the store can't be asked.
    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// A company's keys by ascending id: those after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the store can't be asked.
    async fn list(
        &self,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError>;

    /// The keys of all companies that are due at `now`, those whose [`KeyRecord::due_at`] is `now` or
    /// before it: the longest due first, at most `limit`. It is asked every few seconds, of a store
    /// of any size: give it an index.
    ///
    /// # Errors
    /// When the store can't be asked.
    async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<KeyRecord>, StoreError>;

    /// The company with this id.
    ///
    /// # Errors
    /// When the store can't be asked.
    async fn company(&self, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError>;

    /// Companies by ascending id: those after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the store can't be asked.
    async fn companies(
        &self,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError>;

    /// Makes all writes of `change` and stores its events, or does nothing. Concurrent commits are
    /// as if one came after the other.
    ///
    /// # Errors
    /// `AlreadyExists` when an inserted id or prefix exists, `Conflict` when an updated record has
    /// another version than expected, `NotFound` when it, or an inserted key's company, does not
    /// exist; nothing was written then.
    /// `Unavailable` when it is not known whether anything was written.
    async fn commit(&self, change: &Change) -> Result<(), StoreError>;

    /// The oldest events that were not acknowledged yet, in the order of their commits.
    ///
    /// # Errors
    /// When the store can't be asked.
    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError>;

    /// Forgets these events: they are in the audit log now. Unknown events are passed over.
    ///
    /// # Errors
    /// When the store can't be asked; the events are then delivered again, with the same ids.
    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError>;

    /// The right to bring events into an audit log, or `None` while another process has it. A store
    /// that several processes share must give it to one at a time, and must free it when that
    /// process dies; otherwise an event is written twice. Its holder asks again and again whether
    /// it is held still ([`HeldClaim::is_held`]). A store that one process has for itself
    /// keeps the default, which always gives it.
    ///
    /// # Errors
    /// When the store can't be asked.
    async fn claim_events(&self) -> Result<Option<EventClaim>, StoreError> {
        Ok(Some(EventClaim::sole()))
    }

    /// Tells of changes that other processes make. Without one, which is the default, a change made
    /// elsewhere takes effect within the staleness bound.
    fn change_feed(&self) -> Option<Arc<dyn ChangeFeed>> {
        None
    }

    /// Where it is kept when and for what keys were used. Without one, which is the default, nobody
    /// can ask for that, and [`KeyVerifier::track_uses`](crate::KeyVerifier::track_uses) is refused.
    fn uses(&self) -> Option<&dyn UseStore> {
        None
    }
}

/// The right to bring events into an audit log; it is given back when this is dropped.
pub struct EventClaim(Option<Box<dyn HeldClaim>>);

/// What keeps others from an [`EventClaim`]: a lock in the store, freed when it is dropped.
#[async_trait]
pub trait HeldClaim: Send + Sync + 'static {
    /// Whether the lock is still this process's. Asked four times a second, and between batches.
    /// Where a connection holds the lock, ask the server on it: one that looks open may have
    /// ended on the server's side long ago, and another process may have the lock. `false` too
    /// where no answer comes within a few seconds.
    async fn is_held(&self) -> bool;
}

impl EventClaim {
    /// The claim of the only process that there is.
    #[must_use]
    pub const fn sole() -> Self {
        Self(None)
    }

    /// A claim that lasts as long as `lock`.
    pub fn held_by(lock: impl HeldClaim) -> Self {
        Self(Some(Box::new(lock)))
    }

    #[cfg(feature = "conformance")]
    pub(crate) const fn is_sole(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it is still this process that may bring events over, as the store says now. One that
    /// is not held is not held again: drop it, and ask for another.
    pub async fn is_held(&self) -> bool {
        match &self.0 {
            Some(lock) => lock.is_held().await,
            None => true,
        }
    }
}

impl fmt::Debug for EventClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventClaim")
            .field("shared", &self.0.is_some())
            .finish()
    }
}

/// A key and the standing of the company that owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundKey {
    /// The key.
    pub record: KeyRecord,
    /// Whether its company may use it.
    pub company: CompanyStatus,
}

/// Writes that belong together, and the events that tell of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// What is written.
    pub writes: Vec<Write>,
    /// What the audit log will be told.
    pub events: Vec<LifecycleEvent>,
}

/// One write of a [`Change`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// Stores a new key; neither its id nor its prefix may exist.
    InsertKey(KeyRecord),
    /// Replaces the key of this id where its stored version is `expected`.
    UpdateKey {
        /// The record as it shall be, its version already counted up.
        record: KeyRecord,
        /// The version that it replaces.
        expected: u64,
    },
    /// Stores a new company; its id may not exist.
    InsertCompany(CompanyRecord),
    /// Replaces the company of this id where its stored version is `expected`.
    UpdateCompany {
        /// The record as it shall be, its version already counted up.
        record: CompanyRecord,
        /// The version that it replaces.
        expected: u64,
    },
}

#[async_trait]
impl<S: KeyStore + ?Sized> KeyStore for Arc<S> {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        (**self).find(prefix).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        (**self).get(id).await
    }

    async fn list(
        &self,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        (**self).list(company, after, limit).await
    }

    async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        (**self).due_keys(now, limit).await
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        (**self).company(id).await
    }

    async fn companies(
        &self,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        (**self).companies(after, limit).await
    }

    async fn commit(&self, change: &Change) -> Result<(), StoreError> {
        (**self).commit(change).await
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        (**self).pending_events(limit).await
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        (**self).acknowledge_events(events).await
    }

    async fn claim_events(&self) -> Result<Option<EventClaim>, StoreError> {
        (**self).claim_events().await
    }

    fn change_feed(&self) -> Option<Arc<dyn ChangeFeed>> {
        (**self).change_feed()
    }

    fn uses(&self) -> Option<&dyn UseStore> {
        (**self).uses()
    }
}
