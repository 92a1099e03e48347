//! Files that something of a log is written into.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::error::CliError;

/// What was audited is not for everybody on the machine.
pub(super) fn private(file: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

pub(super) fn write(file: &Path, content: &[u8]) -> Result<(), CliError> {
    private(file)
        .and_then(|mut file| file.write_all(content))
        .map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))
}
