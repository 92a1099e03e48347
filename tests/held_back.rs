//! Requests whose bodies are held back while their keys fall.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use countersign::{
    Actor, AuditSink, KeyManager, KeyPrefix, KeyStore, MemoryBackend, RevocationReason,
};
use support::{Server, exchange, generous, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BODY: &str = r#"{"amount":"25.00"}"#;

/// A payment, and where it is held back: read by the layer that compares claims, or by the handler
/// alone; with a length, or in chunks of which only the end is missing.
fn payments(key: &str) -> [(Vec<u8>, usize); 4] {
    let mut held = Vec::new();
    for content_type in ["application/json", "text/plain"] {
        let fields = [("x-api-key", key), ("content-type", content_type)];
        let whole = request("POST", "/external/v1/payments", &fields, BODY);
        let all_but_five = whole.len() - 5;
        held.push((whole, all_but_five));
        let chunks = format!(
            "POST /external/v1/payments HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: {key}\r\n\
             content-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{BODY}\r\n0\r\n\r\n",
            BODY.len()
        );
        let all_but_end = chunks.len() - 5;
        held.push((chunks.into_bytes(), all_but_end));
    }
    held.try_into().unwrap()
}

async fn revoke(server: &Server) {
    let key = &server.keys.full;
    let prefix: KeyPrefix = key[..key.rfind('_').unwrap()].parse().unwrap();
    let record = server.store.find(&prefix).await.unwrap().unwrap().record;
    let manager = KeyManager::builder(server.store.clone()).clock(server.clock.clone());
    let (ada, reason) = (
        Actor::operator("ada").unwrap(),
        RevocationReason::SuspectedLeakage,
    );
    let manager = manager.build().unwrap();
    let revoked = manager.revoke(&ada, &record.company, record.id, reason);
    revoked.await.unwrap();
}

/// Sends what `payment` holds back once `fall` has made its key fall; the answer.
async fn hold_back(server: &Server, payment: (Vec<u8>, usize), fall: impl AsyncFnOnce()) -> String {
    let (first, rest) = payment.0.split_at(payment.1);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(first).await.unwrap();
    while server.sink.health().reserved == 0 {
        tokio::task::yield_now().await;
    }
    fall().await;
    stream.write_all(rest).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_body_that_is_held_back_does_not_outlive_a_revocation() {
    for number in 0..4 {
        let server = Server::start().await;
        let payment = payments(&server.keys.full)[number].clone();
        let answer = hold_back(&server, payment, async || {
            revoke(&server).await;
            // Longer than a key is believed.
            server.clock.advance(Duration::from_secs(6));
        });
        let answer = answer.await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{number}: {answer}");
        assert!(answer.contains("token_revoked"), "{number}: {answer}");
        assert_eq!(server.handled(), 0, "{number}");
        let outcome = server.lines().await.pop().unwrap();
        assert!(outcome.contains("revoked_api_key"), "{number}: {outcome}");
        assert!(
            outcome.contains(r#""broken_off":true"#),
            "{number}: {outcome}"
        );
    }
}

#[tokio::test]
async fn nor_its_keys_end() {
    for number in 0..4 {
        let server = Server::start().await;
        let payment = payments(&server.keys.full)[number].clone();
        let year = Duration::from_secs(400 * 86_400);
        let answer = hold_back(&server, payment, async || server.clock.advance(year)).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{number}: {answer}");
        assert!(answer.contains("token_expired"), "{number}: {answer}");
        assert_eq!(server.handled(), 0, "{number}");
    }
}

#[tokio::test]
async fn a_slow_caller_that_stands_is_served() {
    for number in 0..4 {
        let server = Server::start().await;
        let payment = payments(&server.keys.full)[number].clone();
        let minute = Duration::from_secs(60);
        let answer = hold_back(&server, payment, async || server.clock.advance(minute)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{number}: {answer}");
        assert_eq!(server.handled(), 1, "{number}");
        let whole = &payments(&server.keys.full)[number].0;
        assert_eq!(exchange(server.address, whole).await.status, 200);
    }
}

/// A payment of which everything but the last bytes was sent.
async fn begin(server: &Server, key: &str) -> TcpStream {
    let [(bytes, held), ..] = payments(key);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&bytes[..held]).await.unwrap();
    stream
}

#[tokio::test]
async fn one_key_does_not_take_every_place_with_bodies_that_it_holds_back() {
    let (backend, _log) = MemoryBackend::new();
    let sink = AuditSink::builder(backend).capacity(32).spawn();
    let (sink, _writer) = sink.unwrap();
    let server = Server::with(generous(), |stack| {
        let minute = Duration::from_secs(60);
        stack.audit(sink.clone()).body_patience(minute, 8)
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..32 {
        held.push(begin(&server, &server.keys.read_only).await);
    }
    let mut refused = 0;
    for stream in &mut held[8..] {
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        refused += usize::from(head.ends_with(b"429"));
    }
    assert_eq!(refused, 24);
    let by = [("x-api-key", &*server.keys.other_company)];
    assert_eq!(server.get("/external/v1/accounts", &by).await.status, 200);
    drop(held);
    while sink.health().reserved > 0 {
        tokio::task::yield_now().await;
    }
    let whole = &payments(&server.keys.full)[0].0;
    assert_eq!(exchange(server.address, whole).await.status, 200);
}

#[tokio::test]
async fn a_body_is_waited_for_so_long_and_no_longer() {
    let server = Server::with(generous(), |stack| {
        stack.body_patience(Duration::from_millis(50), 8)
    })
    .await;
    let mut stream = begin(&server, &server.keys.full).await;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"400"));
    assert_eq!(server.handled(), 0);
    let [outcome] = &server.lines().await[..] else {
        panic!("one event");
    };
    assert!(outcome.contains("malformed_request"), "{outcome}");
}
