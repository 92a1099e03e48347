//! The limit's layer alone, behind whatever found the caller out, beside `tower_governor`'s: one limit
//! for each key, told in response fields by both, allowed and refused. The service behind them does
//! nothing, and is in both times.

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::body::Body;
use countersign::{
    Dimension, Edge, Environment, Identity, KeyId, LocalLimits, Policies, Policy, Quota,
    RateLimitLayer, ScopeSet,
};
use http::{HeaderMap, Request, Response, StatusCode};
use tower::{Layer, Service, service_fn};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;

use crate::support::caller::{ByCaller, Callers};
use crate::support::figures::{Effort, median, tell};
use crate::support::keys::{self, Key};
use crate::support::{api, ours};

pub(crate) fn measure(effort: Effort) {
    let keys = keys::generate(1);
    for (name, quota, status) in [
        ("allowed", ours::generous(), StatusCode::OK),
        ("refused", spent(), StatusCode::TOO_MANY_REQUESTS),
    ] {
        let mut theirs = governor(quota).layer(service_fn(answer));
        let mut ours = layer(quota).layer(service_fn(answer));
        let batches = effort.of(300);
        let (theirs_asks, ours_asks) = (governed(&keys), identified());
        // Whoever has one unit alone has spent it.
        time(&mut theirs, vec![theirs_asks()], None);
        time(&mut ours, vec![ours_asks()], None);
        let rounds: Vec<[f64; 2]> = (0..effort.rounds)
            .map(|_| {
                let mut times = [0.0, 0.0];
                for _ in 0..batches {
                    // Few enough that they are still in the processor's caches when they are sent.
                    let few = |ask: &dyn Fn() -> Request<Body>| (0..64).map(|_| ask()).collect();
                    times[0] += time(&mut theirs, few(&theirs_asks), Some(status));
                    times[1] += time(&mut ours, few(&ours_asks), Some(status));
                }
                times.map(|nanos| nanos / batches as f64)
            })
            .collect();
        let [theirs, ours] = [0, 1].map(|i| median(rounds.iter().map(|round| round[i])));
        tell(
            &format!("limit layer, tower_governor, {name}"),
            theirs,
            "ns",
        );
        tell(&format!("limit layer, ours, {name}"), ours, "ns");
        let ratio = median(rounds.iter().map(|[theirs, ours]| ours / theirs));
        tell(&format!("limit layer ÷ tower_governor, {name}"), ratio, "");
    }
}

async fn answer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = HeaderMap::with_capacity(8);
    Ok(response)
}

fn governor(
    quota: Quota,
) -> GovernorLayer<ByCaller, crate::support::caller::StateInformation, Body> {
    let config = GovernorConfigBuilder::default()
        .per_millisecond(quota.interval_nanos() / 1_000_000)
        .burst_size(quota.burst())
        .key_extractor(ByCaller)
        .use_headers()
        .finish()
        .expect("neither number is zero");
    GovernorLayer::new(config)
}

fn layer(quota: Quota) -> RateLimitLayer {
    let policies = Policies::new([Policy::new("key", Dimension::Key, quota)]);
    let policies = policies.expect("a policy without mistakes");
    RateLimitLayer::new(policies, LocalLimits::new())
}

/// Requests as an earlier layer leaves them for `tower_governor`.
fn governed(keys: &[Key]) -> impl Fn() -> Request<Body> {
    let mut headers = HeaderMap::new();
    let key = keys[0].text.parse().expect("a key is a header's value");
    headers.insert(api::X_API_KEY, key);
    let caller = Callers::new(keys).find(&headers).expect("a known key");
    move || {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(Arc::clone(&caller));
        request
    }
}

/// Requests as key-verify leaves them.
fn identified() -> impl Fn() -> Request<Body> {
    let edge = Edge::default();
    let company = "company_0".parse().expect("a company's id");
    let prefix = "bench_live_000000000000".parse().expect("a key's prefix");
    let identity = Identity::new(company, Environment::Live, ScopeSet::new());
    let identity = identity.with_key(KeyId::from_u128(1), prefix);
    move || {
        let mut request = Request::new(Body::empty());
        let entered = edge.enter(&mut request);
        let identified = entered.context(&request).identify(identity.clone());
        identified.expect("nobody else identifies it");
        request
    }
}

/// Nanoseconds for each request.
fn time<S>(service: &mut S, requests: Vec<Request<Body>>, expected: Option<StatusCode>) -> f64
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let count = requests.len() as f64;
    let mut context = Context::from_waker(Waker::noop());
    let started = Instant::now();
    for request in requests {
        let ready = service.poll_ready(&mut context);
        assert!(matches!(ready, Poll::Ready(Ok(()))), "nothing holds it up");
        let answer = pin!(service.call(request)).poll(&mut context);
        let Poll::Ready(Ok(response)) = answer else {
            panic!("nothing is waited for");
        };
        assert!(expected.is_none_or(|status| response.status() == status));
        black_box(response);
    }
    started.elapsed().as_nanos() as f64 / count
}

/// One unit, and the next one in a hundred days.
fn spent() -> Quota {
    Quota::new(1, Duration::from_secs(100 * 86_400)).expect("a window of 100 days")
}
