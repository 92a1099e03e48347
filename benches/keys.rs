//! A million keys in a store: how fast they get there, how fast one more is issued, how long a
//! service that starts waits for its first key, and what a key takes in the cache.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod support;

use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use axum::body::Body;
use countersign::sqlite::SqliteKeyStore;
use countersign::{
    Actor, Clock, Environment, IssueRequest, KeyManager, KeyVerifier, KeyVerifyLayer, ScopeSet,
    SystemClock,
};
use http::{Request, Response, StatusCode};
use support::figures::{Effort, median, tell};
use support::keys::{self, Key};
use support::{api, drive};
use tower::{Layer, Service, ServiceExt, service_fn};

fn main() {
    let effort = Effort::from_arguments();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("room for a store");
    let file = directory.path().join("keys.db");
    let keys = keys::generate(effort.of(1_000_000));
    fill(&file, &keys);
    issue(&file, effort.of(1000));
    let starts = (0..effort.rounds).map(|_| start(&file, &keys[keys.len() / 2]));
    tell(
        "start with 1 M keys, to the first answer",
        median(starts),
        "ms",
    );
    let cached = &keys[..effort.of(100_000)];
    tell(
        "memory of one cached key",
        bytes_per_cached_key(cached),
        "B",
    );
}

fn fill(file: &Path, keys: &[Key]) {
    let store = SqliteKeyStore::open(file).expect("a new store");
    let started = Instant::now();
    drive::runtime().block_on(keys::fill(&store, keys));
    let rate = keys.len() as f64 / started.elapsed().as_secs_f64();
    tell("keys stored, 1000 in one change, SQLite", rate, "keys/s");
}

/// One after the other, each on disk with its events before the next.
fn issue(file: &Path, count: usize) {
    let store = SqliteKeyStore::open(file).expect("the store");
    let manager = KeyManager::builder(store).build().expect("a manager");
    let actor = Actor::operator("bench").expect("a name");
    let company = "company_1".parse().expect("a company's id");
    let scopes = ScopeSet::from_names([api::SCOPE]).expect("names of scopes");
    let expiry = SystemClock
        .now()
        .wall
        .saturating_add(Duration::from_secs(3600));
    let started = Instant::now();
    drive::runtime().block_on(async {
        for _ in 0..count {
            let request = IssueRequest::new(company, Environment::Live, scopes.clone(), expiry);
            manager.issue(&actor, request).await.expect("a key");
        }
    });
    let rate = count as f64 / started.elapsed().as_secs_f64();
    tell("keys issued among 1 M, SQLite", rate, "keys/s");
}

/// Milliseconds from nothing to the first answer.
fn start(file: &Path, key: &Key) -> f64 {
    let runtime = drive::runtime();
    let request = api::request(&key.text);
    let started = Instant::now();
    let store = SqliteKeyStore::open(file).expect("the store");
    let verifier = KeyVerifier::builder(store).build().expect("a verifier");
    let answer = runtime.block_on(service(&verifier).oneshot(request));
    let taken = started.elapsed();
    let Ok(answer) = answer;
    assert_eq!(answer.status(), StatusCode::OK);
    taken.as_secs_f64() * 1e3
}

/// The store's own memory is not counted: it was there before.
fn bytes_per_cached_key(keys: &[Key]) -> f64 {
    let runtime = drive::runtime();
    let store = runtime.block_on(keys::store(keys));
    let verifier = KeyVerifier::builder(store).cached_keys(keys.len());
    let verifier = verifier.staleness_bound(Duration::from_secs(60)).build();
    let verifier = verifier.expect("settings within their bounds");
    let service = service(&verifier);
    let used = measure(|| drive::warm(&runtime, &service, keys));
    assert_eq!(verifier.cache().len(), keys.len());
    used.bytes_current as f64 / keys.len() as f64
}

fn service(
    verifier: &KeyVerifier,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<> {
    let inner = service_fn(async |_: Request<Body>| Ok(Response::new(Body::empty())));
    KeyVerifyLayer::new(verifier.clone()).layer(inner)
}
