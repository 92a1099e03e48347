//! The tamper-evident log in a directory: RFC 6962's tree over the lines of segments, with
//! checkpoints as C2SP signed notes.

mod anchor;
mod checkpoints;
mod current;
mod disk;
#[cfg(test)]
mod faults;
mod held;
mod history;
mod lines;
mod note;
mod open;
mod options;
mod prove;
mod reads;
mod remote;
mod retention;
mod scan;
mod sealed;
mod ship;
mod signer;
mod store;
mod tree;
pub(crate) mod verify;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use async_trait::async_trait;
use countersign_core::{Clock, Moment, StoreError, StoreErrorKind};
use tokio::task::spawn_blocking;

use self::history::FileHistory;
use self::store::Store;
use self::tree::leaf_hash;
use crate::{AuditBackend, EventHistory, Notice, Record, Recovery};

pub use self::anchor::{CheckpointAnchor, FileAnchor};
pub use self::options::FileLogOptions;
pub use self::prove::{EventProof, prove_event};
pub use self::reads::record_read;
pub use self::remote::LogTree;
pub use self::ship::{EventBroker, LogShipper, ShippedEvent};
pub use self::signer::{CheckpointSigner, FileSigner};

/// A tamper-evident audit log in a directory.
///
/// Every line is a leaf of the Merkle tree of RFC 6962 §2.1. After each batch, or each 10 ms while
/// there is always another, the tree's size and root are signed as a checkpoint (C2SP tlog-checkpoint v1, a signed note), so that anybody with
/// the verifier key can tell offline that nothing was changed, removed or reordered, and one event
/// can be proved without showing another.
///
/// ```text
/// <directory>/
///   vkey                    the verifier key, one line
///   segments/<first index, 20 digits>.jsonl     one event a line
///   segments/<first index>.hashes     the hashes of lines that were deleted when their time was over
///   segments/<first index>.jsonl.torn what a crash left of a last line
///   checkpoint              the newest checkpoint
///   checkpoints.jsonl       every checkpoint
///   subtrees.jsonl          what finished segments hash to
///   reads/                  word of reads that is not in the log yet
///   lock                    held by the one process that writes
/// <directory>.key           the signing key, unless it is put elsewhere
/// ```
///
/// **Order of a batch.** Its lines are written, made durable and hashed, and the checkpoint that is
/// due is signed and stored; only then is anybody told.
///
/// **Failed writes.** After a failed `write` or `fdatasync` the file is never written again: the
/// page cache may show what the disk never got. The lines that were acknowledged are read again,
/// checked against their hashes and copied into a new file, and the batch comes after them.
///
/// **Opening.** What is signed is read and checked, up to a bound. Whole lines after the last
/// checkpoint are kept and signed: rather too much is told than too little. A last line that a
/// crash tore, and that no checkpoint covers, is moved to a file beside its segment. An
/// `external_api.audit.recovered` event tells of both. Anything else that is wrong makes opening fail, with the
/// place.
///
/// **Page cache.** On Linux, lines that are on disk and lie 8 MiB behind the end leave the page cache:
/// a log is written once and read seldom, and would push out what the service itself reads.
///
/// **Rotation.** A segment that is large or old enough is followed by a new one. Nothing else may
/// rotate these files.
///
/// **Other hands.** Before a batch is acknowledged, and before the log ends, it looks whether its segment
/// is still the file at its path and as long as it must be. One that was removed or moved away is put
/// back with all its lines. What somebody put in its place is never overwritten, unless it is empty or
/// holds the same lines: nothing is appended until it is moved away. Of a segment that was cut off
/// nothing more is acknowledged. A log whose `lock` or `segments` is gone or another's changes nothing at
/// its paths any more: another process may have begun a log there. (Not where the file system gives
/// files no lasting numbers, and not on Windows.)
///
/// Files are readable by their owner alone (mode 0600 in directories of mode 0700).
#[derive(Debug)]
pub struct FileLog {
    /// Absent while a write is under way, and for good after one that was abandoned or panicked.
    store: Option<Box<Store>>,
    origin: Arc<str>,
    history: Arc<FileHistory>,
    clock: Arc<dyn Clock>,
    buffer: Vec<u8>,
    /// The index after the last line that was acknowledged.
    next: u64,
    recovery: Option<Recovery>,
    notices: Vec<Notice>,
}

/// What to do with a log that is damaged where it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LogDamage {
    /// It is not opened.
    #[default]
    Refuse,
    /// Its files are moved to `damaged-1` (and so on) in its directory, and a new log begins under
    /// another origin, whose first event tells why. Set it for one start, after a look at the
    /// damage: whoever can damage a log could else make it begin anew.
    StartNewIncarnation,
}

impl FileLog {
    /// Opens the log in `directory` with the settings that [`FileLogOptions`] has by itself. The
    /// directory is made if it is not there, and with it a signing key. This blocks; call it while
    /// starting.
    ///
    /// # Errors
    /// `AlreadyExists` when another process writes this log, `Corrupt` when something is wrong with
    /// what is signed, or the log is shorter than its newest anchor, `Conflict` when the signing
    /// key or the origin is another log's, `NotFound` when the signing key is gone, `Unavailable`
    /// for all that the file system, the signer or the anchor refuses.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::options(directory).open()
    }

    /// The log in `directory`, to be opened with other settings.
    pub fn options(directory: impl AsRef<Path>) -> FileLogOptions {
        FileLogOptions::new(directory.as_ref())
    }

    fn new(mut store: Store, clock: Arc<dyn Clock>, recovery: Recovery) -> Self {
        Self {
            origin: store.origin(),
            history: Arc::new(FileHistory::of(store.directory.clone())),
            next: store.end(),
            notices: std::mem::take(&mut store.notices),
            store: Some(Box::new(store)),
            clock,
            buffer: Vec::new(),
            recovery: (recovery != Recovery::new(0)).then_some(recovery),
        }
    }

    /// Runs `work` on a thread that may block, beginning at once.
    fn with_store(
        &mut self,
        work: impl FnOnce(&mut Store, &[u8], Moment) -> Result<(), StoreError> + Send + 'static,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let started = self.store.take().map(|mut store| {
            let buffer = std::mem::take(&mut self.buffer);
            let now = self.clock.now();
            spawn_blocking(move || {
                let result = work(&mut store, &buffer, now);
                (store, buffer, result)
            })
        });
        async move {
            let done = started.ok_or_else(abandoned)?.await;
            let (mut store, buffer, result) = done.map_err(unavailable)?;
            self.notices.append(&mut store.notices);
            (self.store, self.buffer) = (Some(store), buffer);
            result
        }
    }

    fn fill_buffer(&mut self, batch: &[Record]) {
        self.buffer.clear();
        self.buffer.shrink_to(LARGEST_KEPT_BUFFER);
        for record in batch {
            self.buffer.extend_from_slice(record.line());
            self.buffer.push(b'\n');
        }
    }
}

#[async_trait]
impl AuditBackend for FileLog {
    fn next_seq(&self) -> u64 {
        self.next
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        self.recovery.take()
    }

    fn origin(&self) -> Option<Arc<str>> {
        Some(Arc::clone(&self.origin))
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn history(&self) -> Option<Arc<dyn EventHistory>> {
        Some(self.history.clone())
    }

    async fn append(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
            return Ok(());
        };
        let first = first.seq();
        if first != self.next {
            let cause = format!("record {first} where {} was expected", self.next);
            return Err(StoreError::with_source(StoreErrorKind::Conflict, cause));
        }
        let next = last.seq() + 1;
        self.fill_buffer(batch);
        let (leaves, hashed) = sync_channel(1);
        let appended = self.with_store(move |store, lines, now| {
            let leaves = || hashed.recv().map_err(unavailable);
            store.append(first, lines, leaves, now)
        });
        // Hashed here while the lines are written and synced on the other thread.
        let of = |record: &Record| leaf_hash(record.line());
        let _ = leaves.send(batch.iter().map(of).collect());
        appended.await?;
        self.next = next;
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), StoreError> {
        self.with_store(|store, _, now| store.settle(now)).await
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        self.with_store(|store, _, now| store.flush(now)).await
    }

    async fn health(&mut self) -> Result<(), StoreError> {
        self.with_store(|store, _, _| store.check()).await
    }
}

fn abandoned() -> StoreError {
    let cause = "a write was abandoned, so that nothing is known of the file";
    StoreError::with_source(StoreErrorKind::Unavailable, cause)
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, error)
}

/// Something is wrong at a place.
fn corrupt(path: &Path, what: &str) -> StoreError {
    let place = format!("{}: {what}", path.display());
    StoreError::with_source(StoreErrorKind::Corrupt, place)
}

/// A buffer that one large batch made is not kept for ever.
const LARGEST_KEPT_BUFFER: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests;
