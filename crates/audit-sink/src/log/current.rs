//! The segment that is written to, and the one that takes its place when its file failed.

use std::fs::File;
use std::path::Path;

use countersign_core::{Monotonic, StoreError, StoreErrorKind};

use super::disk::{Disk, beside};
use super::held::{Found, Held, displaced};
use super::lines::Lines;
use super::sealed::segment_path;
use super::tree::{Edge, leaf_hash};
use super::{corrupt, unavailable};

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Current {
    /// The hashes of its lines.
    pub(super) edge: Edge,
    /// The bytes of these lines.
    pub(super) bytes: u64,
    /// How many of them were let go of by the page cache.
    pub(super) uncached: u64,
    pub(super) began: Option<Monotonic>,
    /// Absent before the first line, and after a failed write: that file is never written again.
    pub(super) file: Option<Held>,
    /// The file before, which has all lines that count.
    left: Option<Held>,
}

impl Current {
    /// A segment that begins with line `first` and has none yet.
    pub(super) const fn at(first: u64) -> Self {
        Self {
            edge: Edge::at(first),
            bytes: 0,
            uncached: 0,
            began: None,
            file: None,
            left: None,
        }
    }

    /// A segment with these lines, in a file that was just opened.
    pub(super) const fn resumed(edge: Edge, bytes: u64, began: Monotonic, file: Held) -> Self {
        Self {
            edge,
            bytes,
            uncached: 0,
            began: Some(began),
            file: Some(file),
            left: None,
        }
    }

    /// The file to write to: a new one after a failure, with the lines that counted.
    pub(super) fn file(&mut self, disk: &Disk, segments: &Path) -> Result<&mut File, StoreError> {
        if self.file.is_none() {
            self.make(disk, segments)?;
            self.file = self.left.take();
        }
        self.file
            .as_mut()
            .map(Held::file_mut)
            .ok_or_else(|| StoreError::new(StoreErrorKind::Unavailable))
    }

    /// Puts the lines that count back where they are not at their path any more.
    pub(super) fn mend(&mut self, disk: &Disk, segments: &Path) -> Result<(), StoreError> {
        // What was found is told by what can't be put right.
        let _ = self.check(segments, 0);
        if self.bytes > 0 {
            self.file(disk, segments)?;
        }
        Ok(())
    }

    /// Looks whether the file, with `new` bytes that do not count yet, is the one at its path and
    /// as long as it must be. After an error it is never written again.
    pub(super) fn check(&mut self, segments: &Path, new: u64) -> Result<(), StoreError> {
        let Some(held) = &self.file else {
            return Ok(());
        };
        let path = segment_path(segments, self.edge.first());
        let found = held.look(&path);
        if matches!(found, Ok(Found::Itself(length)) if length == self.bytes + new) {
            return Ok(());
        }
        self.condemn(segments);
        Err(match found {
            Ok(Found::Itself(_)) => corrupt(&path, "somebody else changed its length"),
            Ok(Found::Nothing | Found::Another(_)) => unavailable(displaced(&path)),
            Err(error) => unavailable(error),
        })
    }

    /// Lets what was written a while ago leave the page cache: a log is written once and read seldom,
    /// and would in time take the cache of everything else on the machine, or in the container.
    pub(super) fn let_go(&mut self, disk: &Disk) {
        let old = self.bytes.saturating_sub(KEPT_IN_CACHE);
        let old = old - old % STEP;
        if old > self.uncached
            && let Some(held) = &self.file
        {
            disk.let_go(held.file(), self.uncached, old - self.uncached);
            self.uncached = old;
        }
    }

    /// A new file that takes the place of the one that failed, if there was one. What counted of
    /// the old one is read again, checked against its hashes and copied.
    fn make(&mut self, disk: &Disk, segments: &Path) -> Result<(), StoreError> {
        let path = segment_path(segments, self.edge.first());
        let old = self.old(&path)?;
        let new = beside(&path, ".new");
        let mut held = disk.hold_new(&new).map_err(unavailable)?;
        if let Some(old) = old {
            self.copy(disk, old, &path, held.file_mut())?;
        }
        disk.sync(held.file()).map_err(unavailable)?;
        // Copying may have taken its time.
        self.found_at(&path)?;
        if cfg!(not(unix)) {
            // What is open can't be replaced everywhere.
            self.left = None;
        }
        disk.rename(&new, &path).map_err(unavailable)?;
        // From here on this is the one that has the lines, whatever fails.
        self.left = Some(held);
        disk.sync_directory(segments).map_err(unavailable)
    }

    /// The lines that count, where there are any: of the file before, also where it was taken away
    /// from its path.
    fn old(&self, path: &Path) -> Result<Option<Lines>, StoreError> {
        let found = self.found_at(path)?;
        if self.bytes == 0 {
            return Ok(None);
        }
        let lines = match (found, &self.left) {
            // As many bytes: it may be a copy. That is seen by its hashes.
            (Found::Another(1..), _) | (_, None) => Lines::open(path),
            (_, Some(held)) => Lines::of(held.file()),
        };
        lines.map(Some).map_err(unavailable)
    }

    /// What is at the path, where a new file may take its place. What somebody else put there is
    /// never overwritten, unless it is empty or may be a copy.
    fn found_at(&self, path: &Path) -> Result<Found, StoreError> {
        let found = match (&self.left, std::fs::metadata(path)) {
            (Some(held), _) => held.look(path).map_err(unavailable)?,
            (None, Err(_)) => Found::Nothing,
            // Nothing was written yet, so that nothing there is this log's.
            (None, Ok(at)) if cfg!(unix) => Found::Another(at.len()),
            (None, Ok(at)) => Found::Itself(at.len()),
        };
        match found {
            Found::Another(length) if length > 0 && length != self.bytes => {
                Err(unavailable(displaced(path)))
            }
            found => Ok(found),
        }
    }

    fn copy(
        &self,
        disk: &Disk,
        mut lines: Lines,
        path: &Path,
        to: &mut File,
    ) -> Result<(), StoreError> {
        let mut edge = Edge::at(self.edge.first());
        let mut buffer = Vec::new();
        while edge.end() < self.edge.end() {
            let Some(line) = lines.next().map_err(unavailable)? else {
                break;
            };
            edge.push(leaf_hash(line.bytes));
            buffer.extend_from_slice(line.bytes);
            buffer.push(b'\n');
            if buffer.len() >= COPY_BUFFER {
                disk.write(to, &buffer).map_err(unavailable)?;
                buffer.clear();
            }
        }
        disk.write(to, &buffer).map_err(unavailable)?;
        if edge != self.edge {
            return Err(corrupt(path, "it does not hold what was written to it"));
        }
        Ok(())
    }

    pub(super) fn condemn(&mut self, segments: &Path) {
        self.left = self.file.take().or_else(|| self.left.take());
        self.uncached = 0;
        tracing::error!(
            target: "countersign",
            segment = %segment_path(segments, self.edge.first()).display(),
            "audit segment failed: its file is left, what was acknowledged goes into a new one"
        );
    }
}

const COPY_BUFFER: usize = 1024 * 1024;
/// What readers who follow the log find in the page cache.
pub(super) const KEPT_IN_CACHE: u64 = 8 * 1024 * 1024;
/// So often the page cache is told, in bytes written: whole pages of any size.
pub(super) const STEP: u64 = 1024 * 1024;
