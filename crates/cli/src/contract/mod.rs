//! `countersign contract …`: works on documents and on a log's directory, and needs neither the
//! service nor the key store.

mod usage;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use countersign::openapi::{DocumentError, OpenApi};
use countersign::{Contract, Endpoint, RequiredScopes};
use serde_json::json;

use crate::audit::{Filter, read_log};
use crate::error::CliError;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum ContractCommand {
    /// Checks an OpenAPI document and lists its endpoints; exit code 1 when it is no contract
    Check {
        /// The document, YAML or JSON
        file: PathBuf,
    },
    /// Tells what changed between two documents; exit code 1 when callers of the old one break
    Diff {
        /// The document that callers know
        old: PathBuf,
        /// The document that takes its place
        new: PathBuf,
    },
    /// Writes the document for outside callers: the open endpoints, with every refusal
    Export {
        /// The document
        file: PathBuf,
        /// Where to write it, in JSON where the name ends in `.json`; standard output unless given
        #[arg(short = 'o', long = "output", value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Shows which companies use what is deprecated, and who still calls what is retired
    Usage {
        /// The audit log: a directory, or `postgres://…`
        directory: PathBuf,
        #[command(flatten)]
        filter: Box<Filter>,
    },
}

pub(crate) fn run(
    command: &mut ContractCommand,
    actor: Option<&str>,
    output: &mut Output<'_>,
) -> Result<ExitCode, CliError> {
    match command {
        ContractCommand::Check { file } => check(file, output),
        ContractCommand::Diff { old, new } => diff(old, new, output),
        ContractCommand::Export { file, output: to } => export(file, to.as_deref(), output),
        ContractCommand::Usage { directory, filter } => {
            let actor = actor.unwrap_or("unknown");
            let word = (actor, "contract usage");
            read_log(directory, filter, word, |log, filter| {
                usage::run(log, filter, output)
            })
        }
    }
}

/// The contract that a document describes.
pub(crate) fn of(file: &Path) -> Result<Contract, CliError> {
    let read = read(file)?.and_then(|document| document.contract());
    read.map_err(|error| refused(&error))
}

fn check(file: &Path, output: &mut Output<'_>) -> Result<ExitCode, CliError> {
    let read = read(file)?.and_then(|document| document.contract());
    match read {
        Ok(contract) => list(&contract, output).map(|()| ExitCode::SUCCESS),
        Err(error) => tell(&error, output).map(|()| ExitCode::from(1)),
    }
}

fn list(contract: &Contract, output: &mut Output<'_>) -> Result<(), CliError> {
    if output.is_json() {
        let endpoints = contract.endpoints().map(as_json);
        return output.value(&json!({"ok": true, "endpoints": endpoints.collect::<Vec<_>>()}));
    }
    let head = [
        "METHOD",
        "PATH",
        "SCOPE",
        "OPERATION",
        "SENSITIVITY",
        "STAGE",
        "COST",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(contract.endpoints().map(|endpoint| {
        vec![
            endpoint.method().to_string(),
            endpoint.template().to_owned(),
            scopes(endpoint),
            endpoint.operation().to_string(),
            endpoint.sensitivity().as_str().to_owned(),
            endpoint.stage().to_string(),
            endpoint.call_cost().to_string(),
        ]
    }));
    output.table(&rows)?;
    if contract.registry().is_some_and(|it| it.allows_wildcards()) {
        output
            .say("wildcards are switched on: `resource:*` stands for all scopes of a resource")?;
    }
    Ok(())
}

fn as_json(endpoint: &Endpoint) -> serde_json::Value {
    let rule = endpoint.required_scopes();
    let alternatives = rule.into_iter().flat_map(RequiredScopes::alternatives);
    json!({
        "method": endpoint.method().as_str(),
        "path": endpoint.template(),
        "scopes": alternatives.collect::<Vec<_>>(),
        "operation": endpoint.operation().as_str(),
        "sensitivity": endpoint.sensitivity().as_str(),
        "stage": endpoint.stage().as_str(),
        "cost": endpoint.call_cost(),
        "sunset": endpoint.deprecation().and_then(|it| it.sunset()),
    })
}

fn scopes(endpoint: &Endpoint) -> String {
    let rule = endpoint.required_scopes();
    rule.map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn tell(error: &DocumentError, output: &mut Output<'_>) -> Result<(), CliError> {
    if output.is_json() {
        let faults = error.faults().iter();
        let faults = faults.map(|fault| json!({"at": fault.at(), "problem": fault.problem()}));
        let faults: Vec<_> = faults.collect();
        return output.value(&json!({"ok": false, "file": error.file(), "faults": faults}));
    }
    for line in error.to_string().lines() {
        output.say(line)?;
    }
    Ok(())
}

fn diff(old: &Path, new: &Path, output: &mut Output<'_>) -> Result<ExitCode, CliError> {
    let (old, new) = (
        read(old)?.map_err(|error| refused(&error))?,
        read(new)?.map_err(|error| refused(&error))?,
    );
    let changes = new.changes_since(&old).map_err(|error| refused(&error))?;
    let breaks = changes.iter().any(|change| change.is_breaking());
    if output.is_json() {
        let all = changes.iter().map(|change| {
            json!({
                "endpoint": change.endpoint(),
                "breaking": change.is_breaking(),
                "change": change.text(),
            })
        });
        output.value(&all.collect::<Vec<_>>())?;
    } else {
        let head = ["CALLERS", "ENDPOINT", "CHANGE"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(changes.iter().map(|change| {
            let kind = if change.is_breaking() { "break" } else { "ok" };
            vec![
                kind.to_owned(),
                change.endpoint().to_owned(),
                change.text().to_owned(),
            ]
        }));
        output.table(&rows)?;
    }
    Ok(ExitCode::from(u8::from(breaks)))
}

fn export(file: &Path, to: Option<&Path>, output: &mut Output<'_>) -> Result<ExitCode, CliError> {
    let document = read(file)?.map_err(|error| refused(&error))?;
    let published = document.published().map_err(|error| refused(&error))?;
    let is_json = match to {
        Some(to) => to.extension().is_some_and(|end| end == "json"),
        None => output.is_json(),
    };
    let mut text = if is_json {
        published.to_json()
    } else {
        published.to_yaml()
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    match to {
        Some(to) => fs::write(to, text)
            .map_err(|error| CliError::Failed(format!("{}: {error}", to.display())))?,
        None => output.raw(text.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A document that is wrong is an answer; a file that can't be opened is not.
fn read(file: &Path) -> Result<Result<OpenApi, DocumentError>, CliError> {
    match File::open(file) {
        Ok(_) => Ok(OpenApi::read(file)),
        Err(error) => Err(CliError::Failed(format!("{}: {error}", file.display()))),
    }
}

fn refused(error: &DocumentError) -> CliError {
    CliError::Refused(format!("it is no contract\n{error}"))
}
