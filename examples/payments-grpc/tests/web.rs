//! gRPC-Web through a real socket, over HTTP/1 and taken apart by hand, and what limits on messages
//! do to streams.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use support::proto::{
    Amount, CreatePaymentRequest, GetPaymentRequest, ListAccountsRequest, ListAccountsResponse,
    ListNotificationsRequest, Notification, PaymentStatus,
};
use support::web::{Answer, Form, call};
use support::{Service, with_key};
use tonic::Code;
use tonic_types::StatusExt;

const LIST: &str = "/payments.v1.Payments/ListAccounts";
const GET: &str = "/payments.v1.Payments/GetPayment";
const STATUSES: &str = "/payments.v1.Payments/PaymentStatuses";
const NOTIFICATIONS: &str = "/payments.v1.Payments/ListNotifications";

fn question(id: &str) -> GetPaymentRequest {
    GetPaymentRequest {
        payment_id: id.to_owned(),
    }
}

async fn event(service: &Service, answer: &Answer) -> Value {
    service.event(&answer.head["x-request-id"]).await
}

fn messages(event: &Value) -> (u64, u64) {
    let count = |name: &str| event["metadata"][name].as_u64().unwrap();
    (count("messages_received"), count("messages_sent"))
}

#[tokio::test]
async fn a_call_that_is_allowed_has_its_status_in_the_bodys_last_frame() {
    let service = Service::start();
    let full = service.key("company_12", "full");
    for form in [Form::Binary, Form::Text] {
        let one = [ListAccountsRequest {}];
        let answer = call(service.production, form, LIST, full, &one).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.messages.len(), 1);
        let accounts: ListAccountsResponse = answer.message(0);
        assert_eq!(accounts.accounts[0].id, "acct_1201");
        assert_eq!(answer.trailers.as_ref().unwrap()["grpc-status"], "0");
        assert_eq!(answer.head.get("grpc-status"), None);
        assert!(answer.head.contains_key("ratelimit"));
        let event = event(&service, &answer).await;
        assert_eq!(event["type"], "external_api.request.allowed");
        assert_eq!(messages(&event), (1, 1));
    }
}

/// The stack's refusals and a handler's: before the first message there is a head and nothing else.
#[tokio::test]
async fn a_call_that_is_refused_has_its_status_in_the_head() {
    let service = Service::start();
    let (full, other) = (
        service.key("company_12", "full"),
        service.key("company_34", "full"),
    );
    let revoked = service.key("company_12", "revoked");
    for form in [Form::Binary, Form::Text] {
        for (path, key, code, error, reason) in [
            (GET, revoked, "16", "TOKEN_REVOKED", "revoked_api_key"),
            (GET, "", "16", "AUTHENTICATION_FAILED", "malformed_api_key"),
            (
                "/payments.v1.Payments/Refund",
                full,
                "7",
                "ENDPOINT_NOT_ALLOWED",
                "endpoint_unknown",
            ),
            (
                GET,
                other,
                "5",
                "RESOURCE_NOT_FOUND",
                "resource_outside_company",
            ),
        ] {
            let asked = [question("pay_1201")];
            let answer = call(service.production, form, path, key, &asked).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.head["grpc-status"], code, "{reason}");
            assert!(answer.messages.is_empty());
            assert!(answer.details().contains(error), "{reason}");
            assert!(answer.details().contains(&answer.head["x-request-id"]));
            assert_eq!(event(&service, &answer).await["reason"], reason);
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_refused_in_its_midst_ends_with_a_frame_that_says_so() {
    let service = Service::start();
    let full = service.key("company_12", "full");
    for form in [Form::Binary, Form::Text] {
        let asked = ["pay_1201", "pay_1201", "pay_of_nobody", "pay_1201"].map(question);
        let answer = call(service.production, form, STATUSES, full, &asked).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.messages.len(), 2);
        let first: PaymentStatus = answer.message(0);
        assert_eq!(first.status, "settled");
        let trailers = answer.trailers.as_ref().unwrap();
        assert_eq!(trailers["grpc-status"], "5");
        assert!(answer.details().contains("RESOURCE_NOT_FOUND"));
        let event = event(&service, &answer).await;
        assert_eq!(event["metadata"]["grpc_status"], 5);
        assert_eq!(messages(&event).1, 2);
    }
}

/// Its reason is in the audit log, and somebody who walks through ids over a stream is noticed.
#[tokio::test]
async fn a_stream_that_its_handler_refuses_has_its_reason() {
    let service = Service::start();
    let full = service.key("company_12", "full");
    for form in [Form::Binary, Form::Text] {
        for ids in [&["pay_3401"][..], &["pay_1201", "pay_3401"]] {
            let asked: Vec<_> = ids.iter().copied().map(question).collect();
            let answer = call(service.production, form, STATUSES, full, &asked).await;
            assert_eq!(answer.messages.len(), ids.len() - 1);
            assert_eq!(answer.field("grpc-status"), Some("5"));
            assert!(answer.details().contains(&answer.head["x-request-id"]));
            let event = event(&service, &answer).await;
            assert_eq!(event["metadata"]["grpc_status"], 5);
            assert_eq!(
                event["type"],
                "external_api.request.denied_company_boundary"
            );
            assert_eq!(event["reason"], "resource_outside_company", "{event}");
            assert_eq!(messages(&event), (ids.len() as u64, ids.len() as u64 - 1));
        }
    }
}

#[tokio::test]
async fn what_the_server_streams_comes_whole() {
    let service = Service::start();
    let full = service.key("company_12", "full");
    for form in [Form::Binary, Form::Text] {
        let one = [ListNotificationsRequest {}];
        let answer = call(service.production, form, NOTIFICATIONS, full, &one).await;
        let note: Notification = answer.message(0);
        assert_eq!(note.id, "note_1201");
        assert_eq!(answer.field("grpc-status"), Some("0"));
        assert_eq!(messages(&event(&service, &answer).await), (1, 1));
    }
}

/// Base64 hides no message from the limits.
#[tokio::test]
async fn messages_over_grpc_web_are_limited_in_both_forms() {
    for form in [Form::Binary, Form::Text] {
        let service = Service::start();
        let full = service.key("company_12", "full");
        let asked = vec![question("pay_1201"); 2_000];
        let answer = call(service.production, form, STATUSES, full, &asked).await;
        assert_eq!(answer.field("grpc-status"), Some("8"), "{form:?}");
        assert!(answer.details().contains("RATE_LIMIT_EXCEEDED"));
        assert!(answer.details().contains("google.rpc.RetryInfo"));
        let event = event(&service, &answer).await;
        assert_eq!(event["type"], "external_api.request.rate_limited");
        assert_eq!(event["limit_policy"], "messages");
        let (received, sent) = messages(&event);
        // However many of them come in one piece: what was granted is answered.
        assert!((200..2_000).contains(&received), "{received}");
        assert_eq!(received, sent);
        assert_eq!(sent, answer.messages.len() as u64);
    }
}

/// What a client's stream brought before the limit stays, and nothing of it comes twice.
#[tokio::test]
async fn a_clients_stream_beyond_its_limit_ends_with_the_refusal() {
    let service = Service::start();
    let mut client = service.client(service.production).await;
    let full = service.key("company_12", "full");
    let order = CreatePaymentRequest {
        source_account_id: "acct_1201".to_owned(),
        amount: Some(Amount {
            currency: "GBP".to_owned(),
            value: "25.00".to_owned(),
        }),
        reference: "Invoice 7".to_owned(),
    };
    let orders = tokio_stream::iter(vec![order; 1_000]);
    let status = client
        .create_payments(with_key(full, orders))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "RATE_LIMIT_EXCEEDED");
    let retry = status.get_details_retry_info().unwrap();
    assert!(retry.retry_delay.unwrap().as_secs() >= 1);
    let event = service.event(&info.metadata["requestId"]).await;
    assert_eq!(event["type"], "external_api.request.rate_limited");
    assert_eq!(event["reason"], "limit_key");
    assert_eq!(event["limit_policy"], "messages");
    let (received, sent) = messages(&event);
    assert_eq!(sent, 0);

    // The messages' counter is filled again after a moment, so that the notes can be asked for.
    let notes = loop {
        let call = with_key(full, ListNotificationsRequest {});
        match client.list_notifications(call).await {
            Ok(notes) => break notes,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let mut notes = notes.into_inner();
    let mut made = 0;
    while let Some(note) = notes.message().await.unwrap() {
        made += u64::from(note.kind == "payment_created");
    }
    assert!(made >= 200, "{made}");
    assert_eq!(made, received, "what came before the limit is handled");
}
