//! The stack in a server with real sockets: 64 connections over loopback, server and client on
//! the same processors, the audit written to a file.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[path = "loopback/client.rs"]
mod client;
#[path = "loopback/server.rs"]
mod server;
mod support;

use std::env;
use std::time::Duration;

use server::{Kind, Server};
use support::figures::{Effort, median, tell};

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [serve, kind, directory] = &arguments[..]
        && serve == "serve"
    {
        let kind = Kind::named(kind).expect("a kind that this program named itself");
        return server::serve(kind, directory.as_ref());
    }
    let effort = Effort::from_arguments();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let start = |kind| Server::start(kind, directory.path());
    let [bare, a, ours] = [
        start(Kind::Bare)?,
        start(Kind::AssembledA)?,
        start(Kind::Ours)?,
    ];
    let loads = [
        bare.allowed("bare"),
        a.allowed("assembled A"),
        ours.allowed("ours"),
        ours.refused("ours, garbage refused"),
    ];
    let rounds: Vec<_> = (0..=ROUNDS)
        .map(|_| loads.each_ref().map(|load| load.run(duration(effort))))
        // The first round only warms up.
        .skip(1)
        .collect();
    for (number, load) in loads.iter().enumerate() {
        let rates = rounds.iter().map(|round| round[number]);
        tell(
            &format!("loopback, {}", load.name()),
            median(rates),
            "requests/s",
        );
    }
    let with = rounds.iter().map(|[bare, _, ours, _]| ours / bare);
    tell("loopback: requests/s with ÷ without", median(with), "");
    let refused = rounds.iter().map(|[.., ours, refused]| refused / ours);
    tell(
        "loopback: requests/s refused ÷ allowed",
        median(refused),
        "",
    );
    Ok(())
}

fn duration(effort: Effort) -> Duration {
    Duration::from_millis(effort.of(1500) as u64)
}

const ROUNDS: usize = 5;
