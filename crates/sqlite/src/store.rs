//! The store.

use std::fmt;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use countersign_core::{CompanyId, KeyId, KeyPrefix, LifecycleEvent, StoreError, Timestamp};
use countersign_key_verify::{
    Change, ChangeFeed, CompanyRecord, EventClaim, FoundKey, HeldClaim, KeyRecord, KeyStore,
    KeyUse, UseStore,
};
use rusqlite::Connection;

use crate::connections::{Database, READERS, blocking};
use crate::error::unavailable;
use crate::feed::SqliteFeed;
use crate::file::private_file;
use crate::{read, uses, write};

/// Keys in a SQLite file. A clone is a handle to the same connections.
///
/// One connection writes and a few read; each verb runs on tokio's threads for blocking work, so
/// it must be awaited within a tokio runtime.
///
/// On Unix each verb looks whether the file that was opened still stands at its path. Where another
/// one does, a backup for example, that one is opened and asked from then on; where none does, or it
/// can't be opened, every verb is `Unavailable` until it can, and no new file is made.
#[derive(Clone)]
pub struct SqliteKeyStore(Arc<Inner>);

struct Inner {
    database: Arc<Database>,
    next: AtomicUsize,
}

impl SqliteKeyStore {
    /// Opens the file, or makes it, and brings its schema up to date. A relative path is one from the
    /// directory that the process is in now.
    ///
    /// # Errors
    /// `Unavailable` when the file can't be opened, `Corrupt` when it is not a database,
    /// or one of another program, `UnsupportedVersion` when a newer version of this crate wrote it.
    /// Such a file is left as it is. The error's source names it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let database = Database::open(path).map_err(|error| error.at("key store", path))?;
        Ok(Self(Arc::new(Inner {
            database: Arc::new(database),
            next: AtomicUsize::new(0),
        })))
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let next = self.0.next.fetch_add(1, Ordering::Relaxed) % READERS;
        let database = &self.0.database;
        database
            .run(move |connections| &connections.readers[next], query)
            .await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = &self.0.database;
        database.run(|connections| &connections.writer, work).await
    }
}

#[async_trait]
impl KeyStore for SqliteKeyStore {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        let prefix = *prefix;
        self.read(move |connection| read::find(connection, &prefix))
            .await
    }

    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.read(move |connection| read::get(connection, id)).await
    }

    async fn list(
        &self,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let company = *company;
        self.read(move |connection| read::list(connection, &company, after, limit))
            .await
    }

    async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        self.read(move |connection| read::due_keys(connection, now, limit))
            .await
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        let id = *id;
        self.read(move |connection| read::company(connection, &id))
            .await
    }

    async fn companies(
        &self,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        let after = after.copied();
        self.read(move |connection| read::companies(connection, after, limit))
            .await
    }

    async fn commit(&self, change: &Change) -> Result<(), StoreError> {
        let change = change.clone();
        self.write(move |connection| write::commit(connection, &change))
            .await
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        self.read(move |connection| read::pending_events(connection, limit))
            .await
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        let events = events.to_vec();
        self.write(move |connection| write::acknowledge(connection, &events))
            .await
    }

    /// A lock on a file beside the database: the system frees it when the process is gone.
    async fn claim_events(&self) -> Result<Option<EventClaim>, StoreError> {
        let mut path = self.0.database.path().to_owned().into_os_string();
        path.push("-outbox");
        blocking(move || {
            let file = private_file(path.as_ref())?;
            match file.try_lock() {
                Ok(()) => Ok(Some(EventClaim::held_by(OutboxLock(file)))),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(unavailable(error)),
            }
        })
        .await
    }

    fn change_feed(&self) -> Option<Arc<dyn ChangeFeed>> {
        Some(Arc::new(SqliteFeed::new(Arc::clone(&self.0.database))))
    }

    fn uses(&self) -> Option<&dyn UseStore> {
        Some(self)
    }
}

#[async_trait]
impl UseStore for SqliteKeyStore {
    async fn record_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        let uses = uses.to_vec();
        self.write(move |connection| uses::record(connection, &uses))
            .await
    }

    async fn last_uses(&self, keys: &[KeyId]) -> Result<Vec<KeyUse>, StoreError> {
        let keys = keys.to_vec();
        self.read(move |connection| uses::last(connection, &keys))
            .await
    }
}

/// Locked until this ends, whatever children are being started then: they have a copy of every open
/// file until they run their own programs.
struct OutboxLock(File);

impl Drop for OutboxLock {
    fn drop(&mut self) {
        // Where it can't be given back it goes with the last copy of the file.
        let _ = self.0.unlock();
    }
}

#[async_trait]
impl HeldClaim for OutboxLock {
    async fn is_held(&self) -> bool {
        true
    }
}

impl fmt::Debug for SqliteKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteKeyStore")
            .field("path", &self.0.database.path())
            .finish_non_exhaustive()
    }
}
