//! The operators' command line. Raw keys go to standard output, once and alone; what is said about
//! them goes to standard error. Exit codes: 0 done, 1 refused or not found, 2 could not.

mod args;
mod run;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::run::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run::run(args)),
        Err(error) => Err(Failure::could_not(&error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where standard error is closed, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "countersign: {failure}");
            failure.code()
        }
    }
}
