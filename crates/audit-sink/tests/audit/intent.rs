//! The intent of a sensitive call is on disk before its handler runs.

use std::future::ready;
use std::time::Duration;

use crate::common::*;
use bytes::Bytes;
use countersign_audit_sink::*;
use countersign_core::testing::ReadinessProbe;
use countersign_core::{AccessContext, Edge};
use http::Request;
use http_body_util::Full;
use tempfile::TempDir;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Stack<S> = Audit<Identify<Intent<S>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handler_finds_its_intent_in_the_file() {
    let temporary = TempDir::new().unwrap();
    let directory = temporary.path().join("log");
    let backend = FileLog::open(&directory).unwrap();
    let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
    let path = directory.join("segments/00000000000000000000.jsonl");
    let log = path.clone();
    let handler = service_fn(move |request: Request<Full<Bytes>>| {
        let id = AccessContext::of(&request)
            .unwrap()
            .request_id()
            .to_string();
        // A write under way may show the beginning of a line.
        let text = std::fs::read_to_string(&log).unwrap();
        let whole = &text[..text.rfind('\n').unwrap()];
        let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
        let lines = parse(&lines);
        let mine: Vec<_> = lines
            .iter()
            .filter(|l| l["request_id"] == id.as_str())
            .collect();
        assert_eq!(mine.len(), 1, "the intent, and no outcome yet");
        assert_eq!(mine[0]["type"], "external_api.request.intent");
        assert_eq!(mine[0]["decision"], "allowed");
        assert_eq!(mine[0]["sensitivity"], "sensitive");
        ready(ok())
    });
    let service = stack(&sink, true, handler);
    let calls: Vec<_> = (0..40)
        .map(|_| tokio::spawn(service.clone().oneshot(request())))
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    drop(service);
    let report = writer.shutdown(Duration::from_secs(20)).await;
    assert_eq!((report.written, report.lost), (82, 0));
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_contiguous(&parse(&lines));
}

#[tokio::test]
async fn only_sensitive_calls_have_an_intent() {
    let (sink, _writer, log) = memory_log().await;
    let service = stack(&sink, false, ReadinessProbe::default());
    service.oneshot(request()).await.unwrap();
    let lines = lines(&sink, &log).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["type"], "external_api.request.allowed");
}

#[tokio::test]
async fn without_a_durable_intent_the_handler_does_not_run() {
    let (sink, _writer, log) = memory_log().await;
    let probe = ReadinessProbe::default();
    let service = stack(&sink, true, probe.clone());
    for hang in [false, true] {
        // The gate closes with the first write that fails, and that is the intent's.
        log.fail(!hang);
        log.hang(hang);
        let response = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(probe.calls(), 0);
        log.fail(false);
        log.hang(false);
        until("the gate to open", || sink.health().accepting).await;
    }
    let lines = lines(&sink, &log).await;
    assert_contiguous(&lines);
    let outcomes: Vec<_> = lines.iter().filter(|l| l["status"] == 503).collect();
    assert_eq!(outcomes.len(), 2);
    for outcome in outcomes {
        assert_eq!(outcome["reason"], "audit_unavailable");
        assert_eq!(outcome["type"], "external_api.request.failed");
        assert_eq!(outcome["decision"], "denied");
    }
}

#[tokio::test]
async fn it_refuses_when_endpoint_or_identity_are_unknown() {
    let (sink, _writer, _log) = memory_log().await;
    let probe = ReadinessProbe::default();
    let layer = IntentLayer::new(sink);
    let alone = layer.layer(probe.clone());
    assert_eq!(alone.oneshot(request()).await.unwrap().status(), 500);
    let mut nobody = request();
    let entered = Edge::default().enter(&mut nobody);
    let matched = countersign_core::MatchedEndpoint {
        endpoint: payments().kept(),
        target: nobody.uri().path_and_query().unwrap().clone(),
    };
    entered.context(&nobody).match_endpoint(matched).unwrap();
    let response = layer.layer(probe.clone()).oneshot(nobody).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(probe.calls(), 0);
}

#[tokio::test]
async fn a_call_that_is_dropped_while_it_waits_has_an_outcome() {
    let (sink, _writer, log) = memory_log().await;
    let probe = ReadinessProbe::default();
    let mut service = stack(&sink, true, probe.clone());
    let call = service.call(request());
    drop(call);
    let lines = lines(&sink, &log).await;
    let kinds: Vec<_> = lines.iter().map(|l| l["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"external_api.request.intent"));
    assert!(kinds.contains(&"external_api.request.failed"));
    assert_eq!(kinds.len(), 2);
    assert_eq!(probe.calls(), 0);
}

fn stack<S>(sink: &AuditSink, sensitive: bool, handler: S) -> Stack<S> {
    let endpoint = if sensitive {
        payments().sensitive()
    } else {
        payments()
    };
    let intent = IntentLayer::new(sink.clone()).layer(handler);
    ServiceBuilder::new()
        .layer(AuditLayer::new(sink.clone()))
        .service(Identify::new(endpoint, intent))
}
