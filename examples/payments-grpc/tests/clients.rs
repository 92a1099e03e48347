//! Clients that nobody here wrote: Google's gRPC library for Python, and curl.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::Service;

const METHOD: &str = "/payments.v1.Payments/ListAccounts";

#[tokio::test]
#[ignore = "needs Python 3 with grpcio and grpcio-status; COUNTERSIGN_TEST_PYTHON names it"]
async fn python_is_told_what_the_audit_log_says() {
    let service = Service::start();
    let python = std::env::var_os("COUNTERSIGN_TEST_PYTHON");
    let output = Command::new(python.unwrap_or_else(|| "python3".into()))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients.py"))
        .args([service.production.to_string(), service.sandbox.to_string()])
        .arg(service.directory.path().join("keys.json"))
        .arg(concat!(env!("OUT_DIR"), "/payments.v1.bin"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let told = String::from_utf8(output.stdout).unwrap();
    let mut calls = 0;
    for line in told.lines() {
        let told: Value = serde_json::from_str(line).unwrap();
        let event = service.event(told["request_id"].as_str().unwrap()).await;
        for (name, value) in told.as_object().unwrap() {
            let found = event.get(name).or(event["metadata"].get(name));
            assert_eq!(found, Some(value), "{name} of {event}");
        }
        calls += 1;
    }
    assert_eq!(calls, 20);
}

#[tokio::test]
#[ignore = "needs curl with HTTP/2"]
async fn curl_is_told_what_the_audit_log_says() {
    let service = Service::start();
    let (full, test) = (
        service.key("company_12", "full"),
        service.key("sandbox", "full"),
    );
    let revoked = service.key("company_12", "revoked");
    let (one_port, sandbox) = (service.production, service.sandbox);
    let grpc = "application/grpc";
    for (address, version, key, content_type, method, expected) in [
        (
            one_port,
            "--http2-prior-knowledge",
            full,
            grpc,
            METHOD,
            ("", ""),
        ),
        (
            sandbox,
            "--http2-prior-knowledge",
            test,
            grpc,
            METHOD,
            ("", ""),
        ),
        (
            one_port,
            "--http2-prior-knowledge",
            revoked,
            grpc,
            METHOD,
            ("16", "revoked_api_key"),
        ),
        (
            one_port,
            "--http2-prior-knowledge",
            test,
            grpc,
            METHOD,
            ("16", "environment_mismatch"),
        ),
        (
            sandbox,
            "--http2-prior-knowledge",
            full,
            grpc,
            METHOD,
            ("16", "environment_mismatch"),
        ),
        (
            sandbox,
            "--http2-prior-knowledge",
            full,
            grpc,
            "/a.B/C",
            ("7", "endpoint_unknown"),
        ),
        (
            one_port,
            "--http1.1",
            full,
            grpc,
            METHOD,
            ("3", "malformed_request"),
        ),
        (
            one_port,
            "--http1.1",
            full,
            "application/json",
            METHOD,
            ("", "malformed_request"),
        ),
    ] {
        // A refusal doesn't wait for a message, and curl 7 takes the reset of what it still sends for
        // a failure.
        let message: &[u8] = if expected.1.is_empty() { &[0; 5] } else { &[] };
        let answer = curl(address, version, key, content_type, method, message);
        let status = if content_type == grpc { "200" } else { "400" };
        assert!(answer.lines().next().unwrap().contains(status), "{answer}");
        // curl shows no trailers: a call that was allowed has its status there.
        assert_eq!(
            field(&answer, "grpc-status"),
            Some(expected.0).filter(|code| !code.is_empty())
        );
        let event = service.event(field(&answer, "x-request-id").unwrap()).await;
        assert_eq!(
            event
                .get("reason")
                .map_or("", |reason| reason.as_str().unwrap()),
            expected.1
        );
    }
}

/// The head and the body of the answer to `message`.
fn curl(
    address: SocketAddr,
    version: &str,
    key: &str,
    content_type: &str,
    path: &str,
    message: &[u8],
) -> String {
    let mut child = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--include",
            "--max-time",
            "20",
            version,
        ])
        .args(["--header", &format!("x-api-key: {key}")])
        .args(["--header", &format!("content-type: {content_type}")])
        .args(["--header", "te: trailers", "--data-binary", "@-"])
        .arg(format!("http://{address}{path}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(message).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
