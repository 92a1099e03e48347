//! The connections to the file, and to the one that takes its place.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use countersign_core::StoreError;
use rusqlite::{Connection, OpenFlags};

use crate::error::{store_error, unavailable};
use crate::file::{FileId, close_to_others, make_if_absent};
use crate::migrate::{check_version, migrate};

/// The database at a path.
pub(crate) struct Database {
    path: PathBuf,
    /// To the file that stood there when it was last opened.
    connections: RwLock<Arc<Connections>>,
    /// Held by the one who opens it again.
    opening: Mutex<()>,
    /// Whether it was told that the file is gone.
    lost: AtomicBool,
}

/// The connections to one file.
pub(crate) struct Connections {
    file: FileId,
    /// The write-ahead log that goes with it.
    wal: Option<FileId>,
    pub(crate) writer: Mutex<Connection>,
    pub(crate) readers: [Mutex<Connection>; READERS],
}

impl Database {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        // Where it is now, whichever directory the process goes to afterwards.
        let path = std::path::absolute(path).map_err(unavailable)?;
        make_if_absent(&path)?;
        Ok(Self {
            connections: RwLock::new(Arc::new(Connections::open(&path)?)),
            path,
            opening: Mutex::new(()),
            lost: AtomicBool::new(false),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Works with a connection to the file that stands at the path, on a thread that may block.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        choose: impl FnOnce(&Connections) -> &Mutex<Connection> + Send + 'static,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = Arc::clone(self);
        blocking(move || {
            let connections = database.current()?;
            let done = work(&mut lock(choose(&connections)));
            // What a file says that is gone by now counts for nothing, and what it was told is lost.
            connections.file.check(&database.path)?;
            done
        })
        .await
    }

    /// A connection of its own to the file that stands at the path.
    pub(crate) fn connect_reader(&self) -> Result<(FileId, Connection), StoreError> {
        let file = self.current()?.file;
        connect_reader(&self.path).map(|reader| (file, reader))
    }

    fn current(&self) -> Result<Arc<Connections>, StoreError> {
        let known = self.known();
        match known.file.check(&self.path) {
            Ok(()) => {
                self.tell_of_return();
                Ok(known)
            }
            Err(lost) => {
                self.tell_of_loss();
                self.open_again(lost)
            }
        }
    }

    fn known(&self) -> Arc<Connections> {
        let known = self.connections.read();
        Arc::clone(&known.unwrap_or_else(PoisonError::into_inner))
    }

    /// One at a time: whoever else comes meanwhile is refused.
    fn open_again(&self, lost: StoreError) -> Result<Arc<Connections>, StoreError> {
        let _opening = match self.opening.try_lock() {
            Ok(opening) => opening,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(lost),
        };
        let known = self.known();
        if known.file.check(&self.path).is_ok() {
            // Another was faster.
            return Ok(known);
        }
        known.check_wal(&self.path)?;
        let opened = Arc::new(Connections::open(&self.path)?);
        let place = self.connections.write();
        *place.unwrap_or_else(PoisonError::into_inner) = Arc::clone(&opened);
        self.tell_of_return();
        Ok(opened)
    }

    fn tell_of_loss(&self) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            tracing::error!(
                target: "countersign",
                file = %self.path.display(),
                "the key store's file was removed, or another one put in its place: no key is found until \
                 the one that is there is opened"
            );
        }
    }

    fn tell_of_return(&self) {
        if self.lost.load(Ordering::Relaxed) && self.lost.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                target: "countersign",
                "the key store's file is open again: its keys are those that it has now"
            );
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Connections {
    fn open(path: &Path) -> Result<Self, StoreError> {
        // Asked first: where it is replaced meanwhile, the next check finds another.
        let file = FileId::of(path)?;
        check_version(&open_there(path)?)?;
        close_to_others(path)?;
        let mut writer = connect(path)?;
        migrate(&mut writer)?;
        let reader = || connect_reader(path).map(Mutex::new);
        let readers = [reader()?, reader()?, reader()?];
        Ok(Self {
            file,
            wal: wal_of(path),
            writer: Mutex::new(writer),
            readers,
        })
    }

    /// SQLite would write what the log of this file holds into the file that took its place.
    fn check_wal(&self, path: &Path) -> Result<(), StoreError> {
        if self.wal.is_none() || wal_of(path) != self.wal {
            return Ok(());
        }
        Err(unavailable(
            "the write-ahead log of the file that was there lies beside the one that is there now: \
             remove it, and the `-shm` file",
        ))
    }
}

fn wal_of(path: &Path) -> Option<FileId> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    FileId::of(wal.as_ref()).ok()
}

/// Runs `work` on tokio's threads for blocking work.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(unavailable)?
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that can't write.
fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(store_error)?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = open_there(path)?;
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

/// A store that was removed must not come back empty: no file is made.
fn open_there(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(store_error)
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

pub(crate) const READERS: usize = 3;
const BUSY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::error::Error;

    use countersign_core::StoreErrorKind;

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
