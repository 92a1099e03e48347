//! A log in PostgreSQL: copied into a directory, which every command reads.

use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{fs, io};

use countersign::postgres::PostgresOptions;
use countersign::postgres::audit;
use countersign::{StoreError, Timestamp};

use super::AuditCommand;
use super::scratch::Scratch;
use crate::error::{CliError, chain};
use crate::keys;
use crate::output::Output;
use crate::shape::shown_path;

/// The server, if it is one that is named.
pub(super) fn server(log: &Path) -> Result<Option<PostgresOptions>, CliError> {
    let address = log.to_str().filter(|text| {
        let known = ["postgres://", "postgresql://"];
        known.iter().any(|scheme| text.starts_with(scheme))
    });
    let Some(address) = address else {
        return Ok(None);
    };
    let mut options: PostgresOptions = address.parse()?;
    if let Some(password) = std::env::var_os("PGPASSWORD").filter(|_| !options.has_password()) {
        options = options.password(password.as_encoded_bytes());
    }
    Ok(Some(options))
}

/// Copies the command's log into a directory that goes with the value, if it is on a server, and
/// lets the command be about the copy.
pub(super) fn bring_here(command: &mut AuditCommand) -> Result<Option<Scratch>, CliError> {
    let follows = matches!(command, AuditCommand::Tail { follow: true, .. });
    if matches!(command, AuditCommand::Pull { .. }) {
        return Ok(None);
    }
    let Some(log) = command.log() else {
        return Ok(None);
    };
    if follows && server(log)?.is_some() {
        let problem = "-f follows a log in a directory; this one is in PostgreSQL";
        return Err(CliError::Failed(problem.to_owned()));
    }
    let Some((place, copy)) = copy_of(log)? else {
        return Ok(None);
    };
    *log = copy;
    Ok(Some(place))
}

/// A copy of the log in a directory that goes with the value, if the log is on a server.
pub(super) fn copy_of(log: &Path) -> Result<Option<(Scratch, PathBuf)>, CliError> {
    let Some(server) = server(log)? else {
        return Ok(None);
    };
    let place = Scratch::new(None)?;
    let copy = place.log();
    copy_log(server, &copy)?;
    Ok(Some((place, copy)))
}

/// The copy is in its place when it is whole: what is cut off would look like a log that was.
pub(super) fn pull(log: &Path, to: &Path, output: &mut Output<'_>) -> Result<(), CliError> {
    let Some(server) = server(log)? else {
        let problem =
            "pull copies from postgres://…; a log in a directory is copied as any files are";
        return Err(CliError::Failed(problem.to_owned()));
    };
    let shown = shown_path(to);
    let failed = |error: io::Error| CliError::Failed(format!("{shown}: {error}"));
    let target = Target::find(to).map_err(failed)?;
    let place = Scratch::new(Some(target.workplace()))?;
    let events = copy_log(server, &place.log())?;
    target.take(&place.log()).map_err(failed)?;
    output.say(format_args!("{events} events are in {shown}"))
}

/// Where a copy is to be.
enum Target<'a> {
    /// There is nothing yet, and this directory is to have it.
    New { to: &'a Path, parent: &'a Path },
    /// An empty directory: it may be one that can't be replaced, a mount point for example.
    Empty(&'a Path),
}

impl<'a> Target<'a> {
    fn find(to: &'a Path) -> io::Result<Self> {
        match fs::read_dir(to) {
            Ok(mut entries) => match entries.next() {
                None => Ok(Self::Empty(to)),
                Some(_) => Err(io::Error::other("it is not empty")),
            },
            // A link that leads nowhere is something.
            Err(error) if error.kind() == ErrorKind::NotFound && !to.is_symlink() => {
                let parent = to.parent().filter(|dir| !dir.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new("."));
                fs::create_dir_all(parent)?;
                Ok(Self::New { to, parent })
            }
            Err(error) => Err(error),
        }
    }

    /// A directory on the same file system.
    const fn workplace(&self) -> &'a Path {
        match self {
            Self::New { parent, .. } => parent,
            Self::Empty(to) => to,
        }
    }

    fn take(&self, copy: &Path) -> io::Result<()> {
        match self {
            Self::New { to, .. } => fs::rename(copy, to),
            Self::Empty(to) => move_up(copy, to),
        }
    }
}

/// Moves the files of a copy. The key comes last: what has none is no log to anybody.
fn move_up(copy: &Path, to: &Path) -> io::Result<()> {
    let entries = fs::read_dir(copy)?;
    let names = entries.map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort_by_key(|name| name == "vkey");
    let mut names = names.iter();
    names.try_for_each(|name| fs::rename(copy.join(name), to.join(name)))
}

pub(super) fn remove(
    log: &Path,
    before: Timestamp,
    yes: bool,
    actor: &str,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let Some(server) = server(log)? else {
        let problem = "remove is for postgres://…; a log in a directory keeps its lines for as \
                       long as `keep_for` and `keep_bytes` say";
        return Err(CliError::Failed(problem.to_owned()));
    };
    if before > keys::now() {
        let problem = "--before is a time to come, and all lines are older: name one that is past";
        return Err(CliError::Refused(problem.to_owned()));
    }
    if !yes {
        let problem = "lines that are removed never come back: verify the log and copy it with \
                       `audit pull`, then add --yes";
        return Err(CliError::Refused(problem.to_owned()));
    }
    let removed = wait_for(audit::remove_lines(server, before, actor))?;
    let removed = removed.map_err(|error| {
        CliError::Failed(format!("could not remove the lines: {}", chain(&error)))
    })?;
    output.say(format_args!(
        "{removed} lines are removed; their hashes stay"
    ))
}

pub(super) fn record_read(
    server: PostgresOptions,
    actor: &str,
    purpose: &str,
) -> Result<Result<(), StoreError>, CliError> {
    wait_for(audit::record_read(server, actor, purpose))
}

fn copy_log(server: PostgresOptions, to: &Path) -> Result<u64, CliError> {
    let copied = wait_for(audit::copy_log(server, to))?;
    copied.map_err(|error| CliError::Failed(format!("could not copy the log: {}", chain(&error))))
}

fn wait_for<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("no runtime: {error}")))?;
    Ok(runtime.block_on(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_taken_by_what_is_not_there_or_empty_and_by_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir(at("empty")).unwrap();
        fs::create_dir_all(at("full/x")).unwrap();
        for name in ["empty", "new", "a/b"] {
            let to = at(name);
            let target = Target::find(&to).unwrap();
            let copy = target.workplace().join("countersign-x/log");
            fs::create_dir_all(copy.join("segments")).unwrap();
            fs::write(copy.join("vkey"), "key").unwrap();
            fs::write(copy.join("checkpoint"), "note").unwrap();
            target.take(&copy).unwrap();
            let there = ["segments", "vkey", "checkpoint"];
            assert!(there.iter().all(|file| to.join(file).exists()), "{name}");
        }
        for name in ["full", "full/x/../../empty"] {
            let to = at(name);
            assert!(Target::find(&to).is_err(), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_an_empty_directory_stays_one_and_a_link_to_nothing_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir(at("empty")).unwrap();
        for (link, to) in [("link", "empty"), ("nowhere", "none")] {
            std::os::unix::fs::symlink(to, at(link)).unwrap();
        }
        assert!(Target::find(&at("nowhere")).is_err());
        let link = at("link");
        let target = Target::find(&link).unwrap();
        let copy = target.workplace().join("countersign-x/log");
        fs::create_dir_all(&copy).unwrap();
        fs::write(copy.join("vkey"), "key").unwrap();
        target.take(&copy).unwrap();
        assert!(link.is_symlink() && at("empty/vkey").exists());
    }
}
