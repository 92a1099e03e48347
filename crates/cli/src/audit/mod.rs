//! `countersign audit …`: verify a log and ask what happened. Works on a log's directory alone, and
//! needs neither the service nor the key store.

mod args;
mod export;
mod query;
mod report;
mod stats;
mod tail;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use countersign::record_read;

use self::args::Reading;
pub(crate) use self::args::{AuditCommand, Filter};
use crate::error::CliError;
use crate::output::Output;

pub(crate) fn run(
    command: &AuditCommand,
    actor: Option<&str>,
    output: &mut Output<'_>,
) -> Result<ExitCode, CliError> {
    tell_of_reading(command, actor.unwrap_or("unknown"))?;
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
        } => export::run(directory, filter, file, output).map(done),
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
        AuditCommand::Verify(_) | AuditCommand::CheckProof { .. } | AuditCommand::Keygen { .. } => {
            return Ok(());
        }
    };
    leave_word_of(directory, reading, actor, purpose)
}

/// Leaves word of a reading of the events that pass a filter.
pub(crate) fn leave_word_of(
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
    // Where there is no log, the command itself says so.
    if reading.unrecorded || !directory.join("vkey").exists() {
        return Ok(());
    }
    record_read(directory, actor, purpose).map_err(|error| {
        CliError::Failed(format!(
            "no word of this reading can be left in the log: {}; --unrecorded reads it all the same",
            crate::error::chain(&error)
        ))
    })
}

const fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}
