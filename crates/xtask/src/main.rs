//! The project's own chores, run as `cargo xtask <chore>`.
//!
//! | chore | what it does |
//! |---|---|
//! | `test` | formatting, lints, documentation and all tests, those that need a server included |
//! | `bench [--quick]` | the performance budget with today's figures |
//! | `timing [--quick]` | whether the time of a refusal tells which key prefixes are known |
//! | `vectors DIR` | replays test vectors against this code |
//! | `drill NAME [--short]` | revocation, kills, outages and a fleet's limits with real processes |
//! | `fuzz TARGET SECONDS` | looks for input that breaks a parser or a log |
//! | `crash [ROUNDS]` | kills a process under load, fills its disk, makes its system calls fail: the audit log loses nothing |
//! | `servers COMMAND…` | runs a command beside a throw-away PostgreSQL, Redis and Redis Cluster |
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the output of a command line tool"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a command line tool waits for real processes in real time, on a thread of its own"
)]

mod bench;
mod crash;
mod drill;
mod fuzz;
mod python;
mod servers;
mod step;
mod test;
mod timing;
mod vectors;
mod workspace;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::drill::Scale;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["test"] => test::run(),
        ["bench"] => bench::run(false),
        ["bench", "--quick"] => bench::run(true),
        ["timing"] => timing::run(false),
        ["timing", "--quick"] => timing::run(true),
        ["drill", name] => drill::run(name, Scale::Full),
        ["drill", name, "--short"] => drill::run(name, Scale::Short),
        ["fuzz", target, seconds] => fuzz::run(target, seconds),
        ["vectors", directory] => vectors::run(directory.as_ref()),
        ["crash"] => crash::run(300),
        ["crash", rounds] => crash::run(rounds.parse().context("how many rounds")?),
        ["crash-child", directory] => crash::child(directory.as_ref(), false),
        ["crash-child", directory, "slowly"] => crash::child(directory.as_ref(), true),
        ["fleet-node", address, company, seconds] => drill::run_node(address, company, seconds),
        ["servers", ref command @ ..] if !command.is_empty() => servers::run(command),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("there is no such chore\n\n{USAGE}"),
    }
}

const USAGE: &str = "\
usage: cargo xtask <chore>

  test               formatting, lints, documentation, all tests
  bench [--quick]    the performance budget with today's figures
  timing [--quick]   whether the time of a refusal tells which key prefixes are known
  vectors DIR        replays the test vectors found in DIR
  drill NAME [--short]
                     holds the promises about revocation, kill, outage and fleet (or all of them)
                     against real processes
  fuzz TARGET SECONDS
                     looks for input that breaks a parser or a log, with libFuzzer
  crash [ROUNDS]     kills a process under load, fills its disk and makes its system calls
                     fail: the audit log loses nothing
  servers COMMAND…   runs COMMAND beside a throw-away PostgreSQL, Redis and Redis Cluster, whose
                     addresses it finds in COUNTERSIGN_TEST_POSTGRES, COUNTERSIGN_TEST_REDIS and
                     COUNTERSIGN_TEST_REDIS_CLUSTER, and NATS's program in
                     COUNTERSIGN_TEST_NATS_SERVER";
