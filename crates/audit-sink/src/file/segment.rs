//! Writing segments: append, rotate, and leave a segment that failed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use countersign_core::{StoreError, StoreErrorKind};

use super::{Durability, JsonLinesOptions};

/// The files of one log, and the lock that makes them ours.
#[derive(Debug)]
pub(super) struct Segments {
    pub(super) options: JsonLinesOptions,
    /// Held as long as this lives.
    pub(super) _lock: File,
    pub(super) current: Option<Segment>,
    /// The last segment that a write failed on, until what it must lose is gone.
    condemned: Option<Condemned>,
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// How much of it was acknowledged.
    pub(super) length: u64,
}

#[derive(Debug)]
struct Condemned {
    path: PathBuf,
    length: u64,
}

/// A failure that a test asks for.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// So many bytes are written, then no more.
    Write(usize),
    Sync,
    /// As `Sync`, and what was written can't be cut off either.
    SyncAndCut,
}

impl Segments {
    pub(super) fn new(options: JsonLinesOptions, lock: File, current: Option<Segment>) -> Self {
        Self {
            options,
            _lock: lock,
            current,
            condemned: None,
            #[cfg(test)]
            fault: None,
        }
    }

    /// Writes `lines`, the first of which has the index `first`. After an error nothing of them
    /// counts.
    pub(super) fn append(&mut self, first: u64, lines: &[u8]) -> Result<(), StoreError> {
        self.write(first, lines).map_err(|error| {
            self.condemn();
            unavailable(error)
        })
    }

    /// Makes the current segment durable.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        let Some(segment) = &self.current else {
            return Ok(());
        };
        segment.file.sync_data().map_err(|error| {
            self.condemn();
            unavailable(error)
        })
    }

    /// Whether the directory is still there and can be read.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let read = std::fs::read_dir(&self.options.directory);
        read.map(drop).map_err(unavailable)
    }

    fn write(&mut self, first: u64, lines: &[u8]) -> io::Result<()> {
        let limit = self.options.segment_bytes;
        if self.current.as_ref().is_some_and(|s| s.length >= limit) {
            self.finish()?;
        }
        if self.current.is_none() {
            self.current = Some(self.begin(first)?);
        }
        let durability = self.options.durability;
        #[cfg(test)]
        let fault = self.fault;
        let Some(segment) = &mut self.current else {
            return Err(io::Error::other("no segment"));
        };
        #[cfg(test)]
        segment.inject(lines, fault)?;
        match durability {
            Durability::PerEvent => {
                for line in lines.split_inclusive(|b| *b == b'\n') {
                    segment.file.write_all(line)?;
                    segment.file.sync_data()?;
                }
            }
            Durability::PerBatch => {
                segment.file.write_all(lines)?;
                segment.file.sync_data()?;
            }
            Durability::InsecureOsDecides => segment.file.write_all(lines)?,
        }
        segment.length += lines.len() as u64;
        Ok(())
    }

    /// Leaves a full segment, all of it on disk.
    fn finish(&mut self) -> io::Result<()> {
        if let Some(segment) = &self.current {
            segment.file.sync_all()?;
        }
        self.current = None;
        Ok(())
    }

    fn begin(&mut self, first: u64) -> io::Result<Segment> {
        let path = self.options.directory.join(segment_name(first));
        self.clean(&path)?;
        let file = private(OpenOptions::new().append(true).create_new(true)).open(&path)?;
        let durable = file
            .sync_all()
            .and_then(|()| sync_directory(&self.options.directory));
        if let Err(error) = durable {
            self.condemned = Some(Condemned { path, length: 0 });
            return Err(error);
        }
        Ok(Segment {
            file,
            path,
            length: 0,
        })
    }

    /// Never writes to the current segment again, and cuts off what was not acknowledged.
    fn condemn(&mut self) {
        let Some(segment) = self.current.take() else {
            return;
        };
        tracing::error!(
            target: "countersign",
            segment = %segment.path.display(),
            "audit segment failed: it is left as it was acknowledged, a new one follows"
        );
        let condemned = Condemned {
            path: segment.path,
            length: segment.length,
        };
        #[cfg(test)]
        let cut = match self.fault {
            Some(Fault::SyncAndCut) => Err(io::Error::other("asked for")),
            _ => condemned.cut(),
        };
        #[cfg(not(test))]
        let cut = condemned.cut();
        // What can't be cut off now is set aside when the log is opened again.
        self.condemned = cut.is_err().then_some(condemned);
    }

    /// Makes room for a new segment at `path`, where one stands of which nothing was acknowledged.
    fn clean(&mut self, path: &Path) -> io::Result<()> {
        let same = |c: &Condemned| c.path == path && c.length == 0;
        if self.condemned.as_ref().is_some_and(same) {
            std::fs::remove_file(path)?;
            self.condemned = None;
        }
        Ok(())
    }
}

impl Condemned {
    fn cut(&self) -> io::Result<()> {
        if self.length == 0 {
            return std::fs::remove_file(&self.path);
        }
        let file = OpenOptions::new().write(true).open(&self.path)?;
        file.set_len(self.length)?;
        file.sync_all()
    }
}

#[cfg(test)]
impl Segment {
    fn inject(&mut self, lines: &[u8], fault: Option<Fault>) -> io::Result<()> {
        let written = match fault {
            None => return Ok(()),
            Some(Fault::Write(bytes)) => bytes.min(lines.len()),
            Some(Fault::Sync | Fault::SyncAndCut) => lines.len(),
        };
        self.file.write_all(&lines[..written])?;
        Err(io::Error::other("asked for"))
    }
}

pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// Only the owner may read what is made.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// A new or removed name is durable only once its directory is.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

pub(super) fn unavailable(error: io::Error) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, error)
}

pub(super) const SUFFIX: &str = ".jsonl";
