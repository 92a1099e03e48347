//! The files of an open log: append, seal, sign, and leave a segment that failed.

use std::path::PathBuf;
use std::sync::Arc;

use countersign_core::{Moment, Monotonic, StoreError, StoreErrorKind};

use super::anchor::Anchors;
use super::checkpoints::Checkpoints;
use super::current::Current;
use super::disk::Disk;
use super::note::Head;
use super::options::Limits;
use super::reads::Reads;
use super::retention::Leaving;
use super::sealed::{self, Sealed};
use super::tree::{Edge, Hash, leaf_hash};
use super::unavailable;
use crate::Notice;

/// An open log.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) directory: PathBuf,
    pub(super) limits: Limits,
    pub(super) disk: Disk,
    pub(super) checkpoints: Checkpoints,
    pub(super) anchors: Anchors,
    pub(super) sealed: Vec<Sealed>,
    pub(super) leaving: Leaving,
    /// The tree up to the current segment.
    pub(super) before: Edge,
    pub(super) current: Current,
    /// Lines that are on disk and that nobody was told of: their checkpoint is not stored.
    pub(super) untold: Vec<Hash>,
    pub(super) reads: Reads,
    pub(super) signed_at: Option<Monotonic>,
    /// The time of the last batch.
    pub(super) last_seen: Option<Moment>,
    pub(super) notices: Vec<Notice>,
}

/// When a checkpoint is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signing {
    WhenDue,
    Now,
    /// Now, and it outlives a crash of the machine.
    Durable,
}

impl Store {
    /// Appends `lines`, each ended by a newline, of which the first has the index `first`;
    /// `leaves` gives their hashes. An error tells nothing of them to anybody; the same lines come
    /// again then.
    pub(super) fn append(
        &mut self,
        first: u64,
        lines: &[u8],
        leaves: impl FnOnce() -> Result<Vec<Hash>, StoreError>,
        now: Moment,
    ) -> Result<(), StoreError> {
        self.last_seen = Some(now);
        self.check_place()?;
        let new = self.skip_untold(first, lines)?;
        if new.is_empty() {
            self.mend()?;
        } else {
            if let Err(error) = self.rotate_if_due(now).and_then(|()| self.write(new)) {
                // Whatever becomes of the file: what is signed can't be missing without a word.
                let _ = self.sign(now, Signing::Now);
                return Err(error);
            }
            self.count(&leaves()?, new.len() as u64, now);
            self.leaving.hear(new, self.end());
            self.current.let_go(&self.disk);
        }
        self.sign(now, Signing::WhenDue)?;
        self.untold.clear();
        self.remove_told();
        Ok(())
    }

    /// Signs and stores the tree as it is, where that was put off.
    pub(super) fn settle(&mut self, now: Moment) -> Result<(), StoreError> {
        self.mend_and_sign(now, Signing::Now)?;
        self.remove_told();
        self.reads.clear();
        self.collect_reads();
        Ok(())
    }

    /// Takes up what readers of the log left word of.
    pub(super) fn collect_reads(&mut self) {
        let reads = self.reads.collect(&self.directory);
        self.notices.extend(reads);
    }

    /// Signs and stores the tree as it is, for good, and gives it to the anchor.
    pub(super) fn flush(&mut self, now: Moment) -> Result<(), StoreError> {
        self.mend_and_sign(now, Signing::Durable)?;
        self.remove_told();
        match self.checkpoints.newest() {
            Some(note) => self.anchors.put_now(note),
            None => Ok(()),
        }
    }

    /// Whether the directory is still there and can be read.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.check_place()?;
        let read = std::fs::read_dir(self.segments());
        read.map(drop).map_err(unavailable)
    }

    fn check_place(&self) -> Result<(), StoreError> {
        self.disk.check_place().map_err(unavailable)
    }

    /// Puts lines that count back where somebody took them away.
    fn mend(&mut self) -> Result<(), StoreError> {
        self.check_place()?;
        let segments = self.segments();
        self.current.mend(&self.disk, &segments)
    }

    /// Signs also what can't be put back: its absence shows when the log is opened again.
    fn mend_and_sign(&mut self, now: Moment, signing: Signing) -> Result<(), StoreError> {
        let mended = self.mend();
        self.sign(now, signing)?;
        mended
    }

    /// How many lines are on disk.
    pub(super) const fn end(&self) -> u64 {
        self.current.edge.end()
    }

    pub(super) fn origin(&self) -> Arc<str> {
        Arc::clone(&self.checkpoints.identity.origin)
    }

    pub(super) fn segments(&self) -> PathBuf {
        self.directory.join(SEGMENTS)
    }

    /// What of `lines` is not on disk yet.
    fn skip_untold<'a>(&self, first: u64, lines: &'a [u8]) -> Result<&'a [u8], StoreError> {
        if first + self.untold.len() as u64 != self.end() {
            return Err(conflict("other lines are on disk"));
        }
        let mut rest = lines;
        for known in &self.untold {
            let end = memchr::memchr(b'\n', rest);
            let end = end.ok_or_else(|| conflict("fewer lines come again"))?;
            if leaf_hash(&rest[..end]) != *known {
                return Err(conflict("another line comes again"));
            }
            rest = &rest[end + 1..];
        }
        Ok(rest)
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        let segments = self.segments();
        let file = self.current.file(&self.disk, &segments)?;
        let written = self.disk.write(file, lines);
        if let Err(error) = written.and_then(|()| self.disk.sync(file)) {
            self.current.condemn(&segments);
            return Err(unavailable(error));
        }
        self.current.check(&segments, lines.len() as u64)?;
        // Another process may have begun to count lines in the meantime.
        self.check_place()
            .inspect_err(|_| self.current.condemn(&segments))
    }

    /// Takes lines that are on disk into the tree: the last of `leaves`, for some may have been
    /// taken before.
    fn count(&mut self, leaves: &[Hash], bytes: u64, now: Moment) {
        for leaf in &leaves[self.untold.len().min(leaves.len())..] {
            self.current.edge.push(*leaf);
            self.untold.push(*leaf);
        }
        self.current.bytes += bytes;
        self.current.began.get_or_insert(now.monotonic);
    }

    fn sign(&mut self, now: Moment, signing: Signing) -> Result<(), StoreError> {
        let late = |last| now.monotonic.duration_since(last) >= self.limits.checkpoint_interval;
        let due = self.signed_at.is_none_or(late) || signing != Signing::WhenDue;
        let durable = signing == Signing::Durable;
        if !due || (self.checkpoints.stored == Some(self.end()) && !durable) {
            return Ok(());
        }
        let head = self.head();
        self.checkpoints.store(&self.disk, head, now, durable)?;
        self.signed_at = Some(now.monotonic);
        if let Some(note) = self.checkpoints.newest() {
            self.anchors.offer(note, now.monotonic);
        }
        Ok(())
    }

    pub(super) fn head(&self) -> Head {
        let mut tree = self.before.clone();
        tree.extend(&self.current.edge);
        Head {
            size: tree.end(),
            root: tree.root(),
        }
    }

    /// Finishes a segment that is large or old enough.
    fn rotate_if_due(&mut self, now: Moment) -> Result<(), StoreError> {
        let age = self
            .current
            .began
            .map(|at| now.monotonic.duration_since(at));
        let old = age.zip(self.limits.segment_age);
        let old = old.is_some_and(|(age, limit)| age >= limit);
        let empty = self.current.edge.end() == self.current.edge.first();
        if empty || !(old || self.current.bytes >= self.limits.segment_bytes) {
            return Ok(());
        }
        self.seal(now)?;
        self.retain(now);
        Ok(())
    }

    fn seal(&mut self, now: Moment) -> Result<(), StoreError> {
        let segments = self.segments();
        self.current.check(&segments, 0)?;
        // Nothing but acknowledged lines may stay in a segment that is finished.
        self.current.file(&self.disk, &segments)?;
        self.sign(now, Signing::Durable)?;
        let sealed = Sealed {
            edge: self.current.edge.clone(),
            bytes: self.current.bytes,
            time: now.wall,
            present: true,
        };
        sealed::keep(&self.disk, &self.directory, &sealed)?;
        // Once more, for a signature may take its time: from here on nobody puts the lines back.
        self.current.check(&segments, 0)?;
        let head = self.head();
        self.notices.push(Notice::checkpoint(head.size, head.root));
        self.before.extend(&sealed.edge);
        self.current = Current::at(head.size);
        self.sealed.push(sealed);
        Ok(())
    }
}

/// A log that is let go of without an end is signed as far as it goes, if the disk lets us.
impl Drop for Store {
    fn drop(&mut self) {
        if let Some(now) = self.last_seen.take()
            && let Err(error) = self.mend_and_sign(now, Signing::Now)
        {
            tracing::error!(
                target: "countersign",
                error = &error as &dyn std::error::Error,
                "the end of the audit log could not be signed; it is when the log is opened again"
            );
        }
    }
}

fn conflict(what: &'static str) -> StoreError {
    StoreError::with_source(StoreErrorKind::Conflict, what)
}

pub(super) const SEGMENTS: &str = "segments";
pub(super) const LOCK: &str = "lock";
