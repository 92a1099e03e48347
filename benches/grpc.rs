//! What the stack adds to a gRPC call, beside what it adds to an HTTP request, in one run.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[path = "grpc/accounts.rs"]
mod accounts;
mod support;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::{Layer, Service, ServiceExt};

use support::figures::{Effort, median, tell};
use support::keys::{self, Draw, Key};
use support::ours::{self, Discard, Ours};
use support::{api, drive};

fn main() {
    let effort = Effort::from_arguments();
    let keys = keys::generate(1000);
    let runtime = drive::runtime();
    let ours = Ours::with_queue(&keys, ours::slow(), Discard::default(), 32_768);
    let ours = runtime.block_on(ours);
    let bench = Bench {
        keys: &keys,
        ours: &ours,
        runtime: &runtime,
        count: effort.of(50_000),
    };
    let round = || {
        let http = api::bare();
        let grpc = accounts::bare();
        [
            bench.time(&http, api::request),
            bench.time(&ours.router(), api::request),
            bench.time(&grpc, accounts::call),
            bench.time(&ours.stack.layer(grpc.clone()), accounts::call),
        ]
    };
    // The first round only warms up.
    let rounds: Vec<[f64; 4]> = (0..=effort.rounds).map(|_| round()).skip(1).collect();
    let names = ["HTTP, bare", "HTTP, ours", "gRPC, bare", "gRPC, ours"];
    for (number, name) in names.into_iter().enumerate() {
        let times = rounds.iter().map(|round| round[number]);
        tell(
            &format!("time to the answer's end, {name}"),
            median(times),
            "ns",
        );
    }
    let added = rounds
        .iter()
        .map(|[http, http_ours, grpc, grpc_ours]| (grpc_ours - grpc) / (http_ours - http));
    tell(
        "tonic stack's added time ÷ the HTTP stack's",
        median(added),
        "",
    );
}

struct Bench<'a> {
    keys: &'a [Key],
    ours: &'a Ours,
    runtime: &'a Runtime,
    count: usize,
}

impl Bench<'_> {
    /// Nanoseconds a call, to the end of its answer.
    fn time<S, R>(&self, service: &S, request: fn(&str) -> Request<Body>) -> f64
    where
        S: Service<Request<Body>, Response = Response<R>, Error = Infallible> + Clone,
        R: axum::body::HttpBody + Unpin,
        R::Error: std::fmt::Debug,
    {
        let mut draw = Draw::from(self.keys);
        let stretches = (self.count / STRETCH).max(1);
        median((0..stretches).map(|_| {
            self.ours.settle();
            let batches = (0..STRETCH / BATCH).map(|_| {
                let batch: Vec<_> = (0..BATCH).map(|_| request(draw.next())).collect();
                let started = Instant::now();
                self.runtime.block_on(run(service, batch));
                started.elapsed()
            });
            batches.sum::<Duration>().as_nanos() as f64 / STRETCH as f64
        }))
    }
}

async fn run<S, R>(service: &S, requests: Vec<Request<Body>>)
where
    S: Service<Request<Body>, Response = Response<R>, Error = Infallible> + Clone,
    R: axum::body::HttpBody + Unpin,
    R::Error: std::fmt::Debug,
{
    for request in requests {
        let Ok(response) = service.clone().oneshot(request).await;
        assert!(!response.headers().contains_key("grpc-status"), "refused");
        assert_eq!(response.status(), http::StatusCode::OK);
        let end = response.into_body().collect().await;
        drop(end.expect("a whole answer"));
    }
}

const BATCH: usize = 32;
/// Few enough that no shard of the queue is full before they are done.
const STRETCH: usize = 32 * 150;
