//! Refusals of nobody, many at a time.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use countersign_audit_sink::*;
use countersign_core::{AccessContext, ManualClock, PeerAddr, Reason};
use http::Request;
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};

use crate::common::*;

/// A log that tells three refusals a second of each source.
struct Flooded {
    sink: AuditSink,
    log: MemoryLog,
    clock: ManualClock,
    _writer: AuditWriter,
}

impl Flooded {
    async fn new() -> Self {
        let (backend, log) = MemoryBackend::new();
        let clock = ManualClock::default();
        let builder = AuditSink::builder(backend).clock(clock.clone());
        let builder = builder.flood_limit(NonZeroU32::new(3));
        let (sink, writer) = builder.spawn().unwrap();
        sink.flush().await.unwrap();
        Self {
            sink,
            log,
            clock,
            _writer: writer,
        }
    }

    async fn refuse(&self, peer: &str, reason: Reason) {
        self.refuse_key(peer, reason, None).await;
    }

    /// Refuses a request that names this key.
    async fn refuse_key(&self, peer: &str, reason: Reason, key: Option<&str>) {
        let key = key.map(|key| key.parse().unwrap());
        let handler = service_fn(
            move |request: Request<http_body_util::Full<bytes::Bytes>>| {
                let context = AccessContext::of(&request).unwrap();
                if let Some(key) = key {
                    context.present_key(key, None);
                }
                let refused = context.refuse(reason.into());
                std::future::ready(Ok::<Answer, std::convert::Infallible>(refused))
            },
        );
        let mut request = request();
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(PeerAddr(peer));
        let layer = AuditLayer::new(self.sink.clone());
        layer.layer(handler).oneshot(request).await.unwrap();
    }

    /// The refusals of each line: 1, or what it stands for.
    fn told(lines: &[Value]) -> Vec<u64> {
        let count = |line: &Value| line["metadata"]["coalesced"].as_u64().unwrap_or(1);
        lines.iter().map(count).collect()
    }
}

#[tokio::test]
async fn what_is_beyond_the_rate_is_told_once_with_its_number() {
    let flood = Flooded::new().await;
    for _ in 0..10 {
        flood.refuse("203.0.113.9:1", Reason::MissingApiKey).await;
    }
    let lines = lines(&flood.sink, &flood.log).await;
    assert_eq!(Flooded::told(&lines), [1, 1, 1, 7]);
    for line in &lines {
        assert_eq!(line["reason"], "missing_api_key");
        assert_eq!(line["source"], "203.0.113.9");
    }
    assert_contiguous(&lines);
    assert_eq!(flood.sink.health().lost, 0);
}

#[tokio::test]
async fn the_second_tells_by_itself_and_the_next_begins_anew() {
    let flood = Flooded::new().await;
    for round in 1..=2 {
        for _ in 0..5 {
            flood.refuse("203.0.113.9:1", Reason::MissingApiKey).await;
        }
        until("three of them", || flood.log.lines().len() >= round * 4 - 1).await;
        flood.clock.advance(Duration::from_secs(1));
        until("the rest", || flood.log.lines().len() == round * 4).await;
    }
    let lines = parse(&flood.log.lines());
    assert_eq!(Flooded::told(&lines), [1, 1, 1, 2, 1, 1, 1, 2]);
}

#[tokio::test]
async fn sources_and_reasons_stand_apart() {
    let flood = Flooded::new().await;
    // One /64 is one source.
    let peers = ["[2001:db8::1]:1", "[2001:db8::2]:1", "203.0.113.9:1"];
    for peer in peers {
        for reason in [Reason::MissingApiKey, Reason::EndpointUnknown] {
            for _ in 0..2 {
                flood.refuse(peer, reason).await;
            }
        }
    }
    let lines = lines(&flood.sink, &flood.log).await;
    let mut told: Vec<_> = lines
        .iter()
        .map(|line| {
            let count = line["metadata"]["coalesced"].as_u64().unwrap_or(1);
            let v6 = line["source"].as_str().unwrap().contains(':');
            (v6, line["reason"].as_str().unwrap().to_owned(), count)
        })
        .collect();
    told.sort();
    let (missing, unknown) = ("missing_api_key".to_owned(), "endpoint_unknown".to_owned());
    let expected = [
        (false, unknown.clone(), 1),
        (false, unknown.clone(), 1),
        (false, missing.clone(), 1),
        (false, missing.clone(), 1),
        (true, unknown.clone(), 1),
        (true, unknown, 3),
        (true, missing.clone(), 1),
        (true, missing.clone(), 1),
        (true, missing, 2),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn no_key_is_named_for_another() {
    let flood = Flooded::new().await;
    let (made_up, real) = ("acme_live_AAAAAAAAAAAA", "acme_live_BBBBBBBBBBBB");
    for (key, times) in [(made_up, 5), (real, 4)] {
        for _ in 0..times {
            let throttled = Reason::SourceThrottled;
            flood
                .refuse_key("203.0.113.9:1", throttled, Some(key))
                .await;
        }
    }
    let lines = lines(&flood.sink, &flood.log).await;
    assert_eq!(Flooded::told(&lines), [1, 1, 1, 2, 4]);
    let keys: Vec<_> = lines[3..].iter().map(|line| &line["key_prefix"]).collect();
    assert_eq!(keys, [made_up, real]);
    for line in &lines[3..] {
        for of_one in ["request_id", "trace_id", "latency_us"] {
            assert!(line.get(of_one).is_none(), "{of_one}");
        }
        assert_eq!(line["environment"], "live");
    }
}

#[tokio::test]
async fn made_up_keys_make_no_lines_and_name_nobody_else() {
    let flood = Flooded::new().await;
    for number in 0..100 {
        let key = format!("acme_live_{number:012}");
        let unknown = Reason::UnknownApiKey;
        flood.refuse_key("203.0.113.9:1", unknown, Some(&key)).await;
    }
    let lines = lines(&flood.sink, &flood.log).await;
    assert_eq!(Flooded::told(&lines).iter().sum::<u64>(), 100);
    assert_eq!(lines.len(), 3 + 16 + 1);
    let rest = &lines[19];
    assert_eq!(rest["metadata"]["coalesced"], 81);
    assert!(rest.get("key_prefix").is_none());
    assert_eq!(rest["reason"], "unknown_api_key");
    assert_eq!(rest["source"], "203.0.113.9");
}

#[tokio::test]
async fn of_several_addresses_the_network_is_told() {
    let flood = Flooded::new().await;
    for number in 1..=6 {
        let peer = format!("[2001:db8::{number}]:1");
        flood.refuse(&peer, Reason::MissingApiKey).await;
    }
    let lines = lines(&flood.sink, &flood.log).await;
    assert_eq!(Flooded::told(&lines), [1, 1, 1, 3]);
    assert_eq!(lines[2]["source"], "2001:db8::3");
    assert_eq!(lines[3]["source"], "2001:db8::/64");
}

#[tokio::test]
async fn nothing_else_is_ever_told_together() {
    let flood = Flooded::new().await;
    for reason in [Reason::HandlerPanicked, Reason::KeyStoreUnavailable] {
        for _ in 0..5 {
            flood.refuse("203.0.113.9:1", reason).await;
        }
    }
    for _ in 0..5 {
        let handler = service_fn(|mut request: Request<http_body_util::Full<bytes::Bytes>>| {
            let entered = countersign_core::Edge::default().enter(&mut request);
            let context = entered.context(&request);
            identify(context, payments().kept(), &request);
            let refused = context.refuse(Reason::ScopeMissing.into());
            std::future::ready(Ok::<Answer, std::convert::Infallible>(refused))
        });
        let layer = AuditLayer::new(flood.sink.clone());
        layer.layer(handler).oneshot(request()).await.unwrap();
    }
    let lines = lines(&flood.sink, &flood.log).await;
    assert_eq!(Flooded::told(&lines), [1; 15]);
}

#[tokio::test]
async fn what_is_held_is_told_at_the_end() {
    let flood = Flooded::new().await;
    for _ in 0..5 {
        flood.refuse("203.0.113.9:1", Reason::MissingApiKey).await;
    }
    let Flooded { log, _writer, .. } = flood;
    let report = _writer.shutdown(Duration::from_secs(20)).await;
    assert_eq!((report.written, report.lost), (4, 0));
    assert_eq!(Flooded::told(&parse(&log.lines())), [1, 1, 1, 2]);
}
