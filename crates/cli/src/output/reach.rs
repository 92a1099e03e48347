//! Whether anybody gets what is written to standard output.

use std::io;

use crate::error::CliError;

/// Refuses where a key would be lost that is written, this once, to standard output: it is closed,
/// `/dev/null`, or takes nothing. A pipe that nobody reads any more can't be told from one that
/// somebody does.
pub(crate) fn check() -> Result<(), CliError> {
    let lost = |why: &str| {
        CliError::Failed(format!(
            "standard output {why}: the key would be lost, and none is made"
        ))
    };
    match goes_nowhere() {
        Ok(false) => Ok(()),
        Ok(true) => Err(lost("is closed or /dev/null")),
        Err(error) => Err(lost(&format!("can't be written ({error})"))),
    }
}

/// A program that begins with a closed standard output has `/dev/null` in its place.
#[cfg(unix)]
fn goes_nowhere() -> io::Result<bool> {
    use std::fs::{self, File};
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    // Of no byte at all: a full device and one that is open for reading alone refuse even that.
    let _ = out.write(&[])?;
    let kind = out.metadata()?;
    let null = fs::metadata("/dev/null").map(|null| null.rdev());
    Ok(kind.file_type().is_char_device() && null.is_ok_and(|null| null == kind.rdev()))
}

#[cfg(not(unix))]
fn goes_nowhere() -> io::Result<bool> {
    Ok(false)
}
