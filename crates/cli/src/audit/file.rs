//! Files that something of a log is written into.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::CliError;

/// A file that comes to its place when it is whole: until then, and for good where anything fails,
/// what was there before stays. Its owner alone may read it, for what was audited is not for
/// everybody on the machine.
pub(super) struct NewFile {
    name: PathBuf,
    into: Target,
}

enum Target {
    /// A file beside the place where it is to be.
    Place(NamedTempFile, PathBuf),
    /// A pipe or a device: there is nothing that could be replaced.
    Stream(File),
}

impl NewFile {
    /// A file that is to be `name`, which is no file of the log in `log`.
    pub(super) fn new(log: &Path, name: &Path) -> Result<Self, CliError> {
        let failed = |error| failed(name, &error);
        let place = place(name).map_err(failed)?;
        if belongs_to(log, &place) {
            let problem = format!(
                "{}: it belongs to the log; name a file elsewhere",
                name.display()
            );
            return Err(CliError::Refused(problem));
        }
        let into = Target::open(name, place).map_err(failed)?;
        let name = name.to_owned();
        Ok(Self { name, into })
    }

    pub(super) fn write(mut self, content: &[u8]) -> Result<(), CliError> {
        let written = self.write_all(content);
        written.map_err(|error| failed(&self.name, &error))?;
        self.finish()
    }

    /// The file is whole.
    pub(super) fn finish(self) -> Result<(), CliError> {
        let finished = match self.into {
            Target::Place(file, place) => file.as_file().sync_all().and_then(|()| {
                let moved = file.persist(place);
                moved.map(drop).map_err(|error| error.error)
            }),
            Target::Stream(mut file) => file.flush(),
        };
        finished.map_err(|error| failed(&self.name, &error))
    }
}

impl Target {
    fn open(name: &Path, place: PathBuf) -> io::Result<Self> {
        match fs::metadata(name) {
            Ok(found) if found.is_dir() => return Err(ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => {
                let file = OpenOptions::new().write(true).open(name)?;
                return Ok(Self::Stream(file));
            }
            _ => {}
        }
        let mut builder = tempfile::Builder::new();
        let beside = place.parent().unwrap_or(Path::new("/"));
        let file = builder.prefix("countersign-").tempfile_in(beside)?;
        Ok(Self::Place(file, place))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.into {
            Target::Place(file, _) => file.write(bytes),
            Target::Stream(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.into {
            Target::Place(file, _) => file.flush(),
            Target::Stream(file) => file.flush(),
        }
    }
}

/// Where a name leads, whatever links it goes through.
fn place(name: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let file = name.file_name().ok_or(ErrorKind::InvalidFilename)?;
            let parent = name.parent().filter(|dir| !dir.as_os_str().is_empty());
            Ok(fs::canonicalize(parent.unwrap_or(Path::new(".")))?.join(file))
        }
        place => place,
    }
}

/// Whether the file is in the log's directory, or the signing key that is beside it unless set
/// otherwise. Of a log that is not there no file can be.
fn belongs_to(log: &Path, place: &Path) -> bool {
    let Ok(log) = fs::canonicalize(log) else {
        return false;
    };
    let mut key = log.clone().into_os_string();
    key.push(".key");
    place.starts_with(log) || place.as_os_str() == key
}

fn failed(name: &Path, error: &io::Error) -> CliError {
    CliError::Failed(format!("{}: {error}", name.display()))
}
