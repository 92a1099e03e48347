//! Limits on requests at once, around services.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use countersign_core::testing::{NeverAnswers, ReadinessProbe};
use countersign_core::{
    AccessContext, CompanyId, Edge, Endpoint, Environment, Identity, KeyId, ManualClock,
    MatchedEndpoint, Quota, Reason, ScopeSet,
};
use countersign_rate_limit::{
    Concurrency, Dimension, LimitFuture, LimitRequest, LimitStore, LocalLimits, Policies, Policy,
    RateLimitLayer,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service};

type Body = Full<Bytes>;
type Call<S> = Pin<Box<<S as Service<Request<Body>>>::Future>>;

fn company() -> CompanyId {
    "company_12".parse().unwrap()
}

fn request(key: u128, endpoint: Endpoint) -> Request<Body> {
    let mut request = Request::new(Body::default());
    let edge = Edge::builder().clock(ManualClock::default()).build();
    let entered = edge.enter(&mut request);
    let context = entered.context(&request);
    let prefix = "acme_live_pBakQVyk6bW4".parse().unwrap();
    let identity = Identity::new(company(), Environment::Live, ScopeSet::new());
    let identity = identity.with_key(KeyId::from_u128(key), prefix);
    context.identify(identity).unwrap();
    let matched = MatchedEndpoint {
        endpoint: endpoint.kept(),
        target: http::uri::PathAndQuery::from_static("/"),
    };
    context.match_endpoint(matched).unwrap();
    request
}

fn read(key: u128) -> Request<Body> {
    request(key, Endpoint::get("/accounts"))
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
    let mut cx = Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut cx) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A call that was polled once, and what it answered.
fn start<S>(service: &mut S, request: Request<Body>) -> (Call<S>, Option<Response<Body>>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(ready.is_ready());
    let mut future = Box::pin(service.call(request));
    let answer = poll(&mut future).map(|answer| answer.unwrap());
    (future, answer)
}

fn quotas(burst: u32) -> Policies {
    let hourly = Quota::new(burst, Duration::from_secs(3600)).unwrap();
    Policies::new([Policy::new("key", Dimension::Key, hourly)]).unwrap()
}

fn two_a_company() -> Policies {
    let limit = Concurrency::new("at-once", Dimension::Company, 2);
    quotas(10).with_concurrency([limit]).unwrap()
}

#[tokio::test]
async fn a_place_is_free_again_when_the_call_is_over_or_given_up() {
    let layer = RateLimitLayer::new(two_a_company(), LocalLimits::new());
    let mut service = layer.clone().layer(NeverAnswers);
    let mut answering = layer.layer(ReadinessProbe::default());
    let (first, answer) = start(&mut service, read(1));
    assert!(answer.is_none());
    // A call that is answered at once takes a place for no longer than that.
    for _ in 0..5 {
        let (_, answer) = start(&mut answering, read(2));
        assert_eq!(answer.unwrap().status(), 200);
    }
    let (second, answer) = start(&mut service, read(2));
    assert!(answer.is_none());
    let third = read(3);
    let context = AccessContext::of(&third).unwrap().clone();
    let (_, answer) = start(&mut service, third);
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(
        answer.headers()["ratelimit-policy"],
        "\"key\";q=10;w=36000, \"at-once\";q=2;qu=\"concurrent-requests\""
    );
    assert_eq!(answer.headers()["ratelimit"], "\"at-once\";r=0");
    assert_eq!(context.denial().unwrap().reason(), Reason::LimitCompany);
    assert_eq!(context.limit().unwrap().policy.as_deref(), Some("at-once"));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["details"]["policy"], "at-once");
    drop(first);
    let (third, answer) = start(&mut service, read(3));
    assert!(answer.is_none());
    assert_eq!(start(&mut service, read(3)).1.unwrap().status(), 429);
    drop((second, third));
    let (_, answer) = start(&mut answering, read(3));
    assert_eq!(
        answer.unwrap().headers()["ratelimit"],
        "\"key\";r=8;t=7200, \"at-once\";r=1",
        "refusals for want of a place took nothing from the quota"
    );
}

#[test]
fn a_refusal_by_a_quota_gives_the_place_back() {
    let limit = Concurrency::new("at-once", Dimension::Company, 1);
    let policies = quotas(1).with_concurrency([limit]).unwrap();
    let layer = RateLimitLayer::new(policies, LocalLimits::new());
    let mut service = layer.layer(ReadinessProbe::default());
    assert_eq!(start(&mut service, read(1)).1.unwrap().status(), 200);
    let (refused, answer) = start(&mut service, read(1));
    assert_eq!(
        answer.unwrap().headers()["ratelimit"],
        "\"key\";r=0;t=3600, \"at-once\";r=0"
    );
    // Even while the future of the refusal is still there.
    assert_eq!(start(&mut service, read(2)).1.unwrap().status(), 200);
    drop(refused);
}

#[test]
fn writes_have_places_of_their_own_and_a_partner_has_more() {
    let limit = Concurrency::new("writes", Dimension::Key, 1)
        .only(countersign_core::OperationType::Write)
        .for_company(company(), 2)
        .for_key(KeyId::from_u128(7), 3);
    let policies = quotas(10).with_concurrency([limit]).unwrap();
    let layer = RateLimitLayer::new(policies, LocalLimits::new());
    let mut service = layer.layer(NeverAnswers);
    let mut waiting = Vec::new();
    for (key, places) in [(1, 2), (7, 3)] {
        let write = || request(key, Endpoint::post("/payments"));
        for _ in 0..places {
            let (future, answer) = start(&mut service, write());
            assert!(answer.is_none());
            waiting.push(future);
        }
        let answer = start(&mut service, write()).1.unwrap();
        let field = answer.headers()["ratelimit-policy"].to_str().unwrap();
        assert!(
            field.contains(&format!("\"writes\";q={places};qu=")),
            "{field}"
        );
        let (reads, answer) = start(&mut service, read(key));
        assert!(answer.is_none(), "reads are not counted");
        waiting.push(reads);
    }
}

/// Never says anything.
#[derive(Debug)]
struct Silent;

impl LimitStore for Silent {
    fn check(&self, _: &LimitRequest<'_>) -> LimitFuture {
        LimitFuture::later(std::future::pending())
    }
}

#[test]
fn a_request_that_waits_for_the_store_has_its_place() {
    let layer = RateLimitLayer::new(two_a_company(), Silent);
    let mut service = layer.layer(ReadinessProbe::default());
    let waiting = [start(&mut service, read(1)), start(&mut service, read(1))];
    assert!(waiting.iter().all(|(_, answer)| answer.is_none()));
    assert_eq!(start(&mut service, read(1)).1.unwrap().status(), 429);
    drop(waiting);
    assert!(
        start(&mut service, read(1)).1.is_none(),
        "it waits like those before"
    );
}

#[test]
fn without_quotas_places_are_limited_all_the_same() {
    let limit = Concurrency::new("all", Dimension::Platform, 1);
    let policies = Policies::new([])
        .unwrap()
        .with_concurrency([limit])
        .unwrap();
    let mut service = RateLimitLayer::new(policies, LocalLimits::new()).layer(NeverAnswers);
    let (first, answer) = start(&mut service, read(1));
    assert!(answer.is_none());
    let answer = start(&mut service, read(2)).1.unwrap();
    assert_eq!(answer.status(), 429);
    assert!(
        !answer.headers().contains_key("ratelimit"),
        "never the platform's"
    );
    drop(first);
    assert!(start(&mut service, read(2)).1.is_none());
}
