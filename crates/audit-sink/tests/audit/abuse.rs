//! Who is told of outcomes, and the event of an abuse signal.

use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::*;
use bytes::Bytes;
use countersign_audit_sink::*;
use countersign_core::testing::NeverAnswers;
use countersign_core::{
    AbuseKind, AbuseObserver, AbusePenalty, AbuseReaction, AbuseSignal, AbuseSubject,
    AccessContext, Edge, EventId, KeyId, Moment, Monotonic, Reason, RequestId, RequestObserver,
    Timestamp,
};
use http::Request;
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[derive(Debug, Default)]
struct Told(Mutex<Vec<Option<Reason>>>);

impl RequestObserver for Told {
    fn finished(&self, context: &AccessContext) {
        let reason = context.denial().map(|denial| denial.reason());
        self.0.lock().unwrap().push(reason);
    }
}

#[tokio::test]
async fn an_observer_is_told_of_every_outcome_once() {
    let (sink, _writer, _log) = memory_log().await;
    let told = Arc::new(Told::default());
    let edge = Edge::default().with_observer(Arc::clone(&told));
    let layer = AuditLayer::new(sink).with_edge(edge);
    let answers = service_fn(|_: Request<Full<Bytes>>| ready(ok()));
    let refuses = service_fn(|request: Request<Full<Bytes>>| {
        let context = AccessContext::of(&request).unwrap();
        ready(Ok::<_, Infallible>(
            context.refuse::<Full<Bytes>>(Reason::ScopeMissing.into()),
        ))
    });
    let stack = ServiceBuilder::new().layer(layer);
    let service = stack.clone().service(answers);
    service.oneshot(request()).await.unwrap();
    let service = stack.clone().service(refuses);
    service.oneshot(request()).await.unwrap();
    let stuck = stack.service(NeverAnswers).oneshot(request());
    let ended = tokio::time::timeout(Duration::from_millis(5), stuck).await;
    assert!(ended.is_err());
    let expected = [
        None,
        Some(Reason::ScopeMissing),
        Some(Reason::ClientDisconnected),
    ];
    assert_eq!(*told.0.lock().unwrap(), expected);
}

#[test]
fn an_edge_with_an_observer_leaves_the_other_one_alone() {
    let edge = Edge::default();
    let observed = edge.clone().with_observer(Told::default());
    assert!(observed.observer().is_some());
    assert!(edge.observer().is_none());
}

#[tokio::test]
async fn a_signal_is_an_event_that_names_no_threshold() {
    let (sink, _writer, log) = memory_log().await;
    let source = request_source();
    let wall = Timestamp::from_micros(1_767_225_600_000_000);
    let signal = AbuseSignal {
        id: EventId::generate(wall),
        kind: AbuseKind::ScopeDenials,
        subject: AbuseSubject::Key(KeyId::from_u128(7)),
        reaction: AbuseReaction::Throttle,
        penalty: Some(AbusePenalty {
            lasts: Duration::from_secs(120),
            level: 2,
        }),
        at: Moment {
            wall,
            monotonic: Monotonic::from_nanos(5_000_000),
        },
        count: 4711,
        window: Duration::from_secs(4712),
        request_id: RequestId::generate(wall),
        trace_id: None,
        source,
        key_id: Some(KeyId::from_u128(7)),
        key_prefix: Some("acme_live_pBakQVyk6bW4".parse().unwrap()),
        company: Some("company_12".parse().unwrap()),
    };
    AbuseLog::new(sink.clone()).signal(&signal);
    let lines = lines(&sink, &log).await;
    let line = &lines[0];
    assert_eq!(line["type"], "external_api.abuse.signal");
    assert_eq!(line["reason"], "scope_denials");
    assert_eq!(line["id"], signal.id.to_string());
    assert_eq!(line["request_id"], signal.request_id.to_string());
    assert_eq!(line["actor"], "system");
    assert_eq!(line["owner_company"], "company_12");
    assert_eq!(line["key_prefix"], "acme_live_pBakQVyk6bW4");
    assert_eq!(line["source"], "203.0.113.9");
    let metadata = serde_json::json!({
        "subject": "key", "reaction": "throttle", "penalty_ms": 120_000, "level": 2
    });
    assert_eq!(line["metadata"], metadata);
    assert!(line.get("decision").is_none());
    let members = line.as_object().unwrap().len();
    assert_eq!(members, 13, "nothing else is told: {line}");
}

fn request_source() -> Option<countersign_core::source::Source> {
    let mut request = request();
    let entered = Edge::default().enter(&mut request);
    entered.context(&request).source()
}
