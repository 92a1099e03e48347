//! What a socket can carry: nothing of it reaches a handler, hangs or panics.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use async_trait::async_trait;
use countersign::{
    Change, CompanyId, CompanyRecord, FoundKey, KeyId, KeyPrefix, KeyRecord, KeyStore,
    LifecycleEvent, StoreError, Timestamp,
};
use serde_json::Value;
use support::{Server, generous};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ACCOUNTS: &str = "/external/v1/accounts";

/// Sends bytes, says that there are no more, and reads what comes back until the end.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may answer and hang up before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let ended = tokio::time::timeout(Duration::from_secs(10), reading).await;
    assert!(ended.is_ok(), "the server hangs");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn reasons(server: &Server) -> Vec<String> {
    let lines = server.lines().await;
    let events = lines
        .iter()
        .map(|l| serde_json::from_str::<Value>(l).unwrap());
    events
        .map(|event| event["reason"].as_str().unwrap_or("none").to_owned())
        .collect()
}

#[tokio::test]
async fn a_body_that_is_cut_short() {
    let server = Server::start().await;
    let key = &server.keys.full;
    let head = format!(
        "POST /external/v1/payments HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\n\
         Content-Type: application/json\r\n"
    );
    for rest in [
        "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"com",
        "Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        "Content-Length: 500\r\n\r\n{\"company_id\":",
    ] {
        raw(&server, format!("{head}{rest}").as_bytes()).await;
    }
    assert_eq!(server.handled(), 0);
    let reasons = reasons(&server).await;
    assert_eq!(reasons.len(), 3, "an event each: {reasons:?}");
    for reason in reasons {
        // The server may notice that the caller is gone before its body is missed.
        assert!(
            ["malformed_request", "client_disconnected"].contains(&reason.as_str()),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn what_is_no_http_is_refused_by_the_server_itself() {
    let server = Server::start().await;
    let key = server.keys.full.clone();
    let target = "a".repeat(70_000);
    let field = "b".repeat(1_000_000);
    let folded = format!("{}\r\n {}", &key[..30], &key[30..]);
    for bytes in [
        format!("GET /{target} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\n\r\n"),
        format!("GET {ACCOUNTS} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {field}\r\n\r\n"),
        format!("GET {ACCOUNTS} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {folded}\r\n\r\n"),
        format!("GET {ACCOUNTS} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\0\r\n\r\n"),
        "\0\u{1}\u{2}\r\n\r\n".to_owned(),
        String::new(),
    ] {
        let answer = raw(&server, bytes.as_bytes()).await;
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused, "{}", &answer[..answer.len().min(80)]);
    }
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn a_caller_who_leaves_while_the_store_is_asked() {
    let server = Server::with(generous(), |stack| stack.key_store(NeverFinds)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let key = &server.keys.full;
    let request = format!("GET {ACCOUNTS} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
    let mut told = Vec::new();
    for _ in 0..100 {
        told = reasons(&server).await;
        if !told.is_empty() {
            break;
        }
    }
    assert_eq!(told, ["client_disconnected"]);
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn refusals_come_in_the_form_that_was_asked_for() {
    let server = Server::start().await;
    let problem = server
        .get(ACCOUNTS, &[("accept", "application/problem+json")])
        .await;
    assert_eq!(problem.status, 401);
    assert_eq!(
        problem.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(problem.json()["status"], 401);
    assert_eq!(problem.json()["error"], "authentication_failed");

    let grpc = server
        .get(ACCOUNTS, &[("content-type", "application/grpc")])
        .await;
    assert_eq!(grpc.status, 200);
    assert_eq!(grpc.header("grpc-status"), Some("16"));
    assert!(grpc.body.is_empty());
    assert_eq!(server.events(&grpc).await[0]["reason"], "missing_api_key");

    // A handler's own refusal takes the same road.
    let key = server.keys.full.clone();
    let fields = [
        ("x-api-key", key.as_str()),
        ("accept", "application/problem+json"),
    ];
    let problem = server.get("/external/v1/fails/validation", &fields).await;
    assert_eq!(
        problem.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(problem.json()["details"]["field"], "x");
    assert!(
        problem.header("ratelimit").is_some(),
        "fields of inner layers stay"
    );
}

/// A store that never answers.
#[derive(Debug)]
struct NeverFinds;

#[async_trait]
impl KeyStore for NeverFinds {
    async fn find(&self, _: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        std::future::pending().await
    }

    async fn get(&self, _: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        std::future::pending().await
    }

    async fn list(
        &self,
        _: &CompanyId,
        _: Option<KeyId>,
        _: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        std::future::pending().await
    }

    async fn due_keys(&self, _: Timestamp, _: u32) -> Result<Vec<KeyRecord>, StoreError> {
        std::future::pending().await
    }

    async fn company(&self, _: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        std::future::pending().await
    }

    async fn companies(
        &self,
        _: Option<&CompanyId>,
        _: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        std::future::pending().await
    }

    async fn commit(&self, _: &Change) -> Result<(), StoreError> {
        std::future::pending().await
    }

    async fn pending_events(&self, _: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        std::future::pending().await
    }

    async fn acknowledge_events(&self, _: &[LifecycleEvent]) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn what_follows_a_raw_hash_is_seen_by_nobody() {
    let server = Server::start().await;
    let key = server.keys.full.clone();
    let key = [("x-api-key", key.as_str())];
    for rest in ["#b", "#/../x", "#?company_id=company_34"] {
        let answer = server.get(&format!("{ACCOUNTS}{rest}"), &key).await;
        assert_eq!(answer.status, 200, "{rest}: {}", answer.text());
        let events = server.events(&answer).await;
        assert_eq!(events[0]["route"], ACCOUNTS, "{rest}");
    }
    assert_eq!(server.handled(), 3);
}

#[tokio::test]
async fn of_a_key_in_a_query_the_event_has_the_prefix_alone() {
    let server = Server::start().await;
    let key = server.keys.full.clone();
    let (prefix, secret) = key.rsplit_once('_').unwrap();
    let answer = server.get(&format!("{ACCOUNTS}?q={key}"), &[]).await;
    assert_eq!(answer.status, 401);
    assert!(!answer.text().contains(prefix), "its caller is not told");
    let event = server.events(&answer).await.remove(0);
    assert_eq!(event["reason"], "key_in_query");
    assert_eq!(event["key_prefix"], prefix);
    for unverified in ["key_id", "owner_company"] {
        assert!(event.get(unverified).is_none(), "{unverified}");
    }
    assert!(!event.to_string().contains(secret));
}
