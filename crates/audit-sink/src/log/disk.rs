//! The few things that the log does to files, in one place, so that each can be made to fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::held::{Held, Place};

/// The file system as the log uses it.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    /// Where the log is. Whatever is done by path is done only while it is there.
    place: Option<Arc<Place>>,
    #[cfg(test)]
    pub(super) faults: super::faults::Faults,
}

impl Disk {
    /// The disk for an open log, which is at this place.
    pub(super) fn at(&self, place: Place) -> Self {
        let mut disk = self.clone();
        disk.place = Some(Arc::new(place));
        disk
    }

    /// Fails where the log is not at its place any more.
    pub(super) fn check_place(&self) -> io::Result<()> {
        self.place.as_ref().map_or(Ok(()), |place| place.check())
    }

    pub(super) fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        self.faults.write(file, bytes)?;
        file.write_all(bytes)
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        self.faults.sync()?;
        file.sync_data()
    }

    /// Lets `bytes` of `file` from `start` on, which were made durable, leave the page cache. It is
    /// advice: nothing depends on whether it is taken.
    pub(super) fn let_go(&self, file: &File, start: u64, bytes: u64) {
        #[cfg(test)]
        self.faults.let_go(start, bytes);
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{Advice, fadvise};
            let _ = fadvise(file, start, NonZeroU64::new(bytes), Advice::DontNeed);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (file, start, bytes);
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.faults.rename()?;
        self.check_place()?;
        fs::rename(from, to)
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.check_place()?;
        fs::remove_file(path)
    }

    /// A new or removed name is durable only once its directory is.
    pub(super) fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.faults.sync()?;
        if cfg!(unix) {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }

    /// An empty file at `path`, whatever stood there.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        #[cfg(test)]
        self.faults.create()?;
        self.check_place()?;
        private(OpenOptions::new().write(true).create(true).truncate(true)).open(path)
    }

    /// The file at `path`, to be written at its end and read; made if it is not there.
    pub(super) fn append_to(&self, path: &Path) -> io::Result<File> {
        #[cfg(test)]
        self.faults.create()?;
        self.check_place()?;
        private(OpenOptions::new().read(true).append(true).create(true)).open(path)
    }

    /// The file that is at `path`, to be written at its end, wherever somebody moves that, and read.
    pub(super) fn hold(&self, path: &Path) -> io::Result<Held> {
        #[cfg(test)]
        self.faults.create()?;
        let file = OpenOptions::new().read(true).append(true).open(path)?;
        Held::new(file, path)
    }

    /// An empty file in the place of what an earlier attempt left at `path`, to be written as that of
    /// [`Disk::hold`] is.
    pub(super) fn hold_new(&self, path: &Path) -> io::Result<Held> {
        #[cfg(test)]
        self.faults.create()?;
        self.check_place()?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = private(options.read(true).append(true).create_new(true)).open(path)?;
        Held::new(file, path)
    }

    /// Puts `content` at `path`, so that a reader finds all of it or all of what was there before.
    /// Only a `durable` one is sure to outlive a crash of the machine.
    pub(super) fn replace(&self, path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
        let new = beside(path, ".new");
        let mut file = self.create(&new)?;
        self.write(&mut file, content)?;
        if durable {
            self.sync(&file)?;
        }
        self.rename(&new, path)?;
        match path.parent() {
            Some(parent) if durable => self.sync_directory(parent),
            _ => Ok(()),
        }
    }
}

/// The file at `path`, to be read. What is no regular file may never end, or never begin: it is
/// looked at before it is opened, for opening a pipe waits, and after that once more.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let regular = |found: fs::Metadata| match found.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is no regular file",
        )),
    };
    regular(fs::metadata(path)?)?;
    let file = File::open(path)?;
    regular(file.metadata()?)?;
    Ok(file)
}

/// A file that is a few lines long, if it is what it should be: no more of it is held.
pub(super) fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_regular(path)?;
    file.take(LONGEST_SMALL + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_SMALL {
        let problem = "it is too long to be what it should be";
        return Err(io::Error::new(ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

/// `path` with `suffix` behind its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Only the owner may read what is made.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

const LONGEST_SMALL: u64 = 1_000_000;
