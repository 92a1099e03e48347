//! What a crash left of a last line is moved to a file of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use super::super::disk::{Disk, beside, private};

/// Moves what follows the good bytes of a segment to a file beside it.
pub(super) fn set_aside(disk: &Disk, path: &Path, good: u64) -> io::Result<()> {
    let mut segment = OpenOptions::new().read(true).write(true).open(path)?;
    segment.seek(SeekFrom::Start(good))?;
    let mut aside = new_aside(path)?;
    io::copy(&mut segment, &mut aside)?;
    disk.sync(&aside)?;
    if let Some(directory) = path.parent() {
        disk.sync_directory(directory)?;
    }
    // Only now: a crash in between leaves the tail in both places, and in none never.
    segment.set_len(good)?;
    disk.sync(&segment)
}

/// A new file beside `path`: `.torn`, or `.torn.2` and so on where that was taken.
fn new_aside(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    private(options.write(true).create_new(true));
    let others = (2..=u32::MAX).map(|number| format!(".torn.{number}"));
    for suffix in std::iter::once(".torn".to_owned()).chain(others) {
        match options.open(beside(path, &suffix)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other,
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_can_t_be_made_is_not_tried_under_other_names() {
        let directory = tempfile::tempdir().unwrap();
        let refused = new_aside(&directory.path().join("absent/segment"));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
