//! Checkpoints kept where the log's owner can't reach them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io};

use countersign_core::{Monotonic, StoreError};

use super::disk::Disk;
use super::unavailable;

/// Keeps checkpoints of a log where whoever can rewrite the log can't: in object storage with a
/// lock, in another team's database, with a witness. A log that is shorter than its newest anchor,
/// or another one, is not opened.
///
/// Both functions are called on a thread that may block, one call at a time.
pub trait CheckpointAnchor: fmt::Debug + Send + Sync + 'static {
    /// The newest checkpoint that was put here, as the signed note that it is; `None` before the
    /// first. Asked when the log is opened, which fails when this does.
    ///
    /// # Errors
    /// When that can't be said.
    fn newest(&self) -> Result<Option<String>, StoreError>;

    /// Keeps `note`, for good. Checkpoints come in order, not each of them does.
    ///
    /// # Errors
    /// When it can't be kept now. The log goes on, says so in one log line, and brings its newest
    /// checkpoint when the next is due.
    fn put(&self, note: &str) -> Result<(), StoreError>;
}

/// The simplest [`CheckpointAnchor`]: a file, on a file system that the log's owner can only add
/// to, or that is copied away. It holds one note, replaced as a whole.
#[derive(Debug)]
pub struct FileAnchor(PathBuf);

impl FileAnchor {
    /// Keeps the newest checkpoint in the file at `path`.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self(path.as_ref().to_owned())
    }
}

impl CheckpointAnchor for FileAnchor {
    fn newest(&self) -> Result<Option<String>, StoreError> {
        match fs::read_to_string(&self.0) {
            Ok(note) => Ok(Some(note)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    fn put(&self, note: &str) -> Result<(), StoreError> {
        let replaced = Disk::default().replace(&self.0, note.as_bytes(), true);
        replaced.map_err(unavailable)
    }
}

/// The anchor of an open log and the thread that brings checkpoints there, so that a slow one does
/// not slow the log.
#[derive(Debug)]
pub(super) struct Anchors {
    anchor: Option<Arc<dyn CheckpointAnchor>>,
    interval: Duration,
    offered: Option<Monotonic>,
    thread: Option<(SyncSender<String>, JoinHandle<()>)>,
}

impl Anchors {
    pub(super) const fn new(anchor: Option<Arc<dyn CheckpointAnchor>>, interval: Duration) -> Self {
        Self {
            anchor,
            interval,
            offered: None,
            thread: None,
        }
    }

    /// Brings `note` to the anchor where the last one is old enough.
    pub(super) fn offer(&mut self, note: &str, now: Monotonic) {
        let due = |last| now.duration_since(last) >= self.interval;
        if self.anchor.is_none() || !self.offered.is_none_or(due) {
            return;
        }
        if self.thread.is_none() {
            self.thread = self.start();
        }
        // An anchor that is still at the last one is given the next when that is due.
        if let Some((thread, _)) = &self.thread
            && thread.try_send(note.to_owned()).is_ok()
        {
            self.offered = Some(now);
        }
    }

    /// Brings `note` to the anchor after what is on its way there.
    pub(super) fn put_now(&mut self, note: &str) -> Result<(), StoreError> {
        if let Some((notes, thread)) = self.thread.take() {
            drop(notes);
            // One that panicked has said so; this note is newer than what it had.
            let _ = thread.join();
        }
        match &self.anchor {
            Some(anchor) => anchor.put(note),
            None => Ok(()),
        }
    }

    fn start(&self) -> Option<(SyncSender<String>, JoinHandle<()>)> {
        let anchor = Arc::clone(self.anchor.as_ref()?);
        let (thread, notes) = sync_channel::<String>(1);
        let work = move || {
            for note in notes {
                if let Err(error) = anchor.put(&note) {
                    tracing::error!(
                        target: "countersign",
                        error = &error as &dyn std::error::Error,
                        "a checkpoint of the audit log could not be anchored"
                    );
                }
            }
        };
        let started = thread::Builder::new()
            .name("countersign-anchor".to_owned())
            .spawn(work);
        Some((thread, started.ok()?))
    }
}
