//! Every row of the denial table over real HTTP: status, envelope, fields, and the audit event with
//! the right reason; the handler never runs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use countersign::{
    Dimension, LimitFuture, LimitRequest, LimitStore, Quota, SourceThrottle, StoreError,
    StoreErrorKind, StoreFailure,
};
use support::{Answer, Server, generous, once, request};

const ACCOUNTS: &str = "/external/v1/accounts";

/// What must hold of a refusal.
struct Row {
    status: u16,
    error: &'static str,
    reason: &'static str,
}

const fn row(status: u16, error: &'static str, reason: &'static str) -> Row {
    Row {
        status,
        error,
        reason,
    }
}

/// Checks an answer and its one outcome event against a row.
async fn check(server: &Server, answer: &Answer, row: &Row) {
    let reason = row.reason;
    assert_eq!(answer.status, row.status, "{reason}: {}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{reason}"
    );
    let body = answer.json();
    assert_eq!(body["error"], row.error, "{reason}");
    let id = answer.header("x-request-id").unwrap();
    assert!(id.starts_with("req_") && id.len() == 30, "{reason}: {id}");
    assert_eq!(body["requestId"], id, "{reason}");
    assert!(
        body["message"].as_str().is_some_and(|m| m.ends_with('.')),
        "{reason}"
    );
    match row.status {
        401 => {
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.starts_with("Bearer"), "{reason}: {challenge}");
        }
        429 | 503 => {
            let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!(after >= 1, "{reason}");
            assert_eq!(body["retryAfterSeconds"], after, "{reason}");
        }
        _ => {
            assert_eq!(answer.header("retry-after"), None, "{reason}");
            assert!(body.get("retryAfterSeconds").is_none(), "{reason}");
        }
    }
    let events = server.events(answer).await;
    assert_eq!(events.len(), 1, "{reason}: {events:?}");
    assert_eq!(events[0]["reason"], reason);
    assert_eq!(events[0]["error"], row.error);
    assert_eq!(events[0]["status"], row.status);
    assert_eq!(events[0]["source"], "127.0.0.1");
}

/// A row of the credential part of the table, with a key or without one.
async fn credential(server: &Server, fields: &[(&str, &str)], row: Row) {
    let answer = server.get(ACCOUNTS, fields).await;
    check(server, &answer, &row).await;
}

#[tokio::test]
async fn credentials() {
    let server = Server::start().await;
    let keys = server.keys.clone();
    let failed = |reason| row(401, "authentication_failed", reason);
    credential(&server, &[], failed("missing_api_key")).await;
    let two = [
        ("x-api-key", keys.full.as_str()),
        ("x-api-key", &keys.read_only),
    ];
    let long = "k".repeat(60_000);
    let shifted = keys.full.replace('_', "-");
    let cases = [
        ("nonsense", failed("malformed_api_key")),
        ("", failed("malformed_api_key")),
        (&keys.full[..40], failed("malformed_api_key")),
        (&shifted, failed("malformed_api_key")),
        (&long, failed("malformed_api_key")),
        (&keys.unknown, failed("unknown_api_key")),
        (&keys.wrong_secret, failed("invalid_api_key")),
        (&keys.sandbox, failed("environment_mismatch")),
        (&keys.elsewhere, failed("source_not_allowed")),
        (&keys.expired, row(401, "token_expired", "expired_api_key")),
        (&keys.revoked, row(401, "token_revoked", "revoked_api_key")),
        (
            &keys.pending,
            row(401, "token_not_active", "pending_api_key"),
        ),
        (
            &keys.suspended,
            row(401, "token_not_active", "suspended_api_key"),
        ),
        (
            &keys.rotated,
            row(401, "token_not_active", "rotated_api_key"),
        ),
        (
            &keys.inactive_company,
            row(401, "token_not_active", "company_inactive"),
        ),
    ];
    for (key, row) in cases {
        credential(&server, &[("x-api-key", key)], row).await;
    }
    credential(&server, &two, failed("ambiguous_credentials")).await;
    for target in [
        format!("{ACCOUNTS}?q={}", keys.full),
        format!("{ACCOUNTS}?api_key=x"),
        format!("{ACCOUNTS}?auth=Bearer%20{}", keys.full),
        format!("{ACCOUNTS}?next=%2Fx%3Fapi_key%3D{}", keys.full),
        format!("{ACCOUNTS}?token={},", keys.full),
    ] {
        let answer = server.get(&target, &[("x-api-key", &keys.full)]).await;
        check(&server, &answer, &failed("key_in_query")).await;
    }
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn bytes_that_are_no_text() {
    let server = Server::start().await;
    let mut bytes = format!("GET {ACCOUNTS} HTTP/1.1\r\nHost: a\r\nX-Api-Key: ").into_bytes();
    bytes.extend_from_slice(b"\xff\xfe\xfd\r\n\r\n");
    let answer = server.send(&bytes).await;
    let expected = row(401, "authentication_failed", "malformed_api_key");
    check(&server, &answer, &expected).await;
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn scopes_and_the_contract() {
    let server = Server::start().await;
    let keys = server.keys.clone();
    let post = request(
        "POST",
        "/external/v1/payments",
        &[("x-api-key", &keys.read_only)],
        "{}",
    );
    let answer = server.send(&post).await;
    check(
        &server,
        &answer,
        &row(403, "insufficient_scope", "scope_missing"),
    )
    .await;
    assert_eq!(answer.json()["details"]["requiredScope"], "payments:create");
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer error=\"insufficient_scope\", scope=\"payments:create\"")
    );
    let key = [("x-api-key", keys.full.as_str())];
    for (method, target) in [
        ("GET", "/internal/v1/health"),
        ("GET", "/external/v1/accounts/internal"),
        ("GET", "/nowhere"),
        ("GET", "/external/v1/accounts/"),
        ("PUT", ACCOUNTS),
        ("OPTIONS", ACCOUNTS),
        ("get", ACCOUNTS),
    ] {
        let answer = server.send(&request(method, target, &key, "")).await;
        let expected = row(403, "endpoint_not_allowed", "endpoint_unknown");
        check(&server, &answer, &expected).await;
    }
    let answer = server.get("/external/v1/unscoped", &key).await;
    let expected = row(403, "endpoint_not_allowed", "endpoint_without_scope");
    check(&server, &answer, &expected).await;
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn claims_about_a_company() {
    let server = Server::start().await;
    let key = server.keys.full.clone();
    let key = ("x-api-key", key.as_str());
    let foreign = "company_34";
    let path = format!("/external/v1/companies/{foreign}/accounts");
    let query = format!("{ACCOUNTS}?company_id=company_12&company_id={foreign}");
    let body = format!("{{\"company_id\":\"{foreign}\"}}");
    let json = ("content-type", "application/json");
    let requests = [
        ("path", request("GET", &path, &[key], "")),
        ("query", request("GET", &query, &[key], "")),
        (
            "header",
            request("GET", ACCOUNTS, &[key, ("x-company-id", foreign)], ""),
        ),
        (
            "body",
            request("POST", "/external/v1/payments", &[key, json], &body),
        ),
    ];
    for (place, bytes) in requests {
        let answer = server.send(&bytes).await;
        let expected = row(403, "company_boundary_violation", "company_mismatch");
        check(&server, &answer, &expected).await;
        let event = &server.events(&answer).await[0];
        assert_eq!(event["owner_company"], "company_12", "{place}");
        assert_eq!(event["claimed_company"], foreign, "{place}");
        assert_eq!(event["metadata"]["where"], place);
    }
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn targets_and_broken_requests() {
    let server = Server::start().await;
    let key = server.keys.full.clone();
    let key = [("x-api-key", key.as_str())];
    let ambiguous = row(400, "invalid_request", "ambiguous_target");
    for target in [
        "//external/v1/accounts",
        "/external/v1/../v1/accounts",
        "/external/v1/%61ccounts",
        "/external/v1/accounts%2Fx",
        "/external/v1/accounts;x=1",
        "http://evil.example/external/v1/accounts",
    ] {
        let answer = server.get(target, &key).await;
        check(&server, &answer, &ambiguous).await;
    }
    let overridden = [key[0], ("x-http-method-override", "DELETE")];
    let answer = server.get(ACCOUNTS, &overridden).await;
    check(&server, &answer, &ambiguous).await;
    let no_host = format!("GET {ACCOUNTS} HTTP/1.1\r\nX-Api-Key: {}\r\n\r\n", key[0].1);
    check(&server, &server.send(no_host.as_bytes()).await, &ambiguous).await;
    let two_hosts = no_host.replace("\r\n\r\n", "\r\nHost: a\r\nHost: b\r\n\r\n");
    check(
        &server,
        &server.send(two_hosts.as_bytes()).await,
        &ambiguous,
    )
    .await;

    let malformed = row(400, "invalid_request", "malformed_request");
    let long = format!("{ACCOUNTS}?{}", "a".repeat(60_000));
    check(&server, &server.get(&long, &key).await, &malformed).await;
    let fields = [key[0], ("content-type", "application/json")];
    let broken = request("POST", "/external/v1/payments", &fields, "{\"company_id\":");
    check(&server, &server.send(&broken).await, &malformed).await;
    let large = format!("{{\"x\":\"{}\"}}", "a".repeat(100_000));
    let large = request("POST", "/external/v1/payments", &fields, &large);
    check(&server, &server.send(&large).await, &malformed).await;
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn limits() {
    for (dimension, reason) in [
        (Dimension::Key, "limit_key"),
        (Dimension::Company, "limit_company"),
        (Dimension::Endpoint, "limit_endpoint"),
        (Dimension::Scope, "limit_scope"),
        (Dimension::Operation, "limit_operation"),
        (Dimension::Platform, "limit_platform"),
    ] {
        let server = Server::with(once(dimension), |stack| stack).await;
        let key = server.keys.full.clone();
        let first = server.get(ACCOUNTS, &[("x-api-key", &key)]).await;
        assert_eq!(first.status, 200, "{reason}");
        let second = server.get(ACCOUNTS, &[("x-api-key", &key)]).await;
        let expected = row(429, "rate_limit_exceeded", reason);
        check(&server, &second, &expected).await;
        assert_eq!(server.handled(), 1, "{reason}: the first request only");
        let event = &server.events(&second).await[0];
        assert_eq!(event["limit_policy"], "tight");
        assert_eq!(event["decision"], "rate_limited");
        let shown = second.header("ratelimit").is_some();
        assert_eq!(shown, dimension != Dimension::Platform, "{reason}");
        assert_eq!(second.header("retry-after"), Some("60"), "{reason}");
        server.clock.advance(Duration::from_secs(60));
        let third = server.get(ACCOUNTS, &[("x-api-key", &key)]).await;
        assert_eq!(third.status, 200, "{reason}: the quota is refilled");
    }
}

#[tokio::test]
async fn the_source_throttle() {
    let quota = Quota::per_minute(3, 3).unwrap();
    let meter = SourceThrottle::new()
        .with_source_quota(quota)
        .with_prefix_quota(quota);
    let server = Server::with(generous(), |stack| stack.throttle(meter)).await;
    let keys = server.keys.clone();
    // The good key is known before the failures begin.
    let good = [("x-api-key", keys.full.as_str())];
    assert_eq!(server.get(ACCOUNTS, &good).await.status, 200);
    for _ in 0..3 {
        let answer = server.get(ACCOUNTS, &[("x-api-key", "nonsense")]).await;
        assert_eq!(answer.status, 401);
    }
    let refused = row(429, "rate_limit_exceeded", "source_throttled");
    for key in ["nonsense", &keys.unknown, &keys.wrong_secret] {
        let answer = server.get(ACCOUNTS, &[("x-api-key", key)]).await;
        check(&server, &answer, &refused).await;
    }
    assert_eq!(server.handled(), 1);
    let answer = server.get(ACCOUNTS, &good).await;
    assert_eq!(
        answer.status, 200,
        "who shares the address is not locked out"
    );
}

#[tokio::test]
async fn parts_that_fail() {
    let server = Server::start().await;
    server.store.set_available(false);
    let key = server.keys.full.clone();
    let answer = server.get(ACCOUNTS, &[("x-api-key", &key)]).await;
    let expected = row(503, "service_unavailable", "key_store_unavailable");
    check(&server, &answer, &expected).await;
    assert_eq!(server.handled(), 0);

    let server = Server::with(generous(), |stack| {
        stack
            .limit_store(BrokenLimits)
            .on_limit_failure(StoreFailure::fail_closed())
    })
    .await;
    let key = server.keys.full.clone();
    let answer = server.get(ACCOUNTS, &[("x-api-key", &key)]).await;
    let expected = row(503, "service_unavailable", "limit_store_unavailable");
    check(&server, &answer, &expected).await;
    assert_eq!(server.handled(), 0);

    let server = Server::serve(generous(), |stack| stack, false).await;
    let key = server.keys.full.clone();
    let answer = server.get(ACCOUNTS, &[("x-api-key", &key)]).await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (500, "internal_error")
    );
    assert_eq!(
        server.events(&answer).await[0]["reason"],
        "misconfigured_stack"
    );
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn a_limit_store_that_fails_leaves_local_limits() {
    let server = Server::with(once(Dimension::Key), |stack| {
        stack.limit_store(BrokenLimits)
    })
    .await;
    let key = server.keys.full.clone();
    let first = server.get(ACCOUNTS, &[("x-api-key", &key)]).await;
    assert_eq!(first.status, 200);
    let event = &server.events(&first).await[0];
    assert_eq!(event["metadata"]["limit_fallback"], true);
    assert_eq!(
        server.get(ACCOUNTS, &[("x-api-key", &key)]).await.status,
        429
    );
}

#[tokio::test]
async fn no_audit_no_access() {
    let server = Server::start().await;
    let key = server.keys.full.clone();
    server.log.fail(true);
    let post = request("POST", "/external/v1/payments", &[("x-api-key", &key)], "x");
    let answer = server.send(&post).await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (503, "service_unavailable")
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(server.handled(), 0, "no intent on disk, no payment");
    let answer = server.get(ACCOUNTS, &[("x-api-key", &key)]).await;
    assert_eq!(answer.status, 503, "the gate is closed while the log fails");
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn what_handlers_answer() {
    let server = Server::start().await;
    let key = server.keys.full.clone();
    for (how, expected) in [
        (
            "validation",
            row(422, "validation_failed", "validation_failed"),
        ),
        (
            "missing",
            row(404, "resource_not_found", "resource_outside_company"),
        ),
        ("abuse", row(429, "rate_limit_exceeded", "abuse_denied")),
        ("fault", row(500, "internal_error", "handler_failed")),
        ("panic", row(500, "internal_error", "handler_panicked")),
    ] {
        let target = format!("/external/v1/fails/{how}");
        let answer = server.get(&target, &[("x-api-key", &key)]).await;
        check(&server, &answer, &expected).await;
    }
}

#[tokio::test]
async fn an_intent_comes_before_its_outcome() {
    let server = Server::start().await;
    let key = server.keys.full.clone();
    let post = request("POST", "/external/v1/payments", &[("x-api-key", &key)], "x");
    let answer = server.send(&post).await;
    assert_eq!(answer.status, 200);
    let events = server.events(&answer).await;
    let types: Vec<_> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    let expected = [
        "external_api.request.intent",
        "external_api.request.allowed",
    ];
    assert_eq!(types, expected);
}

#[derive(Debug)]
struct BrokenLimits;

impl LimitStore for BrokenLimits {
    fn check(&self, _: &LimitRequest<'_>) -> LimitFuture {
        LimitFuture::Ready(Err(StoreError::new(StoreErrorKind::Unavailable)))
    }
}
