//! A revocation ends the calls that are under way.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use prost::Message;
use serde_json::{Value, json};
use support::http::{exchange, request};
use support::proto::{
    Amount, CreatePaymentRequest, GetPaymentRequest, ListAccountsRequest, ListNotificationsRequest,
};
use support::{Service, with_key};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Much longer than a revocation takes, and no pause that a test waits out.
const PATIENCE: usize = 200;

/// Revokes `key` with `full`, over HTTP on the same port.
async fn revoke(service: &Service, key: &str, full: &str) {
    let mut client = service.client(service.production).await;
    let call = with_key(key, ListAccountsRequest {});
    let answer = client.list_accounts(call).await.unwrap();
    let id = answer
        .metadata()
        .get("x-request-id")
        .unwrap()
        .to_str()
        .unwrap();
    let event = service.event(id).await;
    let target = format!(
        "/external/v1/tokens/{}/revoke",
        event["key_id"].as_str().unwrap()
    );
    let fields = [("x-api-key", full), ("content-type", "application/json")];
    let call = request("POST", &target, &fields, &json!({}).to_string());
    assert_eq!(exchange(service.production, &call).await.status, 200);
}

fn assert_revoked(status: &Status, event: &Value) {
    assert_eq!(status.code(), Code::Unauthenticated);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "TOKEN_REVOKED");
    assert_eq!(event["type"], "external_api.request.denied_authentication");
    assert_eq!(event["reason"], "revoked_api_key");
}

#[tokio::test]
async fn a_stream_of_questions_ends_when_its_key_is_revoked() {
    let service = Service::start();
    let mut client = service.client(service.production).await;
    let (full, own) = (
        service.key("company_12", "full"),
        service.key("company_12", "read_only"),
    );
    let question = || GetPaymentRequest {
        payment_id: "pay_1201".to_owned(),
    };
    let (ask, questions) = mpsc::channel(1);
    ask.send(question()).await.unwrap();
    let answers = client
        .payment_statuses(with_key(own, ReceiverStream::new(questions)))
        .await
        .unwrap();
    let id = answers
        .metadata()
        .get("x-request-id")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let mut answers = answers.into_inner();
    answers.message().await.unwrap().unwrap();

    revoke(&service, own, full).await;
    let mut answered = 1;
    let status = loop {
        assert!(answered < PATIENCE, "it goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
        // The server may have ended the call before it takes the question.
        let _ = ask.send(question()).await;
        match answers.message().await {
            Ok(Some(_)) => answered += 1,
            Ok(None) => panic!("it ended as if all were well"),
            Err(status) => break status,
        }
    };
    let event = service.event(&id).await;
    assert_revoked(&status, &event);
    assert_eq!(event["metadata"]["messages_sent"], answered);
}

/// A client's stream brings payments, and nothing is answered until its end.
#[tokio::test]
async fn a_stream_of_payments_ends_when_its_key_is_revoked() {
    let service = Service::start();
    let mut client = service.client(service.production).await;
    let (full, reader) = (
        service.key("company_12", "full"),
        service.key("company_12", "read_only"),
    );
    let order = || CreatePaymentRequest {
        source_account_id: "acct_1201".to_owned(),
        amount: Some(Amount {
            currency: "GBP".to_owned(),
            value: "25.00".to_owned(),
        }),
        reference: "Invoice 7".to_owned(),
    };
    let (pay, orders) = mpsc::channel(1);
    let call = with_key(full, ReceiverStream::new(orders));
    let ended = tokio::spawn(async move { client.create_payments(call).await });
    pay.send(order()).await.unwrap();

    revoke(&service, full, full).await;
    let mut sent = 1;
    while !ended.is_finished() {
        assert!(sent < PATIENCE, "it goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = pay.send(order()).await;
        sent += 1;
    }
    let status = ended.await.unwrap().unwrap_err();
    let info = status.get_details_error_info().unwrap();
    let event = service.event(&info.metadata["requestId"]).await;
    assert_revoked(&status, &event);

    // What was made is what was let in, and no more.
    let mut client = service.client(service.production).await;
    let call = with_key(reader, ListNotificationsRequest {});
    let mut notes = client.list_notifications(call).await.unwrap().into_inner();
    let mut made = 0;
    while let Some(note) = notes.message().await.unwrap() {
        made += usize::from(note.kind == "payment_created");
    }
    assert_eq!(event["metadata"]["messages_received"], made);
    assert!(made >= 1, "{made}");
}

/// The message of a payment came in time, and the end of the body, which is no message, after the
/// revocation.
#[tokio::test]
async fn an_end_that_is_held_back_does_not_outlive_its_key() {
    let service = Service::start();
    let key = service.key("company_12", "full");
    let message = CreatePaymentRequest {
        source_account_id: "acct_1201".to_owned(),
        amount: Some(Amount {
            currency: "GBP".to_owned(),
            value: "25.00".to_owned(),
        }),
        reference: "Invoice 7".to_owned(),
    };
    let mut call = TcpStream::connect(service.production).await.unwrap();
    let head = format!(
        "POST /payments.v1.Payments/CreatePayment HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         X-Api-Key: {key}\r\nContent-Type: application/grpc-web+proto\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        message.encoded_len() + 5
    );
    let length = u32::try_from(message.encoded_len()).unwrap().to_be_bytes();
    let framed = [&[0], &length[..], &message.encode_to_vec(), b"\r\n"].concat();
    call.write_all(head.as_bytes()).await.unwrap();
    call.write_all(&framed).await.unwrap();
    let is_intent = |event: &Value| event["type"] == "external_api.request.intent";
    let intent = service.wait_for(is_intent).await;
    revoke(&service, key, key).await;
    // For so long a caller that was just found to stand is not looked after.
    tokio::time::sleep(Duration::from_millis(300)).await;
    call.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    call.read_to_end(&mut answer).await.unwrap();
    let outcome = service.event(intent["request_id"].as_str().unwrap()).await;
    assert_eq!(outcome["reason"], "revoked_api_key", "{outcome}");
    assert_eq!(outcome["metadata"]["broken_off"], true, "{outcome}");
    assert!(outcome.get("resource_id").is_none(), "a payment was made");
}
