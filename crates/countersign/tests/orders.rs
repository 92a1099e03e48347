//! Layers put together by hand, in every order there is: whatever the order, nothing reaches the
//! handler that a layer refuses, and an order in which a layer can't do its work answers 500, with
//! one log line that says which layer misses what.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use countersign::{
    Actor, AuditLayer, AuditSink, AuditWriter, Clock, CompanyScopeLayer, Contract, ContractLayer,
    Dimension, Edge, Endpoint, Environment, IntentLayer, IssueRequest, KeyManager, KeyVerifier,
    KeyVerifyLayer, LocalLimits, ManualClock, MemoryBackend, MemoryKeyStore, MemoryLog, PeerAddr,
    Policies, Policy, Quota, RateLimitLayer, RawKey, ScopeGuardLayer, ScopeSet, SourceThrottle,
};
use countersign_core::testing::ReadinessProbe;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::Value;
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt};
use tracing::field::{Field, Visit};
use tracing::span;

const AUDIT: usize = 0;
const CONTRACT: usize = 1;
const KEY: usize = 2;
const COMPANY: usize = 3;
const SCOPE: usize = 4;
const LIMITS: usize = 5;
const INTENT: usize = 6;
const LAYERS: usize = 7;

type Stack = BoxCloneService<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible>;

struct World {
    audit: AuditLayer,
    contract: Contract,
    verifier: KeyVerifier,
    sink: AuditSink,
    log: MemoryLog,
    edge: Edge,
    full: String,
    narrow: String,
    probe: ReadinessProbe,
    _writer: AuditWriter,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::default();
        let store = Arc::new(MemoryKeyStore::default());
        let manager = KeyManager::builder(Arc::clone(&store)).clock(clock.clone());
        let manager = manager.build().unwrap();
        let operator = Actor::operator("ada").unwrap();
        let company = "company_12".parse().unwrap();
        manager.create_company(&operator, company).await.unwrap();
        let mut keys = Vec::new();
        for scopes in [&["payments:create"], &["accounts:read"]] {
            let scopes = ScopeSet::from_names(scopes.iter().copied()).unwrap();
            let expiry = clock.now().wall.saturating_add(Duration::from_secs(3600));
            let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
            let issued = manager.issue(&operator, request.activate_now(true)).await;
            keys.push(issued.unwrap().key.expose().to_string());
        }
        let (backend, log) = MemoryBackend::new();
        let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
        let scope = "payments:create".parse().unwrap();
        let endpoint = Endpoint::post("/payments").scope(scope).sensitive();
        let edge = Edge::builder().clock(clock.clone()).build();
        let verifier = KeyVerifier::builder(store).clock(clock);
        Self {
            audit: AuditLayer::new(sink.clone()).with_edge(edge.clone()),
            contract: Contract::builder().endpoint(endpoint).build().unwrap(),
            verifier: verifier
                .failure_meter(Arc::new(SourceThrottle::default()))
                .build()
                .unwrap(),
            sink,
            log,
            edge,
            narrow: keys.pop().unwrap(),
            full: keys.pop().unwrap(),
            probe: ReadinessProbe::default(),
            _writer: writer,
        }
    }

    /// The layers in this order, the first one outside. Each has limits of its own.
    fn stack(&self, order: &[usize], burst: u32) -> Stack {
        let mut stack = BoxCloneService::new(self.probe.clone());
        for layer in order.iter().rev() {
            stack = self.around(*layer, burst, stack);
        }
        stack
    }

    fn around(&self, layer: usize, burst: u32, inner: Stack) -> Stack {
        let edge = self.edge.clone();
        match layer {
            AUDIT => BoxCloneService::new(self.audit.layer(inner)),
            CONTRACT => {
                let contract = ContractLayer::new(self.contract.clone()).with_edge(edge);
                BoxCloneService::new(contract.layer(inner))
            }
            KEY => {
                let keys = KeyVerifyLayer::new(self.verifier.clone()).with_edge(edge);
                BoxCloneService::new(keys.layer(inner))
            }
            COMPANY => {
                let company = CompanyScopeLayer::new().with_edge(edge);
                BoxCloneService::new(company.claim_query("company_id").layer(inner))
            }
            SCOPE => BoxCloneService::new(ScopeGuardLayer::new().with_edge(edge).layer(inner)),
            LIMITS => {
                let quota = Quota::per_second(burst, 1).unwrap();
                let policies = Policies::new([Policy::new("key", Dimension::Key, quota)]);
                let limits = RateLimitLayer::new(policies.unwrap(), LocalLimits::default());
                BoxCloneService::new(limits.with_edge(edge).layer(inner))
            }
            _ => {
                let intent: IntentLayer = self.audit.intent();
                BoxCloneService::new(intent.with_edge(edge).layer(inner))
            }
        }
    }

    fn request(&self, target: &str, key: &str) -> Request<Full<Bytes>> {
        let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        Request::post(target)
            .header("host", "api.example.com")
            .header("x-api-key", key)
            .extension(PeerAddr(peer))
            .body(Full::default())
            .unwrap()
    }

    async fn status(&self, stack: &Stack, target: &str, key: &str) -> u16 {
        let answer = stack.clone().oneshot(self.request(target, key)).await;
        answer.unwrap().status().as_u16()
    }

    async fn events(&self) -> Vec<Value> {
        self.sink.flush().await.unwrap();
        let lines = self.log.lines();
        let events = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        events.collect()
    }
}

/// Whether every layer finds what it needs: the audit is outermost, the caller is known to all that
/// ask who calls, and the endpoint to all that ask what is called.
fn is_sound(order: &[usize]) -> bool {
    let at = |layer: usize| order.iter().position(|it| *it == layer).unwrap();
    order[0] == AUDIT
        && [COMPANY, SCOPE, LIMITS, INTENT]
            .iter()
            .all(|it| at(KEY) < at(*it))
        && [SCOPE, LIMITS, INTENT]
            .iter()
            .all(|it| at(CONTRACT) < at(*it))
}

fn orders() -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for layer in 0..LAYERS {
        all = all
            .into_iter()
            .flat_map(|begun: Vec<usize>| {
                (0..=begun.len()).map(move |at| {
                    let mut order = begun.clone();
                    order.insert(at, layer);
                    order
                })
            })
            .collect();
    }
    all
}

#[tokio::test]
async fn an_order_works_as_the_right_one_does_or_answers_500_and_says_why_once() {
    let world = World::new().await;
    let loud = Loud::default();
    let _guard = tracing::subscriber::set_default(loud.clone());
    let orders = orders();
    assert_eq!(orders.len(), 5_040);
    let mut sound = 0;
    for order in orders {
        let stack = world.stack(&order, 10);
        let before = world.probe.calls();
        let status = world.status(&stack, "/payments", &world.full).await;
        let calls = world.probe.calls() - before;
        let lines = loud.take();
        if is_sound(&order) {
            sound += 1;
            assert_eq!((status, calls), (200, 1), "{order:?} {lines:?}");
            assert!(lines.is_empty(), "{order:?} {lines:?}");
        } else {
            assert_eq!((status, calls), (500, 0), "{order:?} {lines:?}");
            let [line] = &lines[..] else {
                panic!("one line for {order:?}: {lines:?}");
            };
            assert!(line.contains("misconfigured stack"), "{line}");
            assert!(line.contains("layer="), "{line}");
            assert!(line.contains("missing="), "{line}");
        }
    }
    // Four layers follow contract and key, which are exchangeable; company-scope may stand between.
    assert_eq!(
        sound,
        2 * 24 + 6,
        "orders that do the same as the right one"
    );
}

/// What a layer refuses does not reach the handler in any order, and where the audit is outermost it
/// is in the log.
#[tokio::test]
async fn no_order_lets_anything_through_that_a_layer_refuses() {
    let world = World::new().await;
    let unknown = RawKey::generate("acme", Environment::Live).unwrap();
    let unknown = unknown.expose();
    let mut tried = 0;
    for order in orders() {
        let stack = world.stack(&order, 1);
        let refused = [
            ("/payments", ""),
            ("/payments", unknown.as_str()),
            ("/payments", world.narrow.as_str()),
            ("/refunds", world.full.as_str()),
            ("//payments", world.full.as_str()),
            ("/payments?company_id=company_34", world.full.as_str()),
        ];
        for (target, key) in refused {
            let status = world.status(&stack, target, key).await;
            assert!(status >= 400, "{order:?} {target}: {status}");
            tried += 1;
        }
        assert_eq!(world.probe.calls(), 0, "{order:?}");
    }
    assert_eq!(tried, 5_040 * 6);
}

/// The limit holds in every order in which anybody is let in at all, and each call that is let in has
/// its intent before its outcome.
#[tokio::test]
async fn every_sound_order_counts_and_records() {
    let world = World::new().await;
    for order in orders().into_iter().filter(|order| is_sound(order)) {
        let stack = world.stack(&order, 1);
        let before = (world.probe.calls(), world.events().await.len());
        assert_eq!(world.status(&stack, "/payments", &world.full).await, 200);
        assert_eq!(world.status(&stack, "/payments", &world.full).await, 429);
        assert_eq!(world.probe.calls() - before.0, 1, "{order:?}");
        let events = world.events().await.split_off(before.1);
        let told: Vec<_> = events
            .iter()
            .map(|it| it["type"].as_str().unwrap())
            .collect();
        let of = |kind: &str| {
            let kind = format!("external_api.request.{kind}");
            told.iter().position(|it| **it == kind)
        };
        assert!(of("intent").unwrap() < of("allowed").unwrap(), "{order:?}");
        assert!(of("rate_limited").is_some(), "{order:?} {told:?}");
        let allowed = &events[of("allowed").unwrap()];
        for field in ["key_id", "effective_company", "route", "required_scope"] {
            assert!(allowed[field].is_string(), "{order:?} {field}");
        }
    }
}

/// A layer that others need is missed in every order of the rest.
#[tokio::test]
async fn a_layer_that_others_need_is_missed() {
    let world = World::new().await;
    for missing in [CONTRACT, KEY] {
        for order in orders() {
            let order: Vec<_> = order.into_iter().filter(|it| *it != missing).collect();
            let stack = world.stack(&order, 10);
            let status = world.status(&stack, "/payments", &world.full).await;
            assert_eq!(status, 500, "{order:?}");
        }
    }
    assert_eq!(world.probe.calls(), 0);
}

/// What a call costs stands in the contract: limits that know no endpoint would count less, and let
/// more through.
#[tokio::test]
async fn a_contract_behind_the_limits_is_missed_by_them() {
    let world = World::new().await;
    let loud = Loud::default();
    let _guard = tracing::subscriber::set_default(loud.clone());
    let order = [AUDIT, KEY, LIMITS, CONTRACT, COMPANY, SCOPE, INTENT];
    let stack = world.stack(&order, 10);
    assert_eq!(world.status(&stack, "/payments", &world.full).await, 500);
    let lines = loud.take();
    assert!(
        lines[0].contains("its place outside the layer that limits"),
        "{lines:?}"
    );
}

/// Takes down what is logged as an error.
#[derive(Clone, Default)]
struct Loud(Arc<Mutex<Vec<String>>>);

impl Loud {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl tracing::Subscriber for Loud {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}
