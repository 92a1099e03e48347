//! The store.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use countersign_core::{
    CompanyId, KeyId, KeyPrefix, LifecycleEvent, StoreError, StoreErrorKind, Timestamp,
};
use countersign_key_verify::{
    Change, ChangeFeed, CompanyRecord, EventClaim, FoundKey, HeldClaim, KeyRecord, KeyStore,
    KeyUse, UseStore,
};
use rusqlite::Connection;

use crate::error::{store_error, unavailable};
use crate::feed::SqliteFeed;
use crate::migrate::{check_version, migrate};
use crate::{read, uses, write};

/// Keys in a SQLite file. A clone is a handle to the same connections.
///
/// One connection writes and a few read; each verb runs on tokio's threads for blocking work, so
/// it must be awaited within a tokio runtime.
#[derive(Clone)]
pub struct SqliteKeyStore(Arc<Inner>);

struct Inner {
    path: PathBuf,
    writer: Arc<Mutex<Connection>>,
    readers: [Arc<Mutex<Connection>>; READERS],
    next: AtomicUsize,
}

impl SqliteKeyStore {
    /// Opens the file, or makes it, and brings its schema up to date.
    ///
    /// # Errors
    /// `Unavailable` when the file can't be opened, `Corrupt` when it is not a database,
    /// or one of another program, `UnsupportedVersion` when a newer version of this crate wrote it.
    /// Such a file is left as it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let file = open_or_make(path)?;
        check_version(&Connection::open(path).map_err(store_error)?)?;
        close_to_others(&file)?;
        let mut writer = connect(path)?;
        migrate(&mut writer)?;
        let reader = || connect_reader(path).map(|reader| Arc::new(Mutex::new(reader)));
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            writer: Arc::new(Mutex::new(writer)),
            readers: [reader()?, reader()?, reader()?],
            next: AtomicUsize::new(0),
        })))
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let next = self.0.next.fetch_add(1, Ordering::Relaxed) % READERS;
        run(&self.0.readers[next], query).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.0.writer, work).await
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
        let mut path = self.0.path.clone().into_os_string();
        path.push("-outbox");
        let claiming = tokio::task::spawn_blocking(move || {
            let file = private_file(path.as_ref())?;
            match file.try_lock() {
                Ok(()) => Ok(Some(EventClaim::held_by(OutboxLock(file)))),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(unavailable(error)),
            }
        });
        claiming.await.map_err(unavailable)?
    }

    fn change_feed(&self) -> Option<Arc<dyn ChangeFeed>> {
        Some(Arc::new(SqliteFeed(self.0.path.clone())))
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

/// Locked for as long as it is open.
struct OutboxLock(#[expect(dead_code, reason = "it is held, not used")] File);

impl HeldClaim for OutboxLock {
    fn is_held(&self) -> bool {
        true
    }
}

impl fmt::Debug for SqliteKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteKeyStore")
            .field("path", &self.0.path)
            .finish_non_exhaustive()
    }
}

pub(crate) async fn run<T: Send + 'static>(
    connection: &Arc<Mutex<Connection>>,
    work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let connection = Arc::clone(connection);
    let work = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(StoreError::with_source(StoreErrorKind::Unavailable, error)),
    }
}

/// A connection that can't write.
pub(crate) fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(store_error)?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path).map_err(store_error)?;
    connection.busy_timeout(BUSY).map_err(store_error)?;
    check_version(&connection)?;
    let set = |name, value: &str| {
        connection
            .pragma_update(None, name, value)
            .map_err(store_error)
    };
    use_wal(&connection)?;
    set("synchronous", "FULL")?;
    set("foreign_keys", "ON")?;
    Ok(connection)
}

/// SQLite answers with the mode that it is in, which is another one where it can't have this: on a
/// file system without shared memory, for example. Readers and the writer would then lock each
/// other out, and look-ups fail while keys are changed.
fn use_wal(connection: &Connection) -> Result<(), StoreError> {
    let mode = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
        .map_err(store_error)?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let problem = format!("its journal is of mode {mode}, and WAL can't be had where it lies");
    Err(unavailable(problem))
}

/// Opens or makes a file of this process's user alone. A file that was there and is open to others
/// is closed to them.
fn private_file(path: &Path) -> Result<File, StoreError> {
    let file = open_or_make(path)?;
    close_to_others(&file)?;
    Ok(file)
}

/// SQLite would make its file with the process's usual mode; its companions take over this one.
fn open_or_make(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(unavailable)
}

#[cfg_attr(not(unix), expect(unused_variables, reason = "modes are unix's"))]
fn close_to_others(file: &File) -> Result<(), StoreError> {
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .map_err(unavailable)?;
    Ok(())
}

const READERS: usize = 3;
const BUSY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn a_place_that_has_no_wal_is_refused() {
        let memory = Connection::open_in_memory().unwrap();
        let refused = use_wal(&memory).unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
        let cause = refused.source().unwrap().to_string();
        assert!(cause.contains("mode memory"), "{cause}");
    }
}
