//! A log in a directory of JSON Lines files.

mod recover;
mod segment;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use countersign_core::{StoreError, StoreErrorKind};
use tokio::task::spawn_blocking;

use self::segment::Segments;
use crate::{AuditBackend, Record, Recovery};

/// When a line counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// One `fdatasync` for each batch, after its last line. An event that was acknowledged
    /// survives a crash of the machine.
    #[default]
    PerBatch,
    /// One `fdatasync` for each line. Acknowledges nothing earlier than
    /// [`PerBatch`](Self::PerBatch) does, but a crash within a batch loses fewer of its lines.
    PerEvent,
    /// Insecure: the operating system decides when lines reach the disk. An event that was
    /// acknowledged survives a crash of the process and not one of the machine.
    InsecureOsDecides,
}

/// An audit log in a directory: `<index of the first line, 20 digits>.jsonl`, one event a line,
/// written once and never rewritten, and `lock`, held by the one process that writes.
///
/// **Rotation.** A segment that has reached its size is followed by a new one; a batch is never
/// split. Nothing else may rotate these files: tools that copy and truncate lose lines.
///
/// **Opening.** The newest segment is read to its end; of older ones only the last line is. A torn last line, which a crash leaves
/// behind and which was never acknowledged, is moved to `<segment>.torn` and told by an
/// `external_api.audit.recovered` event. So are lines that a failed write left in an older segment
/// and that stand again in the next one. Anything else that is not a line in its place makes
/// opening fail.
///
/// **Failed writes.** After a failed `write` or `fdatasync` the segment is never written to again:
/// the page cache may show what the disk never got. What was acknowledged stays, the rest is cut
/// off where the file system lets us, and the records that were not acknowledged go into a new
/// segment.
///
/// Files are readable by their owner alone (mode 0600 in a directory of mode 0700).
#[derive(Debug)]
pub struct JsonLinesFile {
    /// Absent while a write is under way, and for good after one that was abandoned or panicked.
    segments: Option<Segments>,
    buffer: Vec<u8>,
    next: u64,
    recovery: Option<Recovery>,
}

/// How a [`JsonLinesFile`] is opened.
#[derive(Debug, Clone)]
#[must_use]
pub struct JsonLinesOptions {
    directory: PathBuf,
    segment_bytes: u64,
    durability: Durability,
}

impl JsonLinesFile {
    /// Opens the log in `directory` with 256 MiB a segment and one `fdatasync` a batch. The
    /// directory is made if it is not there. This blocks; call it while starting.
    ///
    /// # Errors
    /// `AlreadyExists` when another process writes this log, `Corrupt` when a segment can't be
    /// read as one, `Unavailable` for all that the file system refuses.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::options(directory).open()
    }

    /// The log in `directory`, to be opened with other settings.
    pub fn options(directory: impl AsRef<Path>) -> JsonLinesOptions {
        JsonLinesOptions {
            directory: directory.as_ref().to_owned(),
            segment_bytes: 256 * 1024 * 1024,
            durability: Durability::PerBatch,
        }
    }

    /// Runs `work` on a thread that may block.
    async fn with_segments(
        &mut self,
        work: impl FnOnce(&mut Segments, &[u8]) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let mut segments = self.segments.take().ok_or_else(abandoned)?;
        let buffer = std::mem::take(&mut self.buffer);
        let done = spawn_blocking(move || {
            let result = work(&mut segments, &buffer);
            (segments, buffer, result)
        });
        let (segments, buffer, result) = done
            .await
            .map_err(|error| StoreError::with_source(StoreErrorKind::Unavailable, error))?;
        (self.segments, self.buffer) = (Some(segments), buffer);
        result
    }

    fn fill_buffer(&mut self, batch: &[Record]) {
        self.buffer.clear();
        if self.buffer.capacity() > LARGEST_KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        for record in batch {
            self.buffer.extend_from_slice(record.line());
            self.buffer.push(b'\n');
        }
    }
}

impl JsonLinesOptions {
    /// After how many bytes a new segment begins.
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// When a line counts as written.
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Opens the log.
    ///
    /// # Errors
    /// As [`JsonLinesFile::open`].
    pub fn open(self) -> Result<JsonLinesFile, StoreError> {
        let (segments, next, torn) = Segments::open(self)?;
        Ok(JsonLinesFile {
            segments: Some(segments),
            buffer: Vec::new(),
            next,
            recovery: (torn > 0).then_some(Recovery::new(torn)),
        })
    }
}

#[async_trait]
impl AuditBackend for JsonLinesFile {
    fn next_seq(&self) -> u64 {
        self.next
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        self.recovery.take()
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
        self.with_segments(move |segments, lines| segments.append(first, lines))
            .await?;
        self.next = next;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        self.with_segments(|segments, _| segments.sync()).await
    }

    async fn health(&mut self) -> Result<(), StoreError> {
        self.with_segments(|segments, _| segments.check()).await
    }
}

fn abandoned() -> StoreError {
    let cause = "a write was abandoned, so that nothing is known of the file";
    StoreError::with_source(StoreErrorKind::Unavailable, cause)
}

/// A buffer that one large batch made is not kept for ever.
const LARGEST_KEPT_BUFFER: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests;
