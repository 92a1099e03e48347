//! `countersign audit …`: verify a log and ask what happened. Works on a log's directory alone, and
//! needs neither the service nor the key store. A log in PostgreSQL is copied into such a directory
//! first.

mod args;
mod export;
mod file;
mod query;
mod remote;
mod report;
mod scratch;
mod stats;
mod tail;
mod unread;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use countersign::record_read;

use self::args::Reading;
pub(crate) use self::args::{AuditCommand, Filter};
pub(crate) use self::unread::Unread;
use crate::error::CliError;
use crate::output::Output;
use crate::session::operator;

pub(crate) fn run(
    command: &mut AuditCommand,
    actor: Option<&str>,
    output: &mut Output<'_>,
) -> Result<ExitCode, CliError> {
    if let Some(filter) = command.filter() {
        filter.prepare()?;
    }
    tell_of_reading(command, actor.unwrap_or("unknown"))?;
    let _copy = remote::bring_here(command)?;
    let command = &*command;
    match command {
        AuditCommand::Verify(verify) => verify::log(verify, output),
        AuditCommand::CheckProof { vkey, event, proof } => {
            verify::proof(vkey, event, proof, output)
        }
        AuditCommand::Prove {
            directory,
            seq,
            file,
            ..
        } => export::prove(directory, *seq, file, output).map(done),
        AuditCommand::Export {
            directory,
            filter,
            file,
            ..
        } => export::run(directory, filter, file, output).map(done),
        AuditCommand::Pull { directory, to, .. } => remote::pull(directory, to, output).map(done),
        AuditCommand::Remove {
            directory,
            before,
            yes,
        } => {
            let actor = actor.unwrap_or("unknown");
            operator(actor)?;
            remote::remove(directory, *before, *yes, actor, output).map(done)
        }
        AuditCommand::Keygen { origin, file } => export::keygen(origin, file, output).map(done),
        AuditCommand::Query { directory, filter } => {
            query::run(directory, filter, output).map(done)
        }
        AuditCommand::Tail {
            directory,
            filter,
            follow,
            lines,
        } => tail::run(directory, filter, *follow, *lines, output).map(done),
        AuditCommand::Stats { directory, filter } => {
            stats::run(directory, filter, output).map(done)
        }
        AuditCommand::Report {
            directory,
            filter,
            file,
        } => report::run(directory, filter, file, output).map(done),
    }
}

/// Who reads the log is an event of it. A verification shows nothing of what was written.
fn tell_of_reading(command: &AuditCommand, actor: &str) -> Result<(), CliError> {
    let (directory, reading, purpose) = match command {
        AuditCommand::Query { directory, filter } => (directory, filter, "query"),
        AuditCommand::Tail {
            directory, filter, ..
        } => (directory, filter, "tail"),
        AuditCommand::Stats { directory, filter } => (directory, filter, "stats"),
        AuditCommand::Report {
            directory, filter, ..
        } => (directory, filter, "report"),
        AuditCommand::Export {
            directory, filter, ..
        } => (directory, filter, "export"),
        AuditCommand::Prove {
            directory,
            seq,
            reading,
            ..
        } => return leave_word(directory, reading, actor, &format!("prove {seq}")),
        AuditCommand::Pull {
            directory, reading, ..
        } => return leave_word(directory, reading, actor, "pull"),
        AuditCommand::Verify(_)
        | AuditCommand::CheckProof { .. }
        | AuditCommand::Keygen { .. }
        | AuditCommand::Remove { .. } => return Ok(()),
    };
    leave_word_of(directory, reading, actor, purpose)
}

/// Has a log read by a command of another family, as the commands here are: with a filter that is
/// ready, word left of it, and a log on a server copied here.
pub(crate) fn read_log(
    log: &Path,
    filter: &mut Filter,
    (actor, purpose): (&str, &str),
    read: impl FnOnce(&Path, &Filter) -> Result<ExitCode, CliError>,
) -> Result<ExitCode, CliError> {
    filter.prepare()?;
    leave_word_of(log, filter, actor, purpose)?;
    let copy = remote::copy_of(log)?;
    read(copy.as_ref().map_or(log, |(_, copy)| copy), filter)
}

fn leave_word_of(
    directory: &Path,
    filter: &Filter,
    actor: &str,
    purpose: &str,
) -> Result<(), CliError> {
    leave_word(directory, &filter.reading, actor, &filter.purpose(purpose))
}

fn leave_word(
    directory: &Path,
    reading: &Reading,
    actor: &str,
    purpose: &str,
) -> Result<(), CliError> {
    if reading.unrecorded {
        return Ok(());
    }
    operator(actor)?;
    let left = match remote::server(directory)? {
        Some(server) => remote::record_read(server, actor, purpose)?,
        // Where there is no log, the command itself says so.
        None if !directory.join("vkey").exists() => Ok(()),
        None => record_read(directory, actor, purpose),
    };
    left.map_err(|error| {
        CliError::Failed(format!(
            "no word of this reading can be left in the log: {}; --unrecorded reads it all the same",
            crate::error::chain(&error)
        ))
    })
}

const fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}
