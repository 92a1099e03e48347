//! What the audit adds to the slowest of a hundred allowed requests. Off: the same decisions without
//! an audit layer. On: every event goes to a log on the disk, whose writer has its own thread.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use countersign::{
    CompanyScopeLayer, ContractLayer, Edge, FailureMeter, FileLog, KeyVerifier, KeyVerifyLayer,
    LocalLimits, RateLimitLayer, ScopeGuardLayer, SourceThrottle,
};
use countersign_core::{Guarded, Then};
use http::{Request, Response, StatusCode};
use tower::{Service, ServiceExt, layer::layer_fn};

use crate::support::figures::{Effort, median, tell};
use crate::support::keys::{self, Draw, Key};
use crate::support::ours::{self, Ours};
use crate::support::{api, drive};

pub(crate) fn measure(effort: Effort) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("room for a log");
    let log = FileLog::open(directory.path().join("log")).expect("a new log");
    let keys = keys::generate(1000);
    let runtime = drive::runtime();
    let ours = runtime.block_on(Ours::with_queue(&keys, ours::slow(), log, 32_768));
    let (on, off) = (ours.router(), runtime.block_on(without_audit(&keys)));
    let rounds: Vec<_> = (0..=effort.rounds)
        .map(|_| {
            [&off, &on].map(|router| {
                let mut draw = Draw::from(&keys);
                let mut times = Vec::new();
                while times.len() < effort.of(50_000) {
                    ours.settle();
                    let requests = drive::requests(&mut draw, STRETCH);
                    runtime.block_on(time_each(router, requests, &mut times));
                }
                quantile(times)
            })
        })
        // The first round only warms up.
        .skip(1)
        .collect();
    for (number, name) in ["off", "on"].into_iter().enumerate() {
        let times = rounds.iter().map(|round| round[number]);
        tell(&format!("p99, audit {name}"), median(times), "ns");
    }
    let ratio = rounds.iter().map(|[off, on]| on / off);
    tell("p99, audit on ÷ off", median(ratio), "");
}

/// The decisions of the whole stack, each as it is configured there, and nobody who records them.
async fn without_audit(keys: &[Key]) -> Router {
    let edge = Edge::default();
    let throttle = SourceThrottle::new().with_source_quota(ours::generous());
    let throttle: Arc<dyn FailureMeter> = Arc::new(throttle);
    let verifier = KeyVerifier::builder(keys::store(keys).await)
        .clock(Arc::clone(edge.clock()))
        .staleness_bound(Duration::from_secs(60))
        .cached_keys(2 * keys.len())
        .failure_meter(throttle)
        .build()
        .expect("settings within their bounds");
    let limits = RateLimitLayer::new(ours::policies(ours::slow()), LocalLimits::default());
    let scope = Then(ScopeGuardLayer::new(), limits);
    let company = Then(CompanyScopeLayer::new(), scope);
    let key = Then(KeyVerifyLayer::new(verifier), company);
    let guards = Then(ContractLayer::new(ours::contract()), key);
    api::bare().layer(layer_fn(move |inner| {
        Guarded::new(inner, guards.clone(), edge.clone())
    }))
}

async fn time_each<S, B>(service: &S, requests: Vec<Request<Body>>, times: &mut Vec<Duration>)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
{
    for request in requests {
        let service = service.clone();
        let started = Instant::now();
        let Ok(response) = service.oneshot(request).await;
        times.push(started.elapsed());
        assert_eq!(response.status(), StatusCode::OK);
    }
}

/// What 99 of a hundred stay within.
fn quantile(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() * 99 / 100].as_nanos() as f64
}

const STRETCH: usize = 1_000;
