//! Whatever requests do, and whatever the backend does: each request that enters has one outcome,
//! and each that was kept out is counted.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use countersign_audit_sink::*;
use countersign_core::{AccessContext, Denial, Edge, Reason};
use http::Request;
use http_body_util::Full;
use proptest::prelude::*;
use serde_json::Value;
use tower::{Layer, Service, service_fn};

use crate::common::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Answer,
    Refuse,
    Panic,
    Never,
}

/// How one request goes: what its handler does after some polls, and after how many polls the
/// caller is gone.
#[derive(Debug, Clone, Copy)]
struct Script {
    ending: Ending,
    polls: u8,
    patience: u8,
    sensitive: bool,
}

fn script() -> impl Strategy<Value = Script> {
    let ending = prop_oneof![
        Just(Ending::Answer),
        Just(Ending::Refuse),
        Just(Ending::Panic),
        Just(Ending::Never),
    ];
    (ending, 0..4u8, 0..6u8, any::<bool>()).prop_map(|(ending, polls, patience, sensitive)| {
        Script {
            ending,
            polls,
            patience,
            sensitive,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_request_has_one_outcome(scripts in prop::collection::vec(script(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (sink, writer, log) = memory_log().await;
            let calls = scripts.iter().enumerate().map(|(n, script)| call(sink.clone(), n, *script));
            let calls: Vec<_> = calls.map(tokio::spawn).collect();
            for call in calls {
                call.await.unwrap();
            }
            let report = writer.shutdown(Duration::from_secs(20)).await;
            assert_eq!(report.lost, 0);
            check(&parse(&log.lines()), scripts.len());
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backend_that_comes_and_goes_loses_no_outcome() {
    const REQUESTS: usize = 4000;
    let (backend, log) = MemoryBackend::new();
    let builder = AuditSink::builder(backend).deadline(Duration::from_millis(5));
    let (sink, writer) = builder.capacity(64).spawn().unwrap();
    let left = Arc::new(AtomicUsize::new(REQUESTS));
    let breaker = tokio::spawn({
        let (log, left) = (log.clone(), Arc::clone(&left));
        async move {
            while left.load(Ordering::SeqCst) > 0 {
                let wait = Duration::from_micros(fastrand::u64(100..8000));
                match fastrand::u8(0..3) {
                    0 => log.fail(true),
                    1 => log.hang(true),
                    _ => {}
                }
                tokio::time::sleep(wait).await;
                log.fail(false);
                log.hang(false);
                tokio::time::sleep(wait).await;
            }
        }
    });
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (sink, left) = (sink.clone(), Arc::clone(&left));
            tokio::spawn(async move {
                for n in 0..REQUESTS / 8 {
                    call(sink.clone(), client * REQUESTS + n, random_script()).await;
                    left.fetch_sub(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    breaker.await.unwrap();
    let report = writer.shutdown(Duration::from_secs(20)).await;
    let lines = parse(&log.lines());
    assert_eq!(report.written, lines.len() as u64);
    assert_eq!(
        report.lost,
        gaps(&lines),
        "the gaps tell of all that was refused"
    );
    check(&lines, REQUESTS);
    assert_eq!(sink.health().reserved, 0);
}

fn random_script() -> Script {
    let endings = [Ending::Answer, Ending::Refuse, Ending::Panic, Ending::Never];
    Script {
        ending: endings[fastrand::usize(0..4)],
        polls: fastrand::u8(0..4),
        patience: fastrand::u8(0..6),
        sensitive: fastrand::u8(0..4) == 0,
    }
}

/// One request through audit and intent, by a caller who waits for so many polls.
async fn call(sink: AuditSink, number: usize, script: Script) {
    let handler = service_fn(move |request| handle(request, script));
    let endpoint = if script.sensitive {
        payments().sensitive()
    } else {
        payments()
    };
    let layer = AuditLayer::new(sink).with_edge(Edge::builder().trust_request_id().build());
    let intent = layer.intent().layer(handler);
    let mut service = layer.layer(Identify::new(endpoint, intent));
    let mut request = request();
    let id = format!("r-{number}").parse().unwrap();
    request.headers_mut().insert("x-request-id", id);
    let mut response = Box::pin(service.call(request));
    for _ in 0..script.patience {
        let polled = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(response.as_mut().poll(cx).is_ready())
        });
        if polled.await {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn handle(request: Request<Full<Bytes>>, script: Script) -> Result<Answer, Infallible> {
    for _ in 0..script.polls {
        tokio::task::yield_now().await;
    }
    match script.ending {
        Ending::Answer => ok(),
        Ending::Refuse => {
            let context = AccessContext::of(&request).unwrap();
            Ok(context.refuse(Denial::new(Reason::ResourceOutsideCompany)))
        }
        Ending::Panic => std::panic::resume_unwind(Box::new("on purpose")),
        Ending::Never => std::future::pending().await,
    }
}

fn check(lines: &[Value], requests: usize) {
    assert_contiguous(lines);
    let mut outcomes: HashMap<&str, usize> = HashMap::new();
    let mut intents: HashMap<&str, usize> = HashMap::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(id) = line["request_id"].as_str() else {
            continue;
        };
        if line["type"] == "external_api.request.intent" {
            assert_eq!(intents.insert(id, at), None, "two intents of {id}");
        } else {
            assert_eq!(outcomes.insert(id, at), None, "two outcomes of {id}");
        }
    }
    assert_eq!(outcomes.len() as u64 + gaps(lines), requests as u64);
    for line in lines
        .iter()
        .filter(|line| line["sensitivity"] == "sensitive")
    {
        let handled = line["type"] == "external_api.request.allowed";
        let id = line["request_id"].as_str().unwrap();
        if handled {
            assert!(
                intents[id] < outcomes[id],
                "{id} was handled before its intent"
            );
        }
    }
}

fn gaps(lines: &[Value]) -> u64 {
    let gaps = lines
        .iter()
        .filter(|l| l["type"] == "external_api.audit.gap");
    gaps.map(|gap| gap["metadata"]["count"].as_u64().unwrap())
        .sum()
}
