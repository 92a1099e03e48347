//! How a log is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Clock, StoreError, StoreErrorKind, SystemClock};

use super::anchor::CheckpointAnchor;
use super::disk::{Disk, beside};
use super::open;
use super::signer::CheckpointSigner;
use super::{FileLog, LogDamage};

/// How a [`FileLog`] is opened; see [`FileLog::options`].
#[derive(Debug, Clone)]
#[must_use]
pub struct FileLogOptions {
    pub(super) directory: PathBuf,
    pub(super) origin: Option<String>,
    pub(super) key: PathBuf,
    pub(super) signer: Option<Arc<dyn CheckpointSigner>>,
    pub(super) anchor: Option<Arc<dyn CheckpointAnchor>>,
    pub(super) anchor_interval: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) damage: LogDamage,
    pub(super) read_at_start: u64,
    pub(super) limits: Limits,
    pub(super) disk: Disk,
}

/// What an open log goes by.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) segment_bytes: u64,
    pub(super) segment_age: Option<Duration>,
    pub(super) keep_for: Option<Duration>,
    pub(super) keep_bytes: Option<u64>,
    pub(super) checkpoint_interval: Duration,
    pub(super) checkpoint_sync: Duration,
}

impl FileLogOptions {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            origin: None,
            key: beside(directory, ".key"),
            signer: None,
            anchor: None,
            anchor_interval: Duration::from_secs(60),
            clock: Arc::new(SystemClock),
            damage: LogDamage::Refuse,
            read_at_start: 1024 * 1024 * 1024,
            limits: Limits {
                segment_bytes: 64 * 1024 * 1024,
                segment_age: None,
                keep_for: None,
                keep_bytes: None,
                checkpoint_interval: Duration::from_millis(10),
                checkpoint_sync: Duration::from_secs(1),
            },
            disk: Disk::default(),
        }
    }

    /// The log's name: the first line of its checkpoints and the `log` of its lines. A URL without
    /// its scheme that nobody else uses, such as `example.com/payments/audit/node-1`; of several
    /// processes each has its own. Drawn at random for a new log unless set, and fixed from then
    /// on.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Where the signing key is: `<directory>.key` unless set. A key is drawn at the first start.
    /// Keep it away from whoever can write to the log's directory.
    pub fn signing_key(mut self, path: impl AsRef<Path>) -> Self {
        self.key = path.as_ref().to_owned();
        self
    }

    /// Asks `signer` for signatures, instead of a key in a file.
    pub fn signer(mut self, signer: impl CheckpointSigner) -> Self {
        self.signer = Some(Arc::new(signer));
        self
    }

    /// Brings a checkpoint to `anchor` each `interval` and when the log is closed. A log that is
    /// shorter than its newest anchor is not opened.
    pub fn anchor(mut self, anchor: impl CheckpointAnchor, interval: Duration) -> Self {
        self.anchor = Some(Arc::new(anchor));
        self.anchor_interval = interval;
        self
    }

    /// After how many bytes a new segment begins; 64 MiB unless set. A batch is never split.
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.limits.segment_bytes = bytes;
        self
    }

    /// After what time a new segment begins, with the next line; never unless set.
    pub const fn segment_age(mut self, age: Duration) -> Self {
        self.limits.segment_age = Some(age);
        self
    }

    /// Deletes the lines of finished segments that are older than this; never unless set. Their
    /// hashes stay, 32 bytes a line, so that every proof that could be made before can still be
    /// made. Looked after whenever a segment is finished: an `external_api.audit.removed` event tells
    /// of it, and the lines are deleted once that is in the log and signed. Whoever appends to the log
    /// without an [`AuditSink`](crate::AuditSink) must append its
    /// [notices](crate::AuditBackend::take_notices), or nothing is deleted.
    pub const fn keep_for(mut self, time: Duration) -> Self {
        self.limits.keep_for = Some(time);
        self
    }

    /// Deletes the lines of the oldest finished segments while all of them take more than this;
    /// never unless set. They go as with [`keep_for`](Self::keep_for).
    pub const fn keep_bytes(mut self, bytes: u64) -> Self {
        self.limits.keep_bytes = Some(bytes);
        self
    }

    /// Signs and stores a checkpoint after a batch when the last is at least as old as this, and
    /// whenever nothing is queued; 10 ms unless set, zero for every batch. Lines that no checkpoint
    /// covers yet are durable, and are signed at the next start after a crash; until then nothing
    /// would show that they were changed. A checkpoint for every batch costs a busy log more than
    /// half of its speed: the file system has two more files to make durable with the lines.
    pub const fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.limits.checkpoint_interval = interval;
        self
    }

    /// How long a checkpoint may stand in the page cache only; 1 s unless set, zero for never.
    /// A crash of the process loses none. A crash of the machine loses those of this time: their
    /// lines are on disk, and are signed anew at the next start.
    pub const fn checkpoint_sync(mut self, time: Duration) -> Self {
        self.limits.checkpoint_sync = time;
        self
    }

    /// How many bytes of the newest segments are read and checked at the start; 1 GiB unless set.
    /// Older ones are known by the hashes that were kept when they were finished; a change in one
    /// of them is found by verifying the log, not by opening it.
    pub const fn read_at_start(mut self, bytes: u64) -> Self {
        self.read_at_start = bytes;
        self
    }

    /// What to do with a log that is damaged below a checkpoint: it is not opened unless set.
    pub const fn on_damage(mut self, damage: LogDamage) -> Self {
        self.damage = damage;
        self
    }

    /// Dates checkpoints and measures ages by `clock`.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Opens the log; makes it where there is none. This blocks; call it while starting.
    ///
    /// # Errors
    /// As [`FileLog::open`].
    pub fn open(self) -> Result<FileLog, StoreError> {
        open::open(&self).map_err(|error| match error.kind() {
            // It names the file in the directory that is at fault.
            StoreErrorKind::Corrupt => error,
            _ => error.at("audit log", &self.directory),
        })
    }
}
