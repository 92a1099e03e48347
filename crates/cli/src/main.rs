//! `countersign`: keys, companies, contracts and the audit log from the command line.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | it was done |
//! | 1 | it was refused, or there is no such key or company; nothing was changed |
//! | 2 | it could not be done: the store failed, or the command makes no sense |
//! | 6 | it is done, but the answer could not be written; doing it again would do it twice |
//!
//! `audit verify` and `audit check-proof` have more answers, 3 to 5.
//!
//! `keys issue` and `keys rotate` write the raw key, alone, to standard output: it is there this
//! once. What is meant for people goes to standard error, tables and `--json` to standard output.

mod args;
mod audit;
mod companies;
mod contract;
mod error;
mod import;
mod keys;
mod leak;
mod output;
mod peppers;
mod review;
mod session;
mod shape;
mod store;
mod values;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{Args, Command};
use crate::error::CliError;
use crate::output::{Output, printable};
use crate::session::Session;
use crate::shape::redacted;

fn main() -> ExitCode {
    let mut args = Args::try_parse().unwrap_or_else(|error| refuse(&error));
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let mut output = Output::new(&mut out, &mut err, args.json);
    let answers_alone = args.command.answers_alone();
    match run(&mut args, &mut output) {
        Ok(code) => code,
        Err(error) => {
            let error = match answers_alone {
                true => error,
                false => error.after_the_deed(),
            };
            // Where standard error is closed too, the exit code is all that is left to say.
            let _ = writeln!(err, "countersign: {}", shown(&error));
            error.exit_code()
        }
    }
}

/// An error as a terminal may show it. A document with many faults says each in a line of its own.
fn shown(error: &CliError) -> String {
    let text = redacted(&error.to_string());
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

/// Clap repeats what it can't make sense of, and that may be a whole key.
fn refuse(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    let safe = redacted(&text);
    if safe == text {
        error.exit();
    }
    // Where standard error is closed too, the exit code is all that is left to say.
    let _ = write!(io::stderr(), "{safe}");
    std::process::exit(error.exit_code());
}

fn run(args: &mut Args, output: &mut Output<'_>) -> Result<ExitCode, CliError> {
    match &mut args.command {
        Command::Audit(command) => return audit::run(command, args.actor.as_deref(), output),
        Command::Contract(command) => return contract::run(command, args.actor.as_deref(), output),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        match &args.command {
            Command::Keys(command) => keys::run(args, command, output).await,
            Command::Companies(command) => {
                let session = Session::open(args).await?;
                companies::run(&session, command, output).await
            }
            Command::Review(review) => {
                let session = Session::open(args).await?;
                review::run(&session, review, output).await
            }
            Command::Completions { shell } => completions(*shell, output),
            Command::Audit(_) | Command::Contract(_) => Ok(()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn completions(shell: clap_complete::Shell, output: &mut Output<'_>) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "countersign", &mut script);
    output.raw(&script)
}
