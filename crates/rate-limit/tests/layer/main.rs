//! The layer around services.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod costs;
mod stores;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use countersign_core::testing::{NeverAnswers, ReadinessProbe};
use countersign_core::{
    AccessContext, Edge, Endpoint, Environment, Identity, KeyId, ManualClock, MatchedEndpoint,
    PeerAddr, Quota, Reason, ScopeSet, StoreError, StoreErrorKind,
};
use countersign_rate_limit::{
    Dimension, LimitFuture, LimitRequest, LimitStore, LocalLimits, Policies, Policy, RateLimit,
    RateLimitLayer, StoreFailure,
};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use static_assertions::assert_impl_all;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use self::stores::Remote;

type Body = Full<Bytes>;

assert_impl_all!(RateLimitLayer: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(RateLimit<ReadinessProbe>: Clone, Send, Sync, std::fmt::Debug);

fn hourly(burst: u32) -> Quota {
    Quota::new(burst, Duration::from_secs(3600)).unwrap()
}

fn policies() -> Policies {
    Policies::new([
        Policy::new("key", Dimension::Key, hourly(2)),
        Policy::new("company", Dimension::Company, hourly(4)),
        Policy::new("platform", Dimension::Platform, hourly(100)),
    ])
    .unwrap()
}

fn identity(key: u128) -> Identity {
    let prefix = "acme_live_pBakQVyk6bW4".parse().unwrap();
    Identity::new(
        "company_12".parse().unwrap(),
        Environment::Live,
        ScopeSet::new(),
    )
    .with_key(KeyId::from_u128(key), prefix)
}

/// A request as the layers outside leave it.
fn request(key: u128) -> Request<Body> {
    let request = entered(&Edge::builder().clock(ManualClock::default()).build());
    let context = AccessContext::of(&request).unwrap();
    context.identify(identity(key)).unwrap();
    let matched = MatchedEndpoint {
        endpoint: Endpoint::get("/accounts").kept(),
        target: http::uri::PathAndQuery::from_static("/accounts"),
    };
    context.match_endpoint(matched).unwrap();
    request
}

fn entered(edge: &Edge) -> Request<Body> {
    let mut request = Request::new(Body::default());
    assert!(edge.enter(&mut request).is_first());
    request
}

async fn call<S>(service: &mut S, request: Request<Body>) -> (Response<Body>, AccessContext)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let context = AccessContext::of(&request).unwrap().clone();
    let response = service.ready().await.unwrap().call(request).await.unwrap();
    (response, context)
}

/// The future of a call to a service that was polled ready.
async fn start<S>(service: &mut S, request: Request<Body>) -> S::Future
where
    S: Service<Request<Body>, Error: std::fmt::Debug>,
{
    service.ready().await.unwrap().call(request)
}

async fn json(response: Response<Body>) -> serde_json::Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_spent_limit_is_a_429_that_says_when_to_come_back() {
    let probe = ReadinessProbe::default();
    let mut service = RateLimitLayer::new(policies(), LocalLimits::new()).layer(probe);
    for left in [1, 0] {
        let (response, context) = call(&mut service, request(1)).await;
        assert_eq!(response.status(), 200);
        let field = response.headers()["ratelimit"].to_str().unwrap();
        assert!(
            field.starts_with(&format!("\"key\";r={left};t=")),
            "{field}"
        );
        assert_eq!(context.limit(), None);
    }
    let (response, context) = call(&mut service, request(1)).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "3600");
    assert_eq!(
        response.headers()["ratelimit-policy"],
        "\"key\";q=2;w=7200, \"company\";q=4;w=14400"
    );
    assert_eq!(
        response.headers()["ratelimit"],
        "\"key\";r=0;t=7200, \"company\";r=2;t=7200"
    );
    assert!(!response.headers().contains_key("x-ratelimit-limit"));
    assert_eq!(context.denial().unwrap().reason(), Reason::LimitKey);
    let note = context.limit().unwrap();
    assert_eq!(
        (note.policy.as_deref(), note.fallback),
        (Some("key"), false)
    );
    let body = json(response).await;
    assert_eq!(body["error"], "rate_limit_exceeded");
    assert_eq!(body["retryAfterSeconds"], 3600);
    // Another key of the same company goes on, until the company's limit speaks.
    for _ in 0..2 {
        assert_eq!(call(&mut service, request(2)).await.0.status(), 200);
    }
    let (response, context) = call(&mut service, request(3)).await;
    assert_eq!(response.status(), 429);
    assert_eq!(context.denial().unwrap().reason(), Reason::LimitCompany);
}

#[tokio::test]
async fn the_handlers_other_fields_stay_and_its_limit_fields_are_replaced() {
    let handler = service_fn(|_: Request<Body>| async {
        let mut response = Response::new(Body::default());
        for name in ["ratelimit", "x-ratelimit-limit", "etag", "set-cookie"] {
            response
                .headers_mut()
                .append(name, "theirs".parse().unwrap());
        }
        response
            .headers_mut()
            .append("set-cookie", "second".parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let layer = RateLimitLayer::new(policies(), LocalLimits::new()).with_classic_fields();
    let (response, _) = call(&mut layer.layer(handler), request(1)).await;
    let headers = response.headers();
    assert_eq!(headers["etag"], "theirs");
    assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(headers.get_all("ratelimit").iter().count(), 1);
    assert_ne!(headers["ratelimit"], "theirs");
    assert_eq!(headers["x-ratelimit-limit"], "2");
    assert_eq!(headers["x-ratelimit-remaining"], "1");
    assert_eq!(headers["x-ratelimit-reset"], "3600");
}

#[tokio::test]
async fn what_an_earlier_layer_did_not_find_out_is_never_guessed() {
    let one = |dimension| Policies::new([Policy::new("p", dimension, hourly(5))]).unwrap();
    let cases: [(Dimension, bool, bool, bool); 8] = [
        // dimension, identity, with a key, endpoint
        (Dimension::Key, false, false, true),
        (Dimension::Key, true, false, true),
        (Dimension::Company, false, false, true),
        (Dimension::Endpoint, true, true, false),
        (Dimension::Endpoint, true, false, true),
        (Dimension::Scope, true, true, true),
        (Dimension::Scope, true, true, false),
        (Dimension::Operation, true, true, false),
    ];
    for (dimension, identified, with_key, matched) in cases {
        let probe = ReadinessProbe::default();
        let layer = RateLimitLayer::new(one(dimension), LocalLimits::new());
        let request = entered(&Edge::default());
        let context = AccessContext::of(&request).unwrap();
        if identified {
            let foreign = Identity::new(
                "company_12".parse().unwrap(),
                Environment::Live,
                ScopeSet::new(),
            );
            context
                .identify(if with_key { identity(1) } else { foreign })
                .unwrap();
        }
        if matched {
            let matched = MatchedEndpoint {
                // No scope: nothing to count by for `Scope`.
                endpoint: Endpoint::get("/accounts").kept(),
                target: http::uri::PathAndQuery::from_static("/accounts"),
            };
            context.match_endpoint(matched).unwrap();
        }
        let (response, context) = call(&mut layer.layer(probe.clone()), request).await;
        assert_eq!(response.status(), 500, "{dimension:?}");
        assert_eq!(
            context.denial().unwrap().reason(),
            Reason::MisconfiguredStack
        );
        assert_eq!(probe.calls(), 0);
    }
}

#[tokio::test]
async fn a_caller_without_a_key_is_limited_by_its_company() {
    let policies = Policies::new([Policy::new("company", Dimension::Company, hourly(1))]).unwrap();
    let mut service =
        RateLimitLayer::new(policies, LocalLimits::new()).layer(ReadinessProbe::default());
    for status in [200, 429] {
        let request = entered(&Edge::default());
        let foreign = Identity::new(
            "company_12".parse().unwrap(),
            Environment::Live,
            ScopeSet::new(),
        );
        AccessContext::of(&request)
            .unwrap()
            .identify(foreign)
            .unwrap();
        assert_eq!(call(&mut service, request).await.0.status(), status);
    }
}

#[tokio::test]
async fn alone_it_settles_its_own_answers() {
    let policies = Policies::new([Policy::new("all", Dimension::Platform, hourly(1))]).unwrap();
    let layer = RateLimitLayer::new(policies, LocalLimits::new()).with_edge(Edge::default());
    let mut service = layer.layer(ReadinessProbe::default());
    for status in [200, 429] {
        let request = Request::new(Body::default());
        let response = start(&mut service, request).await.await.unwrap();
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("x-request-id"));
        assert!(
            !response.headers().contains_key("ratelimit"),
            "never the platform's"
        );
    }
}

#[tokio::test]
async fn a_source_is_limited_before_anybody_knows_who_calls() {
    let policies = Policies::new([Policy::new("source", Dimension::Source, hourly(1))]).unwrap();
    let layer = RateLimitLayer::new(policies, LocalLimits::new());
    let mut service = layer.layer(ReadinessProbe::default());
    for (peer, status) in [("192.0.2.1", 200), ("192.0.2.1", 429), ("192.0.2.2", 200)] {
        let mut request = Request::new(Body::default());
        let peer = PeerAddr(std::net::SocketAddr::new(peer.parse().unwrap(), 4711));
        request.extensions_mut().insert(peer);
        assert!(Edge::default().enter(&mut request).is_first());
        let (response, context) = call(&mut service, request).await;
        assert_eq!(response.status(), status);
        assert!(
            !response.headers().contains_key("ratelimit"),
            "never the source's"
        );
        if status == 429 {
            let reason = context.denial().unwrap().reason();
            assert_eq!(reason, Reason::SourceThrottled);
            assert_eq!(context.limit().unwrap().policy.as_deref(), Some("source"));
            assert_eq!(json(response).await.get("details"), None);
        }
    }
    let (response, context) = call(&mut service, entered(&Edge::default())).await;
    assert_eq!(response.status(), 500, "without a peer's address");
    let reason = context.denial().unwrap().reason();
    assert_eq!(reason, Reason::MisconfiguredStack);
}

#[tokio::test]
async fn an_error_of_the_inner_service_passes_through() {
    let fails = service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("inner") });
    let mut service = RateLimitLayer::new(policies(), LocalLimits::new()).layer(fails);
    let result = service.ready().await.unwrap().call(request(1)).await;
    assert_eq!(result.unwrap_err(), "inner");
}

#[tokio::test]
async fn it_works_under_a_buffer_and_under_load_shedding() {
    let inner =
        || RateLimitLayer::new(policies(), Remote::default()).layer(ReadinessProbe::default());
    let buffered = ServiceBuilder::new().buffer(4).service(inner());
    let shed = ServiceBuilder::new().load_shed().service(inner());
    for status in [200, 200, 429] {
        let answer = buffered.clone().oneshot(request(1)).await.unwrap();
        assert_eq!(answer.status(), status);
        let answer = start(&mut shed.clone(), request(1)).await.await.unwrap();
        assert_eq!(answer.status(), status);
    }
}

#[tokio::test]
async fn it_works_over_streaming_bodies_and_axums() {
    let streams = service_fn(|_: Request<Body>| async {
        let body: UnsyncBoxBody<Bytes, Infallible> = Body::from("streamed").boxed_unsync();
        Ok::<_, Infallible>(Response::new(body))
    });
    let mut service = RateLimitLayer::new(policies(), LocalLimits::new()).layer(streams);
    for status in [200, 200, 429] {
        let answer = service
            .ready()
            .await
            .unwrap()
            .call(request(1))
            .await
            .unwrap();
        assert_eq!(answer.status(), status);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body == "streamed", status == 200);
    }
    let router: axum::Router = axum::Router::new()
        .route("/accounts", axum::routing::get(|| async { "handled" }))
        .layer(RateLimitLayer::new(policies(), LocalLimits::new()));
    for status in [200, 200, 429] {
        let mut request = request(1).map(axum::body::Body::new);
        *request.uri_mut() = "/accounts".parse().unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status);
        assert!(answer.headers().contains_key("ratelimit"));
    }
}
