//! The example as its user runs it: the built program, its own files, real calls.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::http::{exchange, request};
use support::proto::{
    Amount, CreatePaymentRequest, GetPaymentRequest, ListAccountsRequest, ListNotificationsRequest,
};
use support::{Service, with_key};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::StatusExt;

fn order(account: &str) -> CreatePaymentRequest {
    CreatePaymentRequest {
        source_account_id: account.to_owned(),
        amount: Some(Amount {
            currency: "GBP".to_owned(),
            value: "25.00".to_owned(),
        }),
        reference: "Invoice 7".to_owned(),
    }
}

#[test]
fn the_options_are_those_of_the_library() {
    let copy = include_str!("../proto/countersign/v1/access.proto");
    assert_eq!(copy, countersign::ACCESS_PROTO);
}

fn question(id: &str) -> GetPaymentRequest {
    GetPaymentRequest {
        payment_id: id.to_owned(),
    }
}

fn id_in(metadata: &MetadataMap) -> String {
    let id = metadata.get("x-request-id").unwrap();
    id.to_str().unwrap().to_owned()
}

fn id_of(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata["requestId"], id_in(status.metadata()));
    info.metadata["requestId"].clone()
}

fn messages(event: &Value) -> (u64, u64) {
    let count = |name: &str| event["metadata"][name].as_u64().unwrap();
    (count("messages_received"), count("messages_sent"))
}

#[tokio::test]
async fn a_unary_call_is_allowed_and_recorded() {
    let service = Service::start();
    let mut client = service.client(service.production).await;
    let full = service.key("company_12", "full");
    let answer = client
        .list_accounts(with_key(full, ListAccountsRequest {}))
        .await
        .unwrap();
    assert_eq!(answer.get_ref().accounts[0].id, "acct_1201");
    assert!(answer.metadata().contains_key("ratelimit"));
    let event = service.event(&id_in(answer.metadata())).await;
    assert_eq!(event["type"], "external_api.request.allowed");
    assert_eq!(event["route"], "/payments.v1.Payments/ListAccounts");
    assert_eq!(event["operation"], "read");
    assert_eq!(event["required_scope"], "accounts:read");
    assert_eq!(event["effective_company"], "company_12");
    assert_eq!(event["source"], "127.0.0.1");
    assert_eq!(messages(&event), (1, 1));
    assert_eq!(event["metadata"].get("grpc_status"), None);
}

#[tokio::test]
async fn a_bearer_key_is_a_key() {
    let service = Service::start();
    let mut client = service.client(service.production).await;
    let mut call = tonic::Request::new(ListAccountsRequest {});
    let bearer = format!("Bearer {}", service.key("company_12", "full"));
    let metadata = call.metadata_mut();
    metadata.insert("authorization", bearer.parse().unwrap());
    client.list_accounts(call).await.unwrap();
}

#[tokio::test]
async fn refusals_have_their_code_and_details() {
    let service = Service::start();
    let mut client = service.client(service.production).await;
    for (key, code, error, reason) in [
        (
            "revoked",
            Code::Unauthenticated,
            "TOKEN_REVOKED",
            "revoked_api_key",
        ),
        (
            "expired",
            Code::Unauthenticated,
            "TOKEN_EXPIRED",
            "expired_api_key",
        ),
        (
            "suspended",
            Code::Unauthenticated,
            "TOKEN_NOT_ACTIVE",
            "suspended_api_key",
        ),
        (
            "pending",
            Code::Unauthenticated,
            "TOKEN_NOT_ACTIVE",
            "pending_api_key",
        ),
        (
            "read_only",
            Code::PermissionDenied,
            "INSUFFICIENT_SCOPE",
            "scope_missing",
        ),
    ] {
        let key = service.key("company_12", key);
        let refused = client
            .create_payment(with_key(key, order("acct_1201")))
            .await;
        let status = refused.unwrap_err();
        assert_eq!(status.code(), code, "{error}");
        let info = status.get_details_error_info().unwrap();
        assert_eq!((&*info.reason, &*info.domain), (error, "countersign"));
        let event = service.event(&id_of(&status)).await;
        assert_eq!(event["reason"], reason);
    }
    let status = client
        .list_accounts(ListAccountsRequest {})
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let event = service.event(&id_of(&status)).await;
    assert_eq!(event["reason"], "missing_api_key");
}

#[tokio::test]
async fn a_limit_says_when_to_come_back() {
    let service = Service::start();
    let mut client = service.client(service.production).await;
    let full = service.key("company_12", "full");
    for _ in 0..60 {
        let call = with_key(full, order("acct_1201"));
        if let Err(status) = client.create_payment(call).await {
            assert_eq!(status.code(), Code::ResourceExhausted);
            let retry = status.get_details_retry_info().unwrap();
            assert!(retry.retry_delay.unwrap().as_secs() >= 1);
            let event = service.event(&id_of(&status)).await;
            assert_eq!(event["reason"], "limit_key");
            return;
        }
    }
    panic!("20 writes at once and 5 a second are allowed, not 60");
}

#[tokio::test]
async fn a_handlers_refusal_is_finished_by_the_stack() {
    let service = Service::start();
    let mut client = service.client(service.production).await;
    let other = service.key("company_34", "full");
    let call = with_key(other, question("pay_1201"));
    let status = client.get_payment(call).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let event = service.event(&id_of(&status)).await;
    assert_eq!(event["reason"], "resource_outside_company");
    let mut wrong = order("acct_3401");
    wrong.reference.clear();
    let status = client
        .create_payment(with_key(other, wrong))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata["field"], "reference");
}

#[tokio::test]
async fn streams_are_recorded_at_their_end_with_their_messages() {
    let service = Service::start();
    let mut client = service.client(service.production).await;
    let full = service.key("company_12", "full");

    let orders = tokio_stream::iter([order("acct_1201"), order("acct_1201"), order("acct_1201")]);
    let created = client
        .create_payments(with_key(full, orders))
        .await
        .unwrap();
    assert_eq!(created.get_ref().payment_ids.len(), 3);
    let event = service.event(&id_in(created.metadata())).await;
    assert_eq!(messages(&event), (3, 1));
    assert_eq!(event["sensitivity"], "sensitive");

    let call = with_key(full, ListNotificationsRequest {});
    let notes = client.list_notifications(call).await.unwrap();
    let id = id_in(notes.metadata());
    let mut notes = notes.into_inner();
    let mut received = 0;
    while notes.message().await.unwrap().is_some() {
        received += 1;
    }
    assert_eq!(received, 4, "the seeded one and three new ones");
    assert_eq!(messages(&service.event(&id).await), (1, received));

    // The answer to each question comes before the next question is asked.
    let (ask, questions) = tokio::sync::mpsc::channel(1);
    let questions = tokio_stream::wrappers::ReceiverStream::new(questions);
    ask.send(question("pay_1201")).await.unwrap();
    let answers = client
        .payment_statuses(with_key(full, questions))
        .await
        .unwrap();
    let id = id_in(answers.metadata());
    let mut answers = answers.into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().status, "settled");
    assert!(
        service
            .audit()
            .iter()
            .all(|event| event["request_id"] != *id)
    );
    ask.send(question("pay_of_nobody")).await.unwrap();
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let event = service.event(&id).await;
    assert_eq!(messages(&event), (2, 1));
    assert_eq!(event["metadata"]["grpc_status"], 5);
}

#[tokio::test]
async fn a_caller_that_leaves_a_stream_is_recorded() {
    let service = Service::start();
    let mut client = service.client(service.production).await;
    let full = service.key("company_12", "full");
    let (ask, questions) = tokio::sync::mpsc::channel(1);
    let questions = tokio_stream::wrappers::ReceiverStream::new(questions);
    ask.send(question("pay_1201")).await.unwrap();
    let answers = client
        .payment_statuses(with_key(full, questions))
        .await
        .unwrap();
    let id = id_in(answers.metadata());
    let mut answers = answers.into_inner();
    answers.message().await.unwrap().unwrap();
    drop((answers, ask));
    drop(client);
    let event = service.event(&id).await;
    assert_eq!(event["reason"], "client_disconnected");
    assert_eq!(messages(&event), (1, 1));
}

#[tokio::test]
async fn each_environment_takes_its_own_keys_and_shows_its_own_data() {
    let service = Service::start();
    let (live, test) = (
        service.key("company_12", "full"),
        service.key("sandbox", "full"),
    );
    for (address, good, bad, account) in [
        (service.production, live, test, "acct_1201"),
        (service.sandbox, test, live, "acct_9901"),
    ] {
        let mut client = service.client(address).await;
        let call = with_key(good, ListAccountsRequest {});
        let answer = client.list_accounts(call).await.unwrap().into_inner();
        let ids: Vec<_> = answer.accounts.iter().map(|account| &*account.id).collect();
        assert_eq!(ids, [account]);
        let call = with_key(bad, ListAccountsRequest {});
        let status = client.list_accounts(call).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.reason, "AUTHENTICATION_FAILED");
        let event = service.event(&id_of(&status)).await;
        assert_eq!(event["reason"], "environment_mismatch");
    }
}

#[tokio::test]
async fn http_is_served_on_the_same_port() {
    let service = Service::start();
    let full = service.key("company_12", "full");
    let fields = [("x-api-key", full)];
    let ask = |target: &str| request("GET", target, &fields, "");
    let answer = exchange(service.production, &ask("/external/v1/accounts")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["data"][0]["id"], "acct_1201");
    let answer = exchange(service.production, &ask("/internal/v1/health")).await;
    assert_eq!(answer.error(), "endpoint_not_allowed");
}

#[tokio::test]
async fn grpc_web_is_understood_over_http_1() {
    let service = Service::start();
    let call = |key: &str, content_type: &str, body: &str| {
        let accept = ("accept", content_type);
        let fields = [("x-api-key", key), ("content-type", content_type), accept];
        let target = "/payments.v1.Payments/ListAccounts";
        request("POST", target, &fields, body)
    };
    let full = service.key("company_12", "full");
    for (content_type, body) in [
        ("application/grpc-web+proto", "\0\0\0\0\0"),
        ("application/grpc-web-text+proto", "AAAAAAA="),
    ] {
        let answer = exchange(service.production, &call(full, content_type, body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some(content_type));
        let event = service.event(answer.header("x-request-id").unwrap()).await;
        assert_eq!(event["type"], "external_api.request.allowed", "{event}");
        assert_eq!(messages(&event), (1, 1));
        let revoked = service.key("company_12", "revoked");
        let answer = exchange(service.production, &call(revoked, content_type, body)).await;
        assert_eq!(answer.header("grpc-status"), Some("16"));
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert!(answer.body.is_empty());
    }
}

#[tokio::test]
async fn what_is_no_grpc_call_is_refused() {
    let service = Service::start();
    let full = service.key("company_12", "full");
    let target = "/payments.v1.Payments/ListAccounts";
    for (content_type, status, grpc) in [
        ("application/grpc", 200, Some("3")),
        ("application/json", 400, None),
    ] {
        let fields = [("x-api-key", full), ("content-type", content_type)];
        let call = request("POST", target, &fields, "\0\0\0\0\0");
        let answer = exchange(service.production, &call).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("grpc-status"), grpc);
        if grpc.is_none() {
            assert_eq!(answer.json()["error"], json!("invalid_request"));
        }
        let event = service.event(answer.header("x-request-id").unwrap()).await;
        assert_eq!(event["reason"], "malformed_request");
    }
}

#[tokio::test]
async fn messages_have_limits_of_their_own() {
    let service = Service::start();
    for address in [service.production, service.sandbox] {
        let mut client = service.client(address).await;
        let (key, payment) = match address == service.production {
            true => (service.key("company_12", "full"), "pay_1201"),
            false => (service.key("sandbox", "full"), "pay_9901"),
        };
        let questions = tokio_stream::iter(vec![question(payment); 2_000]);
        let answers = client.payment_statuses(with_key(key, questions)).await;
        let (id, answered, status) = match answers {
            // The limit may be spent before the first answer goes out.
            Err(status) => (id_in(status.metadata()), 0, status),
            Ok(answers) => {
                let id = id_in(answers.metadata());
                let mut answers = answers.into_inner();
                let mut answered = 0;
                let status = loop {
                    match answers.message().await {
                        Ok(Some(_)) => answered += 1,
                        Ok(None) => panic!("all of it was allowed"),
                        Err(status) => break status,
                    }
                };
                (id, answered, status)
            }
        };
        assert_eq!(status.code(), Code::ResourceExhausted);
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["requestId"], id);
        assert!(status.get_details_retry_info().is_some());
        let event = service.event(&id).await;
        assert_eq!(event["type"], "external_api.request.rate_limited");
        assert_eq!(event["reason"], "limit_key");
        assert_eq!(event["limit_policy"], "messages");
        let (received, sent) = messages(&event);
        assert!(received > 200 && received < 2_000, "{received}");
        assert_eq!(sent, answered);
    }
}
