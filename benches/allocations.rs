//! How often the stacks allocate, and how much an idle key holds. A program of its own, because
//! counting slows every allocation down and would distort the times.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod support;

use allocation_counter::measure;
use axum::Router;
use countersign::{Dimension, Endpoint};
use countersign::{
    Edge, Environment, Identity, KeyId, LimitStore, LocalLimits, Policies, Policy, ScopeSet,
};
use countersign_core::MatchedEndpoint;
use countersign_rate_limit::LimitFuture;
use http::uri::PathAndQuery;
use http::{Request, StatusCode};
use support::caller::Callers;
use support::figures::tell;
use support::keys::{self, Draw, Key};
use support::ours::{self, Discard, Ours};
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
    let ours = drive::runtime().block_on(Ours::new(&keys, ours::slow(), Discard::default()));
    tell(
        "allocations added",
        per_request(&ours.router(), &keys) - bare,
        "",
    );
    let worst = KEYS.map(bytes_per_idle_key).into_iter().fold(0.0, f64::max);
    tell("memory of one idle limited key", worst, "B");
}

/// The allocations of one allowed request, its making not counted; an average, because channels
/// allocate by blocks.
fn per_request(router: &Router, keys: &[Key]) -> f64 {
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

/// What the counters of `keys` keys hold once all of them have been used, divided by `keys`.
fn bytes_per_idle_key(keys: usize) -> f64 {
    let policies = policies();
    let limits = LocalLimits::new();
    let endpoint = Endpoint::get(api::PATH).scope(api::SCOPE.parse().expect("a scope"));
    let endpoint = endpoint.kept();
    let used = measure(|| {
        for number in 1..=keys {
            use_key(number, &policies, &limits, endpoint);
        }
    });
    drop(limits);
    used.bytes_current as f64 / keys as f64
}

fn use_key(number: usize, policies: &Policies, limits: &LocalLimits, endpoint: &'static Endpoint) {
    let mut request = Request::new(());
    let entered = Edge::default().enter(&mut request);
    let context = entered.context(&request);
    let company = format!("company_{number}").parse().expect("a company's id");
    let key = KeyId::from_u128(number as u128);
    let prefix = "bench_live_000000000000".parse().expect("a key's prefix");
    let identity = Identity::new(company, Environment::Live, ScopeSet::new());
    let matched = MatchedEndpoint {
        endpoint,
        target: PathAndQuery::from_static(api::PATH),
    };
    let filled = context.identify(identity.with_key(key, prefix));
    filled
        .and(context.match_endpoint(matched))
        .expect("a new record");
    let draw = policies.request(context).expect("nothing is missing");
    let LimitFuture::Ready(Ok(decision)) = limits.check(&draw) else {
        panic!("local limits answer at once");
    };
    assert!(decision.is_allowed());
}

/// A limit in every dimension.
fn policies() -> Policies {
    let policy = |name, dimension| Policy::new(name, dimension, ours::slow());
    Policies::new([
        policy("key", Dimension::Key),
        policy("company", Dimension::Company),
        policy("endpoint", Dimension::Endpoint),
        policy("scope", Dimension::Scope),
        policy("operation", Dimension::Operation),
        // All keys draw on this one.
        Policy::new("platform", Dimension::Platform, ours::generous()),
    ])
    .expect("policies without mistakes")
}

const COUNT: usize = 3200;
/// Several sizes, because tables grow by doubling: the worst one counts.
const KEYS: [usize; 5] = [100_000, 120_000, 140_000, 170_000, 200_000];
