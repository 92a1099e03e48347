//! The endpoint that the audit names is the handler that ran, however a router is put together.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use axum::{Router, ServiceExt};
use countersign::{
    AuditSink, AuditWriter, CompanyScope, Contract, Countersign, Endpoint, ManualClock,
    MemoryBackend, MemoryKeyStore, MemoryLog,
};
use proptest::prelude::*;
use serde_json::Value;
use support::{Answer, Keys, exchange, generous, request};
use tokio::net::TcpListener;
use tower::{Layer, Service};

/// A template and whether the contract names it.
type Route = (String, bool);

/// How routes are put together, and where the stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One router inside the stack's layer.
    Flat,
    /// `nest` and `merge` inside the stack's layer.
    Nested,
    /// Routers with a layer of their own, in `nest_service`.
    Services,
    /// A router with a layer of its own, as the fallback of another one.
    Fallback,
    /// The stack around the router; handlers ask for their company scope.
    Around,
    /// The stack's layer around `nest_service`: nobody can say which route is taken.
    Misplaced,
}

const SHAPES: [Shape; 6] = [
    Shape::Flat,
    Shape::Nested,
    Shape::Services,
    Shape::Fallback,
    Shape::Around,
    Shape::Misplaced,
];

/// Which handlers ran, by their templates.
type Ran = Arc<Mutex<Vec<String>>>;

struct App {
    address: SocketAddr,
    key: String,
    ran: Ran,
    log: MemoryLog,
    sink: AuditSink,
    _writer: AuditWriter,
}

/// One request that was answered, and the handlers that ran for it.
#[derive(Debug)]
struct Call {
    what: String,
    answer: Answer,
    ran: Vec<String>,
}

impl App {
    async fn start(shape: Shape, routes: &[Route]) -> Self {
        let clock = ManualClock::default();
        let store = Arc::new(MemoryKeyStore::default());
        let keys = Keys::store(&store, &clock).await;
        let (backend, log) = MemoryBackend::new();
        let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
        let stack = Countersign::builder()
            .contract(contract(routes))
            .key_store(store)
            .limits(generous())
            .audit(sink.clone())
            .edge(countersign::Edge::builder().clock(clock).build())
            .build()
            .unwrap();
        let ran = Ran::default();
        let address = assemble(shape, routes, stack, &ran).await;
        Self {
            address,
            key: keys.full,
            ran,
            log,
            sink,
            _writer: writer,
        }
    }

    async fn call(&self, method: &str, target: &str) -> Call {
        let bytes = request(method, target, &[("x-api-key", &self.key)], "");
        let answer = exchange(self.address, &bytes).await;
        let ran = std::mem::take(&mut *self.ran.lock().unwrap());
        let what = format!("{method} {target}");
        Call { what, answer, ran }
    }

    /// The audit's last word on each request, by its id.
    async fn outcomes(&self) -> BTreeMap<String, Value> {
        // The outcome is queued as the answer leaves; a moment may pass before it is in the queue.
        for _ in 0..20 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            self.sink.flush().await.unwrap();
        }
        let events = self.log.lines();
        let events = events
            .iter()
            .map(|line| serde_json::from_str(line).unwrap());
        events
            .map(|event: Value| (event["request_id"].as_str().unwrap_or("").to_owned(), event))
            .collect()
    }
}

fn contract(routes: &[Route]) -> Contract {
    let declared = routes.iter().filter(|(_, declared)| *declared);
    let scope = || "accounts:read".parse().unwrap();
    Contract::builder()
        .endpoints(declared.map(|(template, _)| Endpoint::get(template.clone()).scope(scope())))
        .build()
        .unwrap()
}

async fn assemble(shape: Shape, routes: &[Route], stack: Countersign, ran: &Ran) -> SocketAddr {
    match shape {
        Shape::Flat => serve(flat(routes, shape, ran).layer(stack)).await,
        Shape::Nested => serve(nested(routes, shape, ran, Router::nest).layer(stack)).await,
        Shape::Services => {
            let nest = |outer: Router, path: &str, inner: Router| {
                outer.nest_service(path, inner.layer(stack.clone()))
            };
            serve(nested(routes, shape, ran, nest)).await
        }
        Shape::Fallback => {
            let inner = flat(routes, shape, ran).layer(stack);
            serve(Router::new().fallback_service(inner)).await
        }
        Shape::Around => serve(stack.layer(nested(routes, shape, ran, Router::nest))).await,
        Shape::Misplaced => {
            let nest = |outer: Router, path: &str, inner: Router| outer.nest_service(path, inner);
            serve(nested(routes, shape, ran, nest).layer(stack)).await
        }
    }
}

fn flat(routes: &[Route], shape: Shape, ran: &Ran) -> Router {
    let add = |router: Router, (template, _): &Route| {
        router.route(template, handler(template, shape, ran))
    };
    routes.iter().fold(Router::new(), add)
}

/// The routes that begin with the same literal segment in a router of their own.
fn nested(
    routes: &[Route],
    shape: Shape,
    ran: &Ran,
    nest: impl Fn(Router, &str, Router) -> Router,
) -> Router {
    let mut inner: BTreeMap<String, Router> = BTreeMap::new();
    let mut rest = Vec::new();
    for route in routes {
        let Some((first, end)) = split(&route.0) else {
            rest.push(route.clone());
            continue;
        };
        let router = inner.remove(first).unwrap_or_default();
        let router = router.route(end, handler(&route.0, shape, ran));
        inner.insert(first.to_owned(), router);
    }
    if shape == Shape::Misplaced {
        // `nest_service` takes its prefix itself too.
        rest.retain(|(template, _)| !inner.contains_key(template));
    }
    let merged = Router::new().merge(flat(&rest, shape, ran));
    // Without a layer nothing may stand here that somebody could reach.
    let outer = if shape == Shape::Services {
        Router::new()
    } else {
        merged
    };
    inner
        .into_iter()
        .fold(outer, |outer, (path, router)| nest(outer, &path, router))
}

/// The literal first segment of a template, and the rest of it.
fn split(template: &str) -> Option<(&str, &str)> {
    let at = template[1..].find('/')? + 1;
    let (first, end) = template.split_at(at);
    (!first.contains('{') && end != "/").then_some((first, end))
}

fn handler(template: &str, shape: Shape, ran: &Ran) -> axum::routing::MethodRouter {
    let (template, ran) = (template.to_owned(), Arc::clone(ran));
    let note = move || ran.lock().unwrap().push(template);
    if shape == Shape::Around {
        any(|_: CompanyScope| async move { note() })
    } else {
        any(|| async move { note() })
    }
}

async fn serve<S>(service: S) -> SocketAddr
where
    S: Service<Request, Response = Response, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = service.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

/// Nothing ran but what the contract names, and it is what the audit says.
fn prove(call: &Call, routes: &[Route], outcomes: &BTreeMap<String, Value>) {
    let id = call.answer.header("x-request-id").unwrap_or("");
    let event = outcomes.get(id);
    let Some(ran) = call.ran.first() else {
        assert_ne!(call.answer.status, 200, "{}: {call:?}", call.what);
        return;
    };
    assert_eq!(call.ran.len(), 1, "{call:?}");
    assert_eq!(call.answer.status, 200, "{call:?}");
    assert!(routes.contains(&(ran.clone(), true)), "internal: {call:?}");
    let event = event.unwrap_or_else(|| panic!("no event: {call:?}"));
    assert_eq!(event["decision"], "allowed", "{event}");
    assert_eq!(event["route"], **ran, "{event}");
}

fn recorded() -> Vec<Value> {
    let text = include_str!("../crates/scope-guard/tests/vectors/request_targets.json");
    let rows: Value = serde_json::from_str(text).unwrap();
    rows["rows"].as_array().unwrap().clone()
}

/// The routes of the recorded targets, and internal ones that templates of the contract overlap.
fn routes() -> Vec<Route> {
    [
        ("/", true),
        ("/public/{*rest}", true),
        ("/v1/payments", true),
        ("/v1/payments/{id}", true),
        ("/n/whoami", true),
        ("/n/accounts/{id}", true),
        ("/v1/payments/all", false),
        ("/n/accounts/export", false),
        ("/n/internal", false),
        ("/admin/users", false),
    ]
    .map(|(template, declared)| (template.to_owned(), declared))
    .to_vec()
}

#[tokio::test]
async fn every_recorded_target_on_every_shape_of_router() {
    let (rows, routes) = (recorded(), routes());
    for shape in SHAPES {
        let app = App::start(shape, &routes).await;
        let mut calls = Vec::new();
        for row in &rows {
            let text = |name: &str| row[name].as_str().unwrap();
            let call = app.call(text("method"), text("target")).await;
            if text("strict_policy") == "reject" {
                assert!(call.ran.is_empty(), "{shape:?} {call:?}");
                // What is not a nested service's never meets the stack.
                let unseen = shape == Shape::Services && call.answer.status == 404;
                assert!(unseen || call.answer.status == 400, "{shape:?} {call:?}");
            } else if runs(shape, row, &routes) {
                assert_eq!(call.ran, [text("axum_matched_path")], "{shape:?} {row}");
            }
            calls.push(call);
        }
        for target in [
            "/v1/payments/all",
            "/n/accounts/export",
            "/n/internal",
            "/admin/users",
        ] {
            let call = app.call("GET", target).await;
            assert!(
                matches!(call.answer.status, 403 | 404 | 500),
                "{shape:?} {call:?}"
            );
            calls.push(call);
        }
        let outcomes = app.outcomes().await;
        calls
            .iter()
            .for_each(|call| prove(call, &routes, &outcomes));
    }
}

/// Whether a handler must run: what is let through is served, not only what is refused refused.
fn runs(shape: Shape, row: &Value, routes: &[Route]) -> bool {
    let matched = row["axum_matched_path"].as_str().unwrap().to_owned();
    let whole = matches!(
        shape,
        Shape::Flat | Shape::Nested | Shape::Fallback | Shape::Around
    );
    whole
        && matches!(row["method"].as_str().unwrap(), "GET" | "HEAD")
        && row["axum_status"] == "200 OK"
        && routes.contains(&(matched, true))
}

#[tokio::test]
async fn a_stack_that_cannot_know_the_route_refuses_and_says_so() {
    let app = App::start(Shape::Misplaced, &routes()).await;
    for target in ["/v1/payments/7", "/v1/payments/all"] {
        let call = app.call("GET", target).await;
        assert_eq!((call.answer.status, call.ran.len()), (500, 0), "{call:?}");
        let id = call.answer.header("x-request-id").unwrap();
        assert_eq!(app.outcomes().await[id]["reason"], "misconfigured_stack");
    }
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]{1,2}", 1 => "[ab]%20", 2 => Just("{x}".to_owned())]
}

fn template() -> impl Strategy<Value = String> {
    let end = prop_oneof![5 => Just(""), 1 => Just("/{*rest}")];
    (proptest::collection::vec(segment(), 1..4), end).prop_map(|(segments, end)| {
        let named = segments.iter().enumerate();
        let named = named.map(|(at, it)| it.replace('x', &format!("x{at}")));
        format!("/{}{end}", named.collect::<Vec<_>>().join("/"))
    })
}

/// Routes that one router can hold, some of them not in the contract.
fn some_routes() -> impl Strategy<Value = Vec<Route>> {
    proptest::collection::vec((template(), prop::bool::weighted(0.6)), 1..10).prop_map(|all| {
        let mut kept: Vec<Route> = Vec::new();
        for route in all {
            kept.push(route);
            if conflict(&kept) {
                kept.pop();
            }
        }
        kept
    })
}

/// Whether a router would not take these routes together, as a contract would not.
fn conflict(routes: &[Route]) -> bool {
    let all = routes.iter().map(|(template, _)| template.clone());
    let scope = || "accounts:read".parse().unwrap();
    let contract = Contract::builder().endpoints(all.map(|it| Endpoint::get(it).scope(scope())));
    contract.build().is_err()
}

fn target() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        6 => "[ab]{1,2}",
        1 => "[ab]%20",
        1 => proptest::sample::select(vec!["..", ".", "", "%2e%2e", "a%2Fb", "a;b", "%61"]).prop_map(str::to_owned),
    ];
    (proptest::collection::vec(segment, 0..5), "/?(\\?a=/b)?")
        .prop_map(|(segments, end)| format!("/{}{end}", segments.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_router_runs_what_the_contract_did_not_decide_on(
        routes in some_routes(),
        shape in proptest::sample::select(SHAPES.to_vec()),
        targets in proptest::collection::vec(target(), 24),
    ) {
        prop_assume!(routes.iter().any(|(_, declared)| *declared));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let app = App::start(shape, &routes).await;
            let mut calls = Vec::new();
            for target in &targets {
                calls.push(app.call("GET", target).await);
            }
            let outcomes = app.outcomes().await;
            calls.iter().for_each(|call| prove(call, &routes, &outcomes));
        });
    }
}
