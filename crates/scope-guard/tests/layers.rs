//! The two layers around services: decisions, and the contract between services.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::convert::Infallible;
use std::future::Future;
use std::task::{Context, Waker};

use countersign_core::testing::{NeverAnswers, ReadinessProbe};
use countersign_core::{AccessContext, Endpoint, Identity, Reason};
use countersign_scope_guard::{
    Contract, ContractLayer, ContractService, ScopeGuard, ScopeGuardLayer,
};
use http::{HeaderName, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use static_assertions::assert_impl_all;
use support::{Body, contract, enter, identity, reason, request};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

assert_impl_all!(Contract: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(ContractLayer: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(ScopeGuardLayer: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(ContractService<ReadinessProbe>: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(ScopeGuard<ReadinessProbe>: Clone, Send, Sync, std::fmt::Debug);

fn layer() -> ContractLayer {
    ContractLayer::new(contract(&[("GET", "/a/{id}"), ("POST", "/a")]))
}

/// A request that an outer layer entered, found the endpoint of, and identified the caller of.
fn known(method: &str, target: &str, caller: Option<Identity>) -> (Request<Body>, AccessContext) {
    let mut request = request(method, target);
    let context = enter(&mut request);
    if let Some(caller) = caller {
        context.identify(caller).unwrap();
    }
    (request, context)
}

async fn through<L>(layer: L, request: Request<Body>) -> (u16, usize)
where
    L: Layer<ReadinessProbe>,
    L::Service: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let probe = ReadinessProbe::default();
    let response = layer.layer(probe.clone()).oneshot(request).await.unwrap();
    assert!(response.status() == 200 || response.headers().contains_key("x-request-id"));
    (response.status().as_u16(), probe.calls())
}

#[tokio::test]
async fn what_the_contract_declares_passes_with_its_endpoint() {
    for (method, target, template) in [
        ("GET", "/a/7?x=/../y", "/a/{id}"),
        ("HEAD", "/a/7", "/a/{id}"),
        ("POST", "/a", "/a"),
    ] {
        let (request, context) = known(method, target, None);
        assert_eq!(through(layer(), request).await, (200, 1));
        let matched = context.matched().unwrap();
        assert_eq!(matched.endpoint.template(), template);
        assert_eq!(matched.target.as_str(), target);
    }
}

#[tokio::test]
async fn everything_else_is_refused() {
    for (method, target, status, why) in [
        ("GET", "/a", 403, Reason::EndpointUnknown),
        ("DELETE", "/a/7", 403, Reason::EndpointUnknown),
        ("OPTIONS", "/a", 403, Reason::EndpointUnknown),
        ("GET", "/internal", 403, Reason::EndpointUnknown),
        ("GET", "/a/../internal", 400, Reason::AmbiguousTarget),
        ("TRACE", "/a/7", 400, Reason::AmbiguousTarget),
    ] {
        let (request, context) = known(method, target, None);
        assert_eq!(through(layer(), request).await, (status, 0), "{target}");
        assert_eq!(reason(&context), Some(why), "{method} {target}");
        assert!(context.matched().is_none());
    }
}

#[tokio::test]
async fn a_second_contract_is_a_mistake() {
    let (request, context) = known("GET", "/a/7", None);
    let twice = ServiceBuilder::new().layer(layer()).layer(layer());
    assert_eq!(through(twice.into_inner(), request).await, (500, 0));
    assert_eq!(reason(&context), Some(Reason::MisconfiguredStack));
}

#[tokio::test]
async fn the_scope_decides() {
    let both = ServiceBuilder::new()
        .layer(layer())
        .layer(ScopeGuardLayer::new())
        .into_inner();
    for (scopes, status, why) in [
        (&["accounts:read"][..], 200, None),
        (&["accounts:write", "accounts:read"], 200, None),
        (&["accounts:write"], 403, Some(Reason::ScopeMissing)),
        (&[], 403, Some(Reason::ScopeMissing)),
    ] {
        let (request, context) = known("GET", "/a/7", Some(identity(scopes)));
        let (answer, _) = through(both.clone(), request).await;
        assert_eq!((answer, reason(&context)), (status, why), "{scopes:?}");
        if why.is_some() {
            let scope = context.denial().unwrap().required_scope().unwrap();
            assert_eq!(scope.as_str(), "accounts:read");
        }
    }
}

#[tokio::test]
async fn an_endpoint_without_a_scope_is_refused_to_everybody() {
    let contract = Contract::builder()
        .endpoint(Endpoint::get("/a"))
        .deny_unscoped()
        .build()
        .unwrap();
    let both = ServiceBuilder::new()
        .layer(ContractLayer::new(contract))
        .layer(ScopeGuardLayer::new());
    let (request, context) = known("GET", "/a", Some(identity(&["accounts:read"])));
    assert_eq!(through(both.into_inner(), request).await, (403, 0));
    assert_eq!(reason(&context), Some(Reason::EndpointWithoutScope));
}

#[tokio::test]
async fn a_guard_without_an_endpoint_or_a_caller_fails_closed() {
    let (request, context) = known("GET", "/a/7", Some(identity(&["accounts:read"])));
    assert_eq!(through(ScopeGuardLayer::new(), request).await, (500, 0));
    assert_eq!(reason(&context), Some(Reason::MisconfiguredStack));

    let both = ServiceBuilder::new()
        .layer(layer())
        .layer(ScopeGuardLayer::new());
    let (request, context) = known("GET", "/a/7", None);
    assert_eq!(through(both.into_inner(), request).await, (500, 0));
    assert_eq!(reason(&context), Some(Reason::MisconfiguredStack));

    // The wrong order: the guard stands outside the contract.
    let wrong = ServiceBuilder::new()
        .layer(ScopeGuardLayer::new())
        .layer(layer());
    let (request, context) = known("GET", "/a/7", Some(identity(&["accounts:read"])));
    assert_eq!(through(wrong.into_inner(), request).await, (500, 0));
    assert_eq!(reason(&context), Some(Reason::MisconfiguredStack));
}

#[tokio::test]
async fn the_first_layer_gives_every_answer_its_id() {
    let service = layer().layer(ReadinessProbe::default());
    for (target, status) in [("/a/7", 200), ("/b", 403)] {
        let response = service.clone().oneshot(request("GET", target)).await;
        let response = response.unwrap();
        assert_eq!(response.status(), status);
        let id = &response.headers()[HeaderName::from_static("x-request-id")];
        assert!(id.to_str().unwrap().starts_with("req_"));
    }
}

#[tokio::test]
async fn errors_of_the_inner_service_pass_through() {
    let failing = service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("broken") });
    let service = layer().layer(failing);
    let answer = service.oneshot(request("GET", "/a/7")).await;
    assert_eq!(answer.unwrap_err(), "broken");
}

#[tokio::test]
async fn readiness_is_the_inner_services_own_through_buffer_and_load_shed() {
    let probe = ReadinessProbe::default();
    let service = ServiceBuilder::new()
        .buffer(8)
        .load_shed()
        .layer(layer())
        .service(probe.clone());
    for _ in 0..20 {
        let mut service = service.clone();
        let answer = service.ready().await.unwrap().call(request("GET", "/a/7"));
        assert_eq!(answer.await.unwrap().status(), 200);
        let refused = service.ready().await.unwrap().call(request("GET", "/b"));
        assert_eq!(refused.await.unwrap().status(), 403);
    }
    assert_eq!(probe.calls(), 20);
}

#[test]
fn a_future_that_is_dropped_half_way_leaves_the_record_whole() {
    let (request, context) = known("GET", "/a/7", None);
    let mut service = layer().layer(NeverAnswers);
    let mut future = Box::pin(service.call(request));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    drop(future);
    assert_eq!(context.endpoint().unwrap().template(), "/a/{id}");
    assert_eq!(reason(&context), None);
}

#[tokio::test]
async fn streaming_bodies_of_both_directions_pass() {
    type Streaming = UnsyncBoxBody<bytes::Bytes, std::io::Error>;
    let echo = service_fn(|request: Request<Streaming>| async {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let body = Full::from("hello").map_err(|never| match never {});
    let request = request("POST", "/a").map(|_| body.boxed_unsync());
    let response = layer().layer(echo).oneshot(request).await.unwrap();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(bytes, "hello");
}

#[tokio::test]
async fn an_endpoint_with_several_scopes_asks_for_all_of_one_alternative() {
    use countersign_core::RequiredScopes;
    let scope = |name: &str| name.parse().unwrap();
    let rule = RequiredScopes::any([
        vec![scope("accounts:admin")],
        vec![scope("accounts:read"), scope("balances:read")],
    ]);
    let endpoint = Endpoint::get("/a").scopes(rule.unwrap());
    let contract = Contract::builder().endpoint(endpoint).build().unwrap();
    assert_eq!(contract.scopes().iter().count(), 3);
    for (held, status) in [
        (&["accounts:admin"][..], 200),
        (&["accounts:read", "balances:read"], 200),
        (&["accounts:read"], 403),
        (&["balances:read", "payments:read"], 403),
    ] {
        let (request, context) = known("GET", "/a", Some(identity(held)));
        let layers = ServiceBuilder::new()
            .layer(ContractLayer::new(contract.clone()))
            .layer(ScopeGuardLayer::new());
        let service = layers.service(ReadinessProbe::default());
        let answer: Response<Body> = service.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{held:?}");
        assert_eq!(context.denial().is_some(), status == 403);
    }
    let (request, _) = known("GET", "/a", Some(identity(&["accounts:read", "x:y"])));
    let layers = ServiceBuilder::new()
        .layer(ContractLayer::new(contract))
        .layer(ScopeGuardLayer::new());
    let answer: Response<Body> = layers
        .service(ReadinessProbe::default())
        .oneshot(request)
        .await
        .unwrap();
    // Of two alternatives that lack one scope each, the one that was declared first.
    assert_eq!(
        answer.headers()["www-authenticate"],
        "Bearer error=\"insufficient_scope\", scope=\"accounts:admin\""
    );
}

#[tokio::test]
async fn the_stage_of_an_endpoint_opens_it_closes_it_or_shows_on_its_answers() {
    use countersign_core::Deprecation;
    let scope = || "accounts:read".parse().unwrap();
    let since = Deprecation::since("2026-10-01T00:00:00Z".parse().unwrap())
        .with_sunset("2027-04-01T00:00:00Z".parse().unwrap())
        .unwrap();
    let contract = Contract::builder()
        .endpoint(Endpoint::get("/draft").scope(scope()).draft())
        .endpoint(Endpoint::get("/beta").scope(scope()).beta())
        .endpoint(Endpoint::get("/ga").scope(scope()))
        .endpoint(
            Endpoint::get("/old")
                .scope(scope())
                .deprecated(since.clone()),
        )
        .endpoint(
            Endpoint::get("/gone")
                .scope(scope())
                .deprecated(since)
                .retired(),
        )
        .build()
        .unwrap();
    for (path, status, is_deprecated) in [
        ("/draft", 403, false),
        ("/beta", 200, false),
        ("/ga", 200, false),
        ("/old", 200, true),
        ("/gone", 403, false),
    ] {
        let (request, context) = known("GET", path, None);
        let service = ContractLayer::new(contract.clone()).layer(ReadinessProbe::default());
        let answer: Response<Body> = service.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let shown = answer.headers().get("deprecation");
        assert_eq!(shown.is_some(), is_deprecated, "{path}");
        assert_eq!(answer.headers().contains_key("sunset"), is_deprecated);
        // The audit names the entry, closed or not.
        assert_eq!(context.endpoint().unwrap().template(), path);
        let expected = (status == 403).then_some(Reason::EndpointUnknown);
        assert_eq!(reason(&context), expected, "{path}");
    }
    // A caller that is refused further in is told as well, and once.
    let (request, _) = known("GET", "/old", Some(identity(&["x:y"])));
    let layers = ServiceBuilder::new()
        .layer(ContractLayer::new(contract))
        .layer(ScopeGuardLayer::new());
    let answer: Response<Body> = layers
        .service(ReadinessProbe::default())
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.headers().get_all("deprecation").iter().count(), 1);
}

fn grpc_contract() -> ContractLayer {
    let scope = "payments:create".parse().unwrap();
    let method = Endpoint::grpc("/pay.v1.Payments/Create").scope(scope);
    ContractLayer::new(Contract::builder().endpoint(method).build().unwrap())
}

#[tokio::test]
async fn a_grpc_method_takes_grpc_calls_and_nothing_else() {
    const METHOD: &str = "/pay.v1.Payments/Create";
    let json = ("content-type", "application/json");
    let grpc = ("content-type", "application/grpc");
    let web = ("content-type", "application/grpc-web+proto");
    let (one, two) = (http::Version::HTTP_11, http::Version::HTTP_2);
    let malformed = Some(Reason::MalformedRequest);
    for (version, target, fields, expected) in [
        (two, METHOD, vec![grpc], None),
        (two, METHOD, vec![web], None),
        (one, METHOD, vec![web], None),
        (two, METHOD, vec![grpc, ("grpc-timeout", "1S")], None),
        (one, METHOD, vec![grpc], malformed),
        (two, METHOD, vec![json], malformed),
        (two, METHOD, vec![], malformed),
        (two, METHOD, vec![grpc, ("grpc-timeout", "0S")], malformed),
        (two, METHOD, vec![grpc, ("x-note-bin", "!!")], malformed),
        (
            two,
            "/pay.v1.Payments/create",
            vec![grpc],
            Some(Reason::EndpointUnknown),
        ),
        (
            two,
            "/pay.v1.Payments/",
            vec![grpc],
            Some(Reason::EndpointUnknown),
        ),
        (
            two,
            "//pay.v1.Payments/Create",
            vec![grpc],
            Some(Reason::AmbiguousTarget),
        ),
        (
            two,
            "pay.v1.Payments",
            vec![grpc],
            Some(Reason::AmbiguousTarget),
        ),
    ] {
        let mut request = request("POST", target);
        *request.version_mut() = version;
        for (name, value) in &fields {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let context = enter(&mut request);
        let probe = ReadinessProbe::default();
        let service = grpc_contract().layer(probe.clone());
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(
            reason(&context),
            expected,
            "{version:?} {target} {fields:?}"
        );
        assert_eq!(probe.calls(), usize::from(expected.is_none()));
        let speaks_grpc = fields.contains(&grpc) || fields.contains(&web);
        assert_eq!(
            response.headers().contains_key("grpc-status"),
            speaks_grpc && expected.is_some()
        );
    }
}
