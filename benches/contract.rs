//! Whether the size of a platform is felt by a request: the scope test with few and with many
//! scopes, the look-up in a small and in a large contract, side by side.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[path = "support/figures.rs"]
mod figures;

use std::hint::black_box;
use std::time::Instant;

use countersign::{Contract, Endpoint, RequiredScopes, Scope, ScopeSet};
use figures::{Effort, median, tell};
use http::Method;

fn main() {
    let effort = Effort::from_arguments();
    scopes(effort);
    endpoints(effort);
}

/// A key that has half of all scopes, and endpoints that ask for each of them in turn.
fn scopes(effort: Effort) {
    let platforms = [10, 1000].map(|count| {
        let scopes: Vec<Scope> = (0..count)
            .map(|number| {
                let name = format!("resource-{count}:action-{number}");
                name.parse().expect("a scope")
            })
            .collect();
        let held: ScopeSet = scopes.iter().copied().step_by(2).collect();
        let rules: Vec<_> = draws(count)
            .map(|it| RequiredScopes::one(scopes[it]))
            .collect();
        (held, rules)
    });
    let rounds = rounds(effort, |small| {
        let (held, rules) = &platforms[usize::from(!small)];
        let met = rules.iter().filter(|rule| black_box(rule).is_met_by(held));
        black_box(met.count());
    });
    report("scope test", ["10 scopes", "1 000 scopes"], &rounds);
}

/// Half of the endpoints have a parameter.
fn endpoints(effort: Effort) {
    let scope: Scope = "resource:read".parse().expect("a scope");
    let platforms = [10, 2000].map(|count| {
        let template = |number: usize| match number % 2 {
            0 => format!("/external/v1/resource-{number:04}/list"),
            _ => format!("/external/v1/resource-{number:04}/{{id}}"),
        };
        let endpoints = (0..count).map(|it| Endpoint::get(template(it)).scope(scope));
        let contract = Contract::builder().endpoints(endpoints).build();
        let paths: Vec<String> = draws(count)
            .map(|it| template(it).replace("{id}", "7f3a"))
            .collect();
        (contract.expect("a contract without mistakes"), paths)
    });
    let rounds = rounds(effort, |small| {
        let (contract, paths) = &platforms[usize::from(!small)];
        let found = paths
            .iter()
            .filter(|path| contract.find(&Method::GET, black_box(path)).is_some());
        assert_eq!(found.count(), DRAWS);
    });
    report(
        "contract match",
        ["10 endpoints", "2 000 endpoints"],
        &rounds,
    );
}

/// Which of `count` things are asked for, at random.
fn draws(count: usize) -> impl Iterator<Item = usize> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..DRAWS).map(move |_| random.usize(..count))
}

/// Nanoseconds per operation of the small and of the large case, one after the other in each round.
fn rounds(effort: Effort, run: impl Fn(bool)) -> Vec<[f64; 2]> {
    let times = effort.of(500);
    let time = |small| {
        let started = Instant::now();
        (0..times).for_each(|_| run(small));
        started.elapsed().as_nanos() as f64 / (times * DRAWS) as f64
    };
    // The first round only warms up.
    let rounds = (0..=effort.rounds).map(|_| [time(true), time(false)]);
    rounds.skip(1).collect()
}

fn report(what: &str, [small, large]: [&str; 2], rounds: &[[f64; 2]]) {
    tell(
        &format!("{what}, {small}"),
        median(rounds.iter().map(|it| it[0])),
        "ns",
    );
    tell(
        &format!("{what}, {large}"),
        median(rounds.iter().map(|it| it[1])),
        "ns",
    );
    let ratios = rounds.iter().map(|[small, large]| large / small);
    tell(&format!("{what}, {large} ÷ {small}"), median(ratios), "");
}

const DRAWS: usize = 4096;
