//! What is held open, and whether it still stands at its path.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// An open file or directory. Whoever else may write to what it stands in can remove it, move it or
/// put another in its place, and what is written to it would go on as if nothing had happened.
#[derive(Debug)]
pub(super) struct Held {
    file: File,
    /// What the file system calls it; none where it has no such name, or not the same one by path.
    /// No other gets the name while this is open.
    id: Option<FileId>,
}

/// The device and the file's number on it.
type FileId = (u64, u64);

/// What stands at the path of something that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It itself, and its length in bytes.
    Itself(u64),
    Nothing,
    /// Something else, and its length.
    Another(u64),
}

impl Held {
    /// Holds `file`, which was just opened at `path`.
    pub(super) fn new(file: File, path: &Path) -> io::Result<Self> {
        let own = id(&file.metadata()?);
        let at_path = || Ok::<_, io::Error>(id(&fs::metadata(path)?));
        if own == at_path()? {
            return Ok(Self { file, id: own });
        }
        // By path it is another. Either it is, or the file system has no lasting numbers, and then what
        // is opened there now is another once more.
        if id(&File::open(path)?.metadata()?) == at_path()? {
            return Err(displaced(path));
        }
        Ok(Self { file, id: None })
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    pub(super) const fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }

    /// What stands at `path` now.
    pub(super) fn look(&self, path: &Path) -> io::Result<Found> {
        let Some(known) = self.id else {
            return Ok(Found::Itself(self.file.metadata()?.len()));
        };
        match fs::metadata(path) {
            Ok(at) if id(&at) == Some(known) => Ok(Found::Itself(at.len())),
            Ok(at) => Ok(Found::Another(at.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }
}

/// The one lock of a log. It is given back in words when this ends, and not by closing the file alone:
/// a child that this process is just starting has a copy of every open file until it runs its own
/// program, and would hold the lock for so long.
#[derive(Debug)]
pub(super) struct Lock {
    held: Held,
    path: PathBuf,
}

impl Lock {
    pub(super) const fn new(held: Held, path: PathBuf) -> Self {
        Self { held, path }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Where it can't be given back it goes with the last copy of the file.
        let _ = self.held.file().unlock();
    }
}

/// The lock and the directory of segments of an open log. Once one of them is another's or gone,
/// another process may have begun a log there.
#[derive(Debug)]
pub(super) struct Place {
    lock: Lock,
    segments: Option<(Held, PathBuf)>,
}

impl Place {
    pub(super) fn new(lock: Lock, segments: PathBuf) -> io::Result<Self> {
        // Elsewhere a directory can't be opened.
        let held = cfg!(unix).then(|| Held::new(File::open(&segments)?, &segments));
        let segments = held.transpose()?.map(|held| (held, segments));
        Ok(Self { lock, segments })
    }

    /// Whether everything is where it was.
    ///
    /// # Errors
    /// When this process may change nothing at these paths any more.
    pub(super) fn check(&self) -> io::Result<()> {
        let segments = self.segments.iter().map(|(held, path)| (held, path));
        for (held, path) in std::iter::once((&self.lock.held, &self.lock.path)).chain(segments) {
            if !matches!(held.look(path)?, Found::Itself(_)) {
                return Err(displaced(path));
            }
        }
        Ok(())
    }
}

pub(super) fn displaced(path: &Path) -> io::Error {
    let problem = "somebody removed it, moved it away or put another in its place";
    io::Error::other(format!("{}: {problem}", path.display()))
}

#[cfg(unix)]
fn id(metadata: &Metadata) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn id(_: &Metadata) -> Option<FileId> {
    None
}

#[cfg(test)]
mod tests;
