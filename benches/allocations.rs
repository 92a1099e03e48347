//! How often the stacks allocate, and how much an idle key holds. A program of its own, because
//! counting slows every allocation down and would distort the times.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod support;

use allocation_counter::measure;
use axum::Router;
use http::StatusCode;
use support::caller::Callers;
use support::figures::tell;
use support::keys::{self, Draw};
use support::{api, assembled_a, assembled_b, drive};

fn main() {
    let keys = keys::generate(1);
    let callers = Callers::new(&keys);
    let bare = per_request(&api::bare(), &keys);
    tell("allocations, bare router", bare, "");
    let a = assembled_a::router(callers.clone(), drop);
    tell(
        "allocations added, assembled A",
        per_request(&a, &keys) - bare,
        "",
    );
    let b = assembled_b::router(callers, drop);
    tell(
        "allocations added, assembled B",
        per_request(&b, &keys) - bare,
        "",
    );
}

/// The allocations of one allowed request, its making not counted; an average, because channels
/// allocate by blocks.
fn per_request(router: &Router, keys: &[String]) -> f64 {
    let runtime = drive::runtime();
    let mut draw = Draw::from(keys);
    let mut run = |count| {
        let requests = drive::requests(&mut draw, count);
        let calls = drive::run(router, requests, StatusCode::OK);
        measure(|| runtime.block_on(calls)).count_total
    };
    run(COUNT);
    let total = run(COUNT);
    (total as f64 / COUNT as f64 * 10.0).round() / 10.0
}

const COUNT: usize = 3200;
