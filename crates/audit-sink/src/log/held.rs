//! A file that is held open, and whether it still stands at its path.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::Path;

/// An open file. Whoever else may write to the directory can remove it, move it or put another in
/// its place, and what is written to it would go on as if nothing had happened.
#[derive(Debug)]
pub(super) struct Held {
    file: File,
    /// What the file system calls the file; none where it has no such name, or not the same one by
    /// path.
    id: Option<FileId>,
}

/// The device and the file's number on it.
type FileId = (u64, u64);

/// What stands at the path of a file that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The file itself, and its length in bytes.
    Itself(u64),
    Nothing,
    Another,
}

impl Held {
    /// Holds `file`, which was just opened at `path`.
    pub(super) fn new(file: File, path: &Path) -> io::Result<Self> {
        let id = id(&file.metadata()?);
        let id = id.filter(|id| fs::metadata(path).is_ok_and(|at| self::id(&at) == Some(*id)));
        Ok(Self { file, id })
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
            Ok(_) => Ok(Found::Another),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn it_knows_itself_from_another_and_from_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("held");
        let aside = directory.path().join("aside");
        let mut held = Held::new(File::create(&path).unwrap(), &path).unwrap();
        io::Write::write_all(held.file_mut(), b"12345").unwrap();
        assert_eq!(held.look(&path).unwrap(), Found::Itself(5));
        fs::rename(&path, &aside).unwrap();
        assert_eq!(held.look(&path).unwrap(), Found::Nothing);
        fs::write(&path, b"12345").unwrap();
        assert_eq!(held.look(&path).unwrap(), Found::Another);
        fs::rename(&aside, &path).unwrap();
        assert_eq!(held.look(&path).unwrap(), Found::Itself(5));
        held.file().set_len(2).unwrap();
        assert_eq!(held.look(&path).unwrap(), Found::Itself(2));
    }

    #[test]
    fn where_it_has_no_name_its_length_is_known_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("held");
        fs::write(&path, b"123").unwrap();
        let elsewhere = directory.path().join("elsewhere");
        // As on a file system that numbers a file anew whenever it is asked by path.
        let held = Held::new(File::open(&path).unwrap(), &elsewhere).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(held.look(&path).unwrap(), Found::Itself(3));
    }
}
