//! What the tests share: a stack around a handler, and ways to look at its log.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use countersign_audit_sink::{AuditEvent, AuditSink, AuditWriter, MemoryBackend, MemoryLog};
use countersign_core::{
    AccessContext, ActorType, Edge, Endpoint, Environment, EventId, Identity, KeyId,
    LifecycleEvent, LifecycleKind, MatchedEndpoint, PeerAddr, ScopeSet, Timestamp,
};
use http::{Request, Response};
use http_body_util::Full;
use tower::Service;

pub(crate) type Answer = Response<Full<Bytes>>;

/// A log that is up.
pub(crate) async fn memory_log() -> (AuditSink, AuditWriter, MemoryLog) {
    let (backend, log) = MemoryBackend::new();
    let builder = AuditSink::builder(backend).deadline(Duration::from_millis(40));
    let (sink, writer) = builder.tick(Duration::from_millis(1)).spawn().unwrap();
    sink.flush().await.unwrap();
    (sink, writer, log)
}

/// Does what the layers between the audit and the handler do: fills in endpoint and identity.
#[derive(Clone, Debug)]
pub(crate) struct Identify<S> {
    pub(crate) inner: S,
    pub(crate) endpoint: &'static Endpoint,
}

impl<S> Identify<S> {
    pub(crate) fn new(endpoint: Endpoint, inner: S) -> Self {
        let endpoint = endpoint.kept();
        Self { inner, endpoint }
    }
}

impl<S, B> Service<Request<B>> for Identify<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let entered = Edge::default().enter(&mut request);
        identify(entered.context(&request), self.endpoint, &request);
        self.inner.call(request)
    }
}

pub(crate) fn identify<B>(
    context: &AccessContext,
    endpoint: &'static Endpoint,
    request: &Request<B>,
) {
    let target = request.uri().path_and_query().unwrap().clone();
    context
        .match_endpoint(MatchedEndpoint { endpoint, target })
        .unwrap();
    context.identify(caller()).unwrap();
}

pub(crate) fn caller() -> Identity {
    let scopes = ScopeSet::from_names(["payments:create"]).unwrap();
    Identity::new("company_12".parse().unwrap(), Environment::Live, scopes).with_key(
        KeyId::from_u128(7),
        "acme_live_pBakQVyk6bW4".parse().unwrap(),
    )
}

pub(crate) fn payments() -> Endpoint {
    Endpoint::post("/payments/{id}").scope("payments:create".parse().unwrap())
}

pub(crate) fn request() -> Request<Full<Bytes>> {
    let peer = PeerAddr("203.0.113.9:4711".parse::<SocketAddr>().unwrap());
    Request::post("/payments/17")
        .header("user-agent", "curl/8")
        .extension(peer)
        .body(Full::default())
        .unwrap()
}

pub(crate) fn ok() -> Result<Answer, Infallible> {
    Ok(Response::new(Full::default()))
}

pub(crate) fn lifecycle(actor: &str) -> AuditEvent {
    lifecycle_event(actor).into()
}

pub(crate) fn lifecycle_event(actor: &str) -> LifecycleEvent {
    let time = Timestamp::from_micros(1_767_225_600_000_000);
    LifecycleEvent {
        id: EventId::generate(time),
        time,
        kind: LifecycleKind::TokenRevoked,
        actor_type: ActorType::Operator,
        actor: actor.to_owned(),
        company: "company_12".parse().unwrap(),
        environment: None,
        key_id: None,
        key_prefix: None,
        reason: Some("suspected_leakage".to_owned()),
        linked_key: None,
        subsidiaries: Vec::new(),
        scopes: Vec::new(),
        ends_at: None,
        changed: None,
    }
}

/// Every line of the log, once all that was queued is written.
pub(crate) async fn lines(sink: &AuditSink, log: &MemoryLog) -> Vec<serde_json::Value> {
    sink.flush().await.unwrap();
    parse(&log.lines())
}

/// Every line of the first segment of a log in files.
pub(crate) fn file_lines(directory: &Path) -> Vec<serde_json::Value> {
    let first = directory.join("segments/00000000000000000000.jsonl");
    let text = std::fs::read_to_string(first).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    parse(&lines)
}

pub(crate) fn parse(lines: &[String]) -> Vec<serde_json::Value> {
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(crate) fn assert_contiguous(lines: &[serde_json::Value]) {
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["seq"], index, "{line}");
    }
}

/// Gives other tasks and threads their turn until `done`.
pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    let waited = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waited);
    waited
        .await
        .unwrap_or_else(|_| panic!("waited for: {what}"));
}
