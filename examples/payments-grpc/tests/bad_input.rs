//! Heads of calls that no gRPC library sends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::Value;
use support::proto::{Amount, CreatePaymentRequest, ListNotificationsRequest};
use support::raw::{Ending, call, call_with};
use support::{Service, with_key};

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

/// A server takes what it does not know for plain gRPC, whatever the stack would take it for. The
/// sandbox takes gRPC-Web's own names for plain gRPC too: there is no tonic-web on its port.
#[tokio::test]
async fn messages_count_whatever_the_content_type_says() {
    let service = Service::start();
    for (company, address, content_type) in [
        (
            "company_12",
            service.production,
            "application/grpc-web-text;x=1",
        ),
        (
            "company_12",
            service.production,
            "application/grpc-web-text",
        ),
        (
            "sandbox",
            service.sandbox,
            "Application/grpc-web-text+proto",
        ),
        ("sandbox", service.sandbox, "application/grpc-web-text"),
    ] {
        let mut fields = head(
            b"/payments.v1.Payments/CreatePayments",
            service.key(company, "full").as_bytes(),
        );
        fields.retain(|(name, _)| *name != "content-type");
        let trace = format!(
            "{:032x}",
            content_type.len() + usize::from(address.port()) * 100
        );
        let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
        fields.push(("content-type", content_type.as_bytes()));
        fields.push(("traceparent", traceparent.as_bytes()));
        let ending = call_with(address, &fields, &order().repeat(250)).await;
        assert_ne!(ending, Ending::Reset, "{content_type}");
        let is_outcome = |event: &Value| {
            event["trace_id"] == *trace && event["type"] != "external_api.request.intent"
        };
        let event = service.wait_for(is_outcome).await;
        assert_eq!(event["reason"], "malformed_request", "{event}");
        assert_eq!(made(&service, company, address).await, 0, "{content_type}");
    }
}

#[tokio::test]
async fn base64_that_is_cut_off_is_malformed() {
    let service = Service::start();
    let text = STANDARD.encode(order());
    for (number, text) in [text[..text.len() - 1].to_owned(), text + "\n"]
        .into_iter()
        .enumerate()
    {
        let key = service.key("company_12", "full").as_bytes();
        let mut fields = head(b"/payments.v1.Payments/CreatePayment", key);
        fields.retain(|(name, _)| *name != "content-type");
        let trace = format!("{:032x}", number + 1);
        let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
        fields.push(("content-type", b"application/grpc-web-text"));
        fields.push(("traceparent", traceparent.as_bytes()));
        let ending = call_with(service.production, &fields, text.as_bytes()).await;
        assert_ne!(ending, Ending::Reset);
        let is_outcome = |event: &Value| {
            event["trace_id"] == *trace && event["type"] != "external_api.request.intent"
        };
        let event = service.wait_for(is_outcome).await;
        assert_eq!(event["reason"], "malformed_request", "{event}");
    }
    assert_eq!(made(&service, "company_12", service.production).await, 0);
}

/// How many payments the company has made.
async fn made(service: &Service, company: &str, address: SocketAddr) -> usize {
    let key = service.key(company, "full");
    let call = with_key(key, ListNotificationsRequest {});
    let mut client = service.client(address).await;
    let mut notes = client.list_notifications(call).await.unwrap().into_inner();
    let mut made = 0;
    while let Some(note) = notes.message().await.unwrap() {
        made += usize::from(note.kind == "payment_created");
    }
    made
}

/// A payment as a message of plain gRPC.
fn order() -> Vec<u8> {
    let order = CreatePaymentRequest {
        source_account_id: "acct_1201".to_owned(),
        amount: Some(Amount {
            currency: "GBP".to_owned(),
            value: "25.00".to_owned(),
        }),
        reference: "Invoice 7".to_owned(),
    };
    let mut frame = vec![0];
    frame.extend(u32::try_from(order.encoded_len()).unwrap().to_be_bytes());
    frame.extend(order.encode_to_vec());
    frame
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
