//! What the hot path allocates.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;

use allocation_counter::measure;
use bytes::Bytes;
use countersign_core::{
    AccessContext, Edge, Endpoint, Environment, Identity, KeyId, MatchedEndpoint, Quota, ScopeSet,
};
use countersign_rate_limit::{
    Dimension, LimitStore, LocalLimits, Policies, Policy, RateLimitLayer,
};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};

fn policies() -> Policies {
    let quota = Quota::per_second(1000, 1000).unwrap();
    let dimensions = [
        ("key", Dimension::Key),
        ("company", Dimension::Company),
        ("endpoint", Dimension::Endpoint),
        ("platform", Dimension::Platform),
    ];
    Policies::new(dimensions.map(|(name, dimension)| Policy::new(name, dimension, quota))).unwrap()
}

fn request() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    let entered = Edge::default().enter(&mut request);
    let context = entered.context(&request);
    let prefix = "acme_live_pBakQVyk6bW4".parse().unwrap();
    let company = "company_12".parse().unwrap();
    let identity = Identity::new(company, Environment::Live, ScopeSet::new())
        .with_key(KeyId::from_u128(1), prefix);
    context.identify(identity).unwrap();
    let matched = MatchedEndpoint {
        endpoint: Endpoint::get("/accounts/{id}").kept(),
        target: http::uri::PathAndQuery::from_static("/accounts/1"),
    };
    context.match_endpoint(matched).unwrap();
    request
}

#[test]
fn deciding_about_known_counters_allocates_nothing() {
    let (store, policies, request) = (LocalLimits::new(), policies(), request());
    let context = AccessContext::of(&request).unwrap();
    let decide = || {
        let limits = policies.request(context).unwrap();
        drop(store.check(&limits));
    };
    decide();
    assert_eq!(measure(decide).count_total, 0);
}

#[test]
fn the_layer_adds_one_allocation_to_an_allowed_request() {
    let handler = service_fn(|_: Request<Full<Bytes>>| async {
        let mut response = Response::new(Full::<Bytes>::default());
        *response.headers_mut() = HeaderMap::with_capacity(8);
        Ok::<_, Infallible>(response)
    });
    let mut limited = RateLimitLayer::new(policies(), LocalLimits::new()).layer(handler);
    let mut bare = handler;
    let count = |call: &mut dyn FnMut(Request<Full<Bytes>>)| {
        call(request());
        let request = request();
        measure(|| call(request)).count_total
    };
    let bare = count(&mut |request| poll_once(bare.call(request)));
    let limited = count(&mut |request| poll_once(limited.call(request)));
    assert_eq!(limited, bare + 1, "the text of `RateLimit`");
}

fn poll_once(future: impl Future<Output = Result<Response<Full<Bytes>>, Infallible>>) {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) else {
        panic!("nothing is waited for");
    };
    assert_eq!(response.status(), 200);
}
