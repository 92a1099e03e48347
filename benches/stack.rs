//! What the whole stack costs beside what a service can assemble from other crates, in one run.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod support;

use http::StatusCode;
use support::caller::Callers;
use support::figures::{Effort, median, tell};
use support::keys::{self, Draw};
use support::limits::{self, Governor};
use support::{api, assembled_a, assembled_b, drive, threads};

fn main() {
    let effort = Effort::from_arguments();
    let keys = keys::generate(1000);
    let callers = Callers::new(&keys);
    let stacks = [
        ("bare router", api::bare()),
        ("assembled A", assembled_a::router(callers.clone(), drop)),
        ("assembled B", assembled_b::router(callers, drop)),
    ];
    let runtime = drive::runtime();
    let count = effort.of(100_000);
    let mut times = stacks.each_ref().map(|_| Vec::new());
    for round in 0..=effort.rounds {
        for ((_, router), times) in stacks.iter().zip(&mut times) {
            let mut draw = Draw::from(&keys);
            let time = drive::time(&runtime, router, &mut draw, StatusCode::OK, count);
            // The first round only warms up.
            if round > 0 {
                times.push(time.as_nanos() as f64 / count as f64);
            }
        }
    }
    for ((name, _), times) in stacks.iter().zip(times) {
        tell(&format!("time, {name}"), median(times), "ns");
    }
    limit_checks(effort);
}

fn limit_checks(effort: Effort) {
    let governor = Governor::new();
    for threads in [1, 2] {
        let rates = (0..effort.rounds)
            .map(|_| threads::rate(vec![governor.clone(); threads], effort.of(100)));
        let nanos = 1e9 * threads as f64 / median(rates) / limits::CHECKS as f64;
        tell(
            &format!("keyed check, governor, {threads} threads"),
            nanos,
            "ns",
        );
    }
}
