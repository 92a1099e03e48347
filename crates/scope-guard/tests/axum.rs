//! Inside and around an axum router: the contract and the router decide alike, or the request
//! fails closed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{MethodRouter, any, on};
use countersign_core::Reason;
use countersign_scope_guard::{Contract, ContractLayer};
use http::Method;
use http_body_util::BodyExt;
use proptest::prelude::*;
use support::{contract, enter, reason};
use tower::{Layer, ServiceExt};

fn ask(method: &str, target: &str) -> Request {
    support::request(method, target).map(Body::new)
}

/// A handler that answers with the name it was given.
fn says(method: &str, name: &str) -> MethodRouter {
    let name = name.to_owned();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    on(method.try_into().unwrap(), move || async { name })
}

async fn text(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

async fn status_and_reason(app: Router, mut request: Request) -> (u16, Option<Reason>) {
    let context = enter(&mut request);
    let (status, _) = text(app.oneshot(request).await.unwrap()).await;
    (status, reason(&context))
}

const OK: (u16, Option<Reason>) = (200, None);
const UNKNOWN: (u16, Option<Reason>) = (403, Some(Reason::EndpointUnknown));
const MISCONFIGURED: (u16, Option<Reason>) = (500, Some(Reason::MisconfiguredStack));

#[tokio::test]
async fn an_internal_route_that_overlaps_a_declared_template_is_not_reachable() {
    let layer = ContractLayer::new(contract(&[("GET", "/accounts/{id}")]));
    let app = Router::new()
        .route("/accounts/{id}", any(|| async {}))
        .route("/accounts/all", any(|| async {}))
        .layer(layer);
    let asked = status_and_reason(app.clone(), ask("GET", "/accounts/7")).await;
    assert_eq!(asked, OK);
    for (method, target) in [
        ("GET", "/accounts/all"),
        ("HEAD", "/accounts/all"),
        ("DELETE", "/accounts/7"),
    ] {
        let asked = status_and_reason(app.clone(), ask(method, target)).await;
        assert_eq!(asked, UNKNOWN, "{method} {target}");
    }
}

#[tokio::test]
async fn a_router_that_takes_another_declared_route_is_a_mistake() {
    // The contract would decide on the scope of one endpoint, and the router runs the other.
    let layer = ContractLayer::new(contract(&[
        ("GET", "/accounts/{id}"),
        ("GET", "/accounts/all"),
    ]));
    let app = Router::new()
        .route("/accounts/{id}", any(|| async {}))
        .layer(layer);
    let asked = status_and_reason(app, ask("GET", "/accounts/all")).await;
    assert_eq!(asked, MISCONFIGURED);
}

#[tokio::test]
async fn names_of_parameters_are_part_of_a_template() {
    let layer = ContractLayer::new(contract(&[("GET", "/accounts/{account}")]));
    let app = Router::new()
        .route("/accounts/{id}", any(|| async {}))
        .layer(layer);
    assert_eq!(
        status_and_reason(app, ask("GET", "/accounts/7")).await,
        UNKNOWN
    );
}

#[tokio::test]
async fn a_layer_inside_nest_looks_up_what_the_caller_sent() {
    let declared = [("GET", "/v1/accounts/{id}"), ("GET", "/v1")];
    let inner = Router::new()
        .route("/", any(|| async {}))
        .route("/accounts/{id}", any(|| async {}))
        .layer(ContractLayer::new(contract(&declared)));
    let flat = Router::new().nest("/v1", inner.clone());
    let service = Router::new().nest_service("/v1", inner.clone());
    let deep = Router::new().nest("/{version}", inner);
    for app in [flat, service] {
        let asked = status_and_reason(app.clone(), ask("GET", "/v1/accounts/7?x=1")).await;
        assert_eq!(asked, OK);
        let asked = status_and_reason(app, ask("GET", "/v1/accounts/..")).await;
        assert_eq!(asked, (400, Some(Reason::AmbiguousTarget)));
    }
    let asked = status_and_reason(deep, ask("GET", "/v1/accounts/7")).await;
    assert_eq!(asked, UNKNOWN, "the router knows another template");
}

#[tokio::test]
async fn the_stripped_end_of_a_target_is_never_looked_up() {
    // Declared for outside callers as "/accounts"; the nested one is another endpoint.
    let inner = Router::new()
        .route("/accounts", any(|| async {}))
        .layer(ContractLayer::new(contract(&[("GET", "/accounts")])));
    for app in [
        Router::new().nest("/internal", inner.clone()),
        Router::new().nest_service("/internal", inner),
    ] {
        let asked = status_and_reason(app, ask("GET", "/internal/accounts")).await;
        assert_eq!(asked, UNKNOWN);
    }
}

#[tokio::test]
async fn a_layer_around_nested_and_merged_routers_sees_whole_targets() {
    let declared = [
        ("GET", "/v1/accounts/{id}"),
        ("GET", "/health"),
        ("GET", "/v1"),
    ];
    let app = Router::new()
        .nest(
            "/v1",
            Router::new()
                .route("/", any(|| async {}))
                .route("/accounts/{id}", any(|| async {})),
        )
        .merge(Router::new().route("/health", any(|| async {})))
        .layer(ContractLayer::new(contract(&declared)));
    for target in ["/v1/accounts/7", "/health", "/v1"] {
        let asked = status_and_reason(app.clone(), ask("GET", target)).await;
        assert_eq!(asked, OK, "{target}");
    }
    let asked = status_and_reason(app, ask("GET", "/nowhere")).await;
    assert_eq!(
        asked, UNKNOWN,
        "the router's fallback is behind the layer too"
    );
}

#[tokio::test]
async fn a_target_that_was_rewritten_inside_a_router_fails_closed() {
    // `OriginalUri` is the outer router's, while the inner router takes what the middleware wrote.
    let inner = Router::new().route("/internal", any(|| async {}));
    let guarded = ContractLayer::new(contract(&[("GET", "/accounts")])).layer(inner);
    let rewriting = tower::util::MapRequestLayer::new(|mut request: Request| {
        *request.uri_mut() = "/internal".parse().unwrap();
        request
    });
    // In the second the outer router names a route that the contract agrees with.
    for app in [
        Router::new().fallback_service(rewriting.layer(guarded.clone())),
        Router::new().route_service("/accounts", rewriting.layer(guarded)),
    ] {
        let asked = status_and_reason(app, ask("GET", "/accounts")).await;
        assert_eq!(asked, MISCONFIGURED);
    }
}

#[tokio::test]
async fn a_wildcard_route_counts_only_where_the_contract_declares_it() {
    let app = |declared: &str| {
        Router::new()
            .route("/pkg.Service/{*rest}", any(|| async {}))
            .layer(ContractLayer::new(contract(&[("POST", declared)])))
    };
    let asked = || ask("POST", "/pkg.Service/Create");
    let method = status_and_reason(app("/pkg.Service/Create"), asked()).await;
    assert_eq!(method, UNKNOWN);
    let wildcard = status_and_reason(app("/pkg.Service/{*rest}"), asked()).await;
    assert_eq!(wildcard, OK);
    // Around the router, the contract decides alone.
    let outside = ContractLayer::new(contract(&[("POST", "/pkg.Service/Create")]))
        .layer(Router::new().route("/pkg.Service/{*rest}", any(|| async {})));
    let mut request = asked();
    let context = enter(&mut request);
    assert_eq!(outside.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(reason(&context), None);
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[ab]{1,2}",
        2 => "[ab]%20",
        2 => "\\{[xy]\\}",
    ]
}

fn template() -> impl Strategy<Value = String> {
    let end = prop_oneof![4 => Just(""), 1 => Just("/"), 1 => Just("/{*rest}")];
    (proptest::collection::vec(segment(), 0..4), end)
        .prop_map(|(segments, end)| format!("/{}{end}", segments.join("/")).replace("//", "/"))
}

fn target() -> impl Strategy<Value = String> {
    let segment = prop_oneof![4 => "[ab]{1,2}", 2 => "[ab]%20", 1 => "%7Bx%7D", 1 => "[xy.]{1,3}"];
    (proptest::collection::vec(segment, 0..5), "/?(\\?a=/b)?")
        .prop_map(|(segments, end)| format!("/{}{end}", segments.join("/")))
}

/// The endpoints that both a contract and a router can hold, as (method, template).
fn endpoints() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let method = proptest::sample::select(vec!["GET", "POST", "DELETE"]);
    proptest::collection::vec((method, template()), 1..12).prop_map(|all| {
        let mut kept: Vec<(&str, String)> = Vec::new();
        for endpoint in all {
            kept.push(endpoint);
            if try_contract(&kept).is_none() {
                kept.pop();
            }
        }
        kept
    })
}

fn try_contract(endpoints: &[(&str, String)]) -> Option<Contract> {
    let all = endpoints.iter().map(|(method, template)| {
        let method = method.parse().unwrap();
        let scope = "accounts:read".parse().unwrap();
        countersign_core::Endpoint::new(method, template.clone()).scope(scope)
    });
    Contract::builder().endpoints(all).build().ok()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    { runtime }.build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn contract_and_router_find_the_same_endpoint(
        endpoints in endpoints(),
        targets in proptest::collection::vec(target(), 1..24),
        method in proptest::sample::select(vec!["GET", "POST", "HEAD", "DELETE", "OPTIONS"]),
        nested in proptest::bool::ANY,
    ) {
        let prefix = if nested { "/n" } else { "" };
        let full = |template: &str| match (nested, template) {
            (true, "/") => "/n".to_owned(),
            _ => format!("{prefix}{template}"),
        };
        let declared: Vec<_> = endpoints.iter().map(|(m, t)| (*m, full(t))).collect();
        let contract = try_contract(&declared).unwrap();
        // Half of the routes come by `merge`.
        let (mut router, mut merged) = (Router::new(), Router::new());
        for (index, (method, template)) in endpoints.iter().enumerate() {
            let handler = says(method, &format!("{method} {}", full(template)));
            let part = if index % 2 == 0 { &mut router } else { &mut merged };
            *part = std::mem::take(part).route(template, handler);
        }
        router = router.merge(merged);
        if nested {
            router = Router::new().nest("/n", router);
        }
        let guarded = router.clone().layer(ContractLayer::new(contract.clone()));
        for target in targets {
            let target = format!("{prefix}{target}");
            let asked = ask(method, &target);
            let clear = countersign_scope_guard::target::check(
                asked.method(), asked.uri(), asked.headers(), asked.version(),
            );
            let path = asked.uri().path().to_owned();
            let method = asked.method().clone();
            let found = contract.find(&method, &path).map(|e| format!("{} {}", e.method(), e.template()));
            let (status, body) = run(async { text(router.clone().oneshot(asked).await.unwrap()).await });
            let (guarded_status, _) = run(async {
                text(guarded.clone().oneshot(ask(method.as_str(), &target)).await.unwrap()).await
            });
            if clear.is_err() {
                prop_assert_eq!(guarded_status, 400);
                continue;
            }
            match found {
                Some(found) => {
                    prop_assert_eq!(status, 200, "{} {}", method, target);
                    if method != Method::HEAD {
                        prop_assert_eq!(found, body);
                    }
                    prop_assert_eq!(guarded_status, 200);
                }
                None => {
                    prop_assert!(status == 404 || status == 405, "{} {}: {}", method, target, status);
                    prop_assert_eq!(guarded_status, 403);
                }
            }
        }
    }
}

/// tonic routes a whole service as one wildcard.
#[tokio::test]
async fn a_grpc_method_is_reached_by_the_route_of_its_service() {
    let scope = "accounts:read".parse().unwrap();
    let contract = Contract::builder()
        .endpoint(countersign_core::Endpoint::grpc("/pay.v1.Payments/Create").scope(scope))
        .build()
        .unwrap();
    let layer = ContractLayer::new(contract);
    let app = |route: &str| {
        Router::new()
            .route(route, says("POST", "it"))
            .layer(layer.clone())
    };
    let call = |target: &str| {
        let mut request = ask("POST", target);
        *request.version_mut() = http::Version::HTTP_2;
        let grpc = "application/grpc".parse().unwrap();
        request.headers_mut().insert("content-type", grpc);
        request
    };
    let asked = |route: &str, target: &str| {
        let (app, mut request) = (app(route), call(target));
        async move {
            let context = enter(&mut request);
            app.oneshot(request).await.unwrap();
            reason(&context)
        }
    };
    let service = "/pay.v1.Payments/{*rest}";
    assert_eq!(asked(service, "/pay.v1.Payments/Create").await, None);
    for (route, target) in [
        (service, "/pay.v1.Payments/Delete"),
        ("/{*rest}", "/pay.v1.Payments/Create"),
        ("/{service}/{method}", "/pay.v1.Payments/Create"),
    ] {
        let reason = asked(route, target).await;
        assert_eq!(reason, Some(Reason::EndpointUnknown), "{route} {target}");
    }
}
