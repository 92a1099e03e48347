//! Which file a store is, and who may read it.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use countersign_core::StoreError;

use crate::error::unavailable;

/// Which file stands at a path: its device and its number there. Elsewhere than on Unix it is not
/// known, and every file is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId(#[cfg(unix)] (u64, u64));

impl FileId {
    /// Asks by path alone. A file that is opened and closed again would take the locks with it that
    /// this process has on it, SQLite's too.
    pub(crate) fn of(path: &Path) -> Result<Self, StoreError> {
        let file = fs::metadata(path).map_err(unavailable)?;
        Ok(Self::from_metadata(&file))
    }

    #[cfg(unix)]
    fn from_metadata(file: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self((file.dev(), file.ino()))
    }

    #[cfg(not(unix))]
    const fn from_metadata(_: &fs::Metadata) -> Self {
        Self()
    }

    /// Fails when this file does not stand at `path` any more.
    pub(crate) fn check(self, path: &Path) -> Result<(), StoreError> {
        if Self::of(path)? == self {
            return Ok(());
        }
        Err(unavailable("another file stands where the store was"))
    }
}

/// SQLite would make its file with the process's usual mode; its companions take over this one. A
/// file that is there is not opened, for the sake of SQLite's locks.
pub(crate) fn make_if_absent(path: &Path) -> Result<(), StoreError> {
    let mut options = private();
    match options.write(true).create_new(true).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(unavailable(error)),
        _ => Ok(()),
    }
}

/// Opens or makes a file of this process's user alone. A file that was there and is open to others
/// is closed to them.
pub(crate) fn private_file(path: &Path) -> Result<File, StoreError> {
    let mut options = private();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path).map_err(unavailable)?;
    close_to_others(path)?;
    Ok(file)
}

fn private() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "modes are unix's"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg_attr(
    not(unix),
    expect(
        unused_variables,
        clippy::unnecessary_wraps,
        reason = "modes are unix's"
    )
)]
pub(crate) fn close_to_others(path: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .map_err(unavailable)?;
    Ok(())
}
