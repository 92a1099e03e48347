//! `countersign audit …`: verify a log and ask what happened. Works on a log's directory alone, and
//! needs neither the service nor the key store.

mod args;
mod export;
mod query;
mod report;
mod stats;
mod tail;
mod verify;

use std::process::ExitCode;

pub(crate) use self::args::AuditCommand;
use crate::error::CliError;
use crate::output::Output;

pub(crate) fn run(command: &AuditCommand, output: &mut Output<'_>) -> Result<ExitCode, CliError> {
    match command {
        AuditCommand::Verify(verify) => verify::log(verify, output),
        AuditCommand::CheckProof { vkey, event, proof } => {
            verify::proof(vkey, event, proof, output)
        }
        AuditCommand::Prove {
            directory,
            seq,
            file,
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

const fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}
