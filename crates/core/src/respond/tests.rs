use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use prost::Message;
use serde_json::{Value, json};

use super::*;
use crate::Timestamp;

fn id() -> RequestId {
    RequestId::generate(Timestamp::default())
}

fn respond(denial: &Denial, format: Format) -> (Response<Bytes>, RequestId) {
    let id = id();
    let response = render::<Captured>(denial, &id, format, &DenialStyle::default());
    (response.map(|body| body.0), id)
}

struct Captured(Bytes);

impl DenialBody for Captured {
    fn from_denial(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[test]
fn an_envelope_holds_what_applies_and_nothing_else() {
    let denial =
        Denial::new(Reason::ScopeMissing).with_required_scope("payments:create".parse().unwrap());
    let (response, id) = respond(&denial, Format::Json);
    assert_eq!(response.status(), 403);
    assert_eq!(
        json_of(&response),
        json!({
            "error": "insufficient_scope",
            "message": "This API key lacks the required scope.",
            "requestId": id.to_string(),
            "details": {"requiredScope": "payments:create"},
        })
    );
    assert_eq!(
        response.headers()[WWW_AUTHENTICATE],
        "Bearer error=\"insufficient_scope\", scope=\"payments:create\""
    );
    assert_eq!(response.headers()[X_REQUEST_ID], id.to_string().as_str());
}

#[test]
fn a_limit_says_when_to_come_back() {
    let denial = Denial::new(Reason::LimitKey).with_retry_after(Duration::from_millis(1500));
    let (response, _) = respond(&denial, Format::Json);
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()[RETRY_AFTER], "2");
    assert_eq!(json_of(&response)["retryAfterSeconds"], 2);
}

#[test]
fn a_problem_holds_both_sets_of_members() {
    let (response, id) = respond(&Denial::new(Reason::MissingApiKey), Format::Problem);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    assert_eq!(
        json_of(&response),
        json!({
            "type": "about:blank",
            "title": "Unauthorized",
            "status": 401,
            "detail": "A valid API key is required.",
            "instance": id.to_string(),
            "error": "authentication_failed",
            "message": "A valid API key is required.",
            "requestId": id.to_string(),
        })
    );
}

#[test]
fn grpc_is_trailers_only_with_details() {
    let denial = Denial::new(Reason::LimitCompany).with_retry_after(Duration::from_secs(5));
    let (response, id) = respond(&denial, Format::Grpc);
    assert_eq!(response.status(), 200);
    assert!(response.body().is_empty());
    let headers = response.headers();
    assert_eq!(headers[CONTENT_TYPE], "application/grpc");
    assert_eq!(headers["grpc-status"], "8");
    assert_eq!(
        headers["grpc-message"],
        "Too%20many%20requests;%20retry%20later."
    );
    let bytes = STANDARD_NO_PAD
        .decode(headers["grpc-status-details-bin"].as_bytes())
        .unwrap();
    let status = grpc::Status::decode(&bytes[..]).unwrap();
    assert_eq!(status.code, 8);
    let info = grpc::ErrorInfo::decode(&status.details[0].value[..]).unwrap();
    assert_eq!(info.reason, "RATE_LIMIT_EXCEEDED");
    assert_eq!(info.metadata["requestId"], id.to_string());
    let retry = grpc::RetryInfo::decode(&status.details[1].value[..]).unwrap();
    assert_eq!(retry.delay.unwrap().seconds, 5);
}

/// What tonic writes for the same texts, byte for byte.
#[test]
fn messages_are_encoded_as_tonic_encodes_them() {
    for (text, encoded) in [
        ("invalid API key", "invalid%20API%20key"),
        (
            "100% é {x} \"q\"\n~",
            "100%25%20%C3%A9%20%7Bx%7D%20%22q%22%0A~",
        ),
    ] {
        let denial = Denial::validation(text);
        let (response, _) = respond(&denial, Format::Grpc);
        assert_eq!(response.headers()["grpc-message"], encoded);
    }
}

#[test]
fn grpc_details_are_read_by_the_types_of_google() {
    use tonic_types::RpcStatusExt;
    for reason in Reason::ALL {
        let denial = Denial::new(*reason).with_detail("field", "x");
        let (response, id) = respond(&denial, Format::Grpc);
        let headers = response.headers();
        let details = headers["grpc-status-details-bin"].as_bytes();
        let details = STANDARD_NO_PAD.decode(details).unwrap();
        let status = tonic_types::Status::decode(&details[..]).unwrap();
        assert_eq!(headers["grpc-status"], status.code.to_string().as_str());
        assert_eq!(status.code, reason.error().grpc_code(), "{reason}");
        let status = tonic_types::pb::Status::decode(&details[..]).unwrap();
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.reason, reason.error().as_str().to_ascii_uppercase());
        assert_eq!(info.domain, "countersign");
        assert_eq!(info.metadata["requestId"], id.to_string());
        assert_eq!(info.metadata["field"], "x");
        let retry = status.get_details_retry_info();
        let seconds = retry.map(|retry| retry.retry_delay.unwrap().as_secs());
        assert_eq!(seconds, denial.retry_after_seconds(), "{reason}");
    }
}

#[test]
fn grpc_web_is_answered_under_its_own_content_type() {
    for (format, content_type) in [
        (Format::GrpcWeb, "application/grpc-web+proto"),
        (Format::GrpcWebText, "application/grpc-web-text+proto"),
    ] {
        let (response, _) = respond(&Denial::new(Reason::ScopeMissing), format);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], content_type);
        assert_eq!(response.headers()["grpc-status"], "7");
    }
}

#[test]
fn bodies_carry_the_bytes() {
    let body = Full::from_denial(Bytes::from_static(b"x"));
    assert_eq!(http_body::Body::size_hint(&body).exact(), Some(1));
}
