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

use client::Load;
use http::StatusCode;
use server::{Kind, Server};
use support::figures::{Effort, median, tell};
use support::keys;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [serve, kind, directory] = &arguments[..]
        && serve == "serve"
    {
        let kind = Kind::named(kind).expect("a kind that this program named itself");
        return server::serve(kind, directory.as_ref());
    }
    let effort = Effort::from_arguments();
    let directory = tempfile::tempdir()?;
    let start = |kind| Server::start(kind, directory.path());
    let [bare, a] = [start(Kind::Bare)?, start(Kind::AssembledA)?];
    let key = &keys::generate(server::KEYS)[0];
    let loads = [
        ("bare", Load::new(bare.port(), key, StatusCode::OK)),
        ("assembled A", Load::new(a.port(), key, StatusCode::OK)),
    ];
    let mut rates = loads.each_ref().map(|_| Vec::new());
    for round in 0..=ROUNDS {
        for ((_, load), rates) in loads.iter().zip(&mut rates) {
            let rate = load.run(duration(effort));
            // The first round only warms up.
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    for ((name, _), rates) in loads.iter().zip(rates) {
        tell(&format!("loopback, {name}"), median(rates), "requests/s");
    }
    Ok(())
}

fn duration(effort: Effort) -> Duration {
    Duration::from_millis(effort.of(1500) as u64)
}

const ROUNDS: usize = 5;
