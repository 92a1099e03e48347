//! `application/json` and `application/problem+json`.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{DenialStyle, Rendered};
use crate::{Denial, ErrorCode, RequestId};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    error: ErrorCode,
    message: &'a str,
    request_id: &'a RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
}

/// RFC 9457 §3.1, and the envelope's members as extensions (§3.2).
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    instance: &'a RequestId,
    #[serde(flatten)]
    envelope: Envelope<'a>,
}

pub(super) fn render(denial: &Denial, request_id: &RequestId) -> Rendered {
    respond(denial, "application/json", &envelope(denial, request_id))
}

pub(super) fn render_problem(
    denial: &Denial,
    request_id: &RequestId,
    style: &DenialStyle,
) -> Rendered {
    let error = denial.error();
    let problem = Problem {
        r#type: match &style.problem_type_base {
            Some(base) => format!("{base}{error}"),
            None => "about:blank".to_owned(),
        },
        title: error.status().canonical_reason().unwrap_or(error.as_str()),
        status: error.status().as_u16(),
        detail: denial.message(),
        instance: request_id,
        envelope: envelope(denial, request_id),
    };
    respond(denial, "application/problem+json", &problem)
}

fn envelope<'a>(denial: &'a Denial, request_id: &'a RequestId) -> Envelope<'a> {
    Envelope {
        error: denial.error(),
        message: denial.message(),
        request_id,
        details: denial.details(),
        retry_after_seconds: denial.retry_after_seconds(),
    }
}

fn respond(denial: &Denial, content_type: &'static str, body: &impl Serialize) -> Rendered {
    // Proof: every member is a string, a number or a JSON value, so writing it can't fail.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = denial.error().status();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
