//! Heads of calls that no gRPC library sends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::Service;
use support::raw::{Ending, call};

const METHOD: &[u8] = b"/payments.v1.Payments/ListAccounts";

#[tokio::test]
async fn each_has_its_row_and_its_event() {
    let service = Service::start();
    let key = service.key("company_12", "full").as_bytes();
    let junk: &[u8] = b"\xff\xfe\x80";
    for address in [service.production, service.sandbox] {
        for (number, (path, more, reason)) in [
            (
                METHOD,
                vec![("grpc-timeout", &b"0S"[..])],
                "malformed_request",
            ),
            (METHOD, vec![("grpc-timeout", b"soon")], "malformed_request"),
            (METHOD, vec![("x-note-bin", b"!!!")], "malformed_request"),
            (METHOD, vec![("x-note-bin", junk)], "malformed_request"),
            (METHOD, vec![("x-note", junk)], "malformed_request"),
            (METHOD, vec![("x-api-key", junk)], "ambiguous_credentials"),
            (
                METHOD,
                vec![("content-type", b"application/json")],
                "malformed_request",
            ),
            (b"/payments.v1.Payments/Delete", vec![], "endpoint_unknown"),
            (b"/payments.v1.Payments/", vec![], "endpoint_unknown"),
            (
                b"/payments.v1.Payments//ListAccounts",
                vec![],
                "ambiguous_target",
            ),
            (
                b"/payments.v1.Payments/List%41ccounts",
                vec![],
                "ambiguous_target",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            // Each call has a trace of its own, by which its event is found.
            let trace = format!("{:032x}", usize::from(address.port()) * 100 + number);
            let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
            let mut fields = head(path, key);
            fields.push(("traceparent", traceparent.as_bytes()));
            fields.extend(more);
            assert_eq!(
                call(address, &fields).await,
                Ending::Head,
                "{reason} {number}"
            );
            let event = service.wait_for(|event| event["trace_id"] == *trace).await;
            assert_eq!(event["reason"], reason, "{number}");
            assert_eq!(event["decision"], "denied");
        }
    }
}

/// The server's own HTTP/2 refuses it before there is a request, so that there is no event.
#[tokio::test]
async fn a_path_without_its_slash_never_becomes_a_request() {
    let service = Service::start();
    let key = service.key("company_12", "full").as_bytes();
    for address in [service.production, service.sandbox] {
        let fields = head(&METHOD[1..], key);
        assert_eq!(call(address, &fields).await, Ending::Reset);
    }
}

fn head<'a>(path: &'a [u8], key: &'a [u8]) -> Vec<(&'a str, &'a [u8])> {
    vec![
        (":method", b"POST"),
        (":scheme", b"http"),
        (":path", path),
        (":authority", b"127.0.0.1"),
        ("content-type", b"application/grpc"),
        ("te", b"trailers"),
        ("x-api-key", key),
    ]
}
