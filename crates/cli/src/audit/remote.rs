//! A log in PostgreSQL: copied into a directory, which every command reads.

use std::future::Future;
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

/// The copy has its name when it is whole: what is cut off would look like a log that was.
pub(super) fn pull(log: &Path, to: &Path, output: &mut Output<'_>) -> Result<(), CliError> {
    let Some(server) = server(log)? else {
        let problem =
            "pull copies from postgres://…; a log in a directory is copied as any files are";
        return Err(CliError::Failed(problem.to_owned()));
    };
    let shown = shown_path(to);
    let failed = |error: io::Error| CliError::Failed(format!("{shown}: {error}"));
    if !is_free(to).map_err(failed)? {
        return Err(CliError::Failed(format!("{shown} is not empty")));
    }
    let parent = to.parent().filter(|dir| !dir.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(failed)?;
    let place = Scratch::new(Some(parent))?;
    let events = copy_log(server, &place.log())?;
    fs::rename(place.log(), to).map_err(failed)?;
    output.say(format_args!("{events} events are in {shown}"))
}

/// Whether nothing is there, or an empty directory.
fn is_free(to: &Path) -> io::Result<bool> {
    match fs::read_dir(to) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
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
