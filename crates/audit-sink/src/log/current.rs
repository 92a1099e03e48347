//! The segment that is written to, and the one that takes its place when its file failed.

use std::fs::File;
use std::path::Path;

use countersign_core::{Monotonic, StoreError, StoreErrorKind};

use super::disk::{Disk, beside};
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
    pub(super) file: Option<File>,
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
        }
    }

    /// The file to write to: a new one after a failure, with the lines that counted.
    pub(super) fn file(&mut self, disk: &Disk, segments: &Path) -> Result<&mut File, StoreError> {
        if self.file.is_none() {
            self.file = Some(self.make(disk, segments)?);
        }
        self.file
            .as_mut()
            .ok_or_else(|| StoreError::new(StoreErrorKind::Unavailable))
    }

    /// Lets what was written a while ago leave the page cache: a log is written once and read seldom,
    /// and would in time take the cache of everything else on the machine, or in the container.
    pub(super) fn let_go(&mut self, disk: &Disk) {
        let old = self.bytes.saturating_sub(KEPT_IN_CACHE);
        let old = old - old % STEP;
        if old > self.uncached
            && let Some(file) = &self.file
        {
            disk.let_go(file, self.uncached, old - self.uncached);
            self.uncached = old;
        }
    }

    /// A new file that takes the place of the one that failed, if there was one. What counted of
    /// the old one is read again, checked against its hashes and copied.
    fn make(&self, disk: &Disk, segments: &Path) -> Result<File, StoreError> {
        let path = segment_path(segments, self.edge.first());
        let new = beside(&path, ".new");
        let mut file = disk.create(&new).map_err(unavailable)?;
        if self.bytes > 0 {
            self.copy(disk, &path, &mut file)?;
        }
        disk.sync(&file).map_err(unavailable)?;
        disk.rename(&new, &path).map_err(unavailable)?;
        disk.sync_directory(segments).map_err(unavailable)?;
        Ok(file)
    }

    fn copy(&self, disk: &Disk, from: &Path, to: &mut File) -> Result<(), StoreError> {
        let mut lines = Lines::open(from).map_err(unavailable)?;
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
            return Err(corrupt(from, "it does not hold what was written to it"));
        }
        Ok(())
    }

    pub(super) fn condemn(&mut self, segments: &Path) {
        self.file = None;
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
