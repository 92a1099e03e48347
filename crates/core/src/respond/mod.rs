//! How a denial becomes a response: JSON, RFC 9457 problem details, or gRPC trailers-only.

pub(crate) mod grpc;
mod json;

use bytes::Bytes;
use http::header::{HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};

use crate::body::DenialBody;
use crate::{Denial, ErrorCode, Reason, RequestId};

/// The form that a caller wants its refusals in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// `application/json`: `error`, `message`, `requestId` and what else applies.
    #[default]
    Json,
    /// `application/problem+json` (RFC 9457) with the same members beside its own.
    Problem,
    /// gRPC: status 200, trailers-only.
    Grpc,
    /// gRPC-Web (`application/grpc-web`): the same fields, under the caller's content type.
    GrpcWeb,
    /// gRPC-Web whose bodies are base64 (`application/grpc-web-text`).
    GrpcWebText,
}

impl Format {
    /// The kind of gRPC that a content type names; `None` for any other content type.
    #[must_use]
    pub fn of_grpc(content_type: &[u8]) -> Option<Self> {
        const GRPC: &[u8] = b"application/grpc";
        if !starts_with(content_type, GRPC) {
            return None;
        }
        let rest = &content_type[GRPC.len()..];
        Some(if starts_with(rest, b"-web-text") {
            Self::GrpcWebText
        } else if starts_with(rest, b"-web") {
            Self::GrpcWeb
        } else {
            Self::Grpc
        })
    }

    /// Whether the caller speaks gRPC or gRPC-Web.
    #[must_use]
    pub const fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb | Self::GrpcWebText)
    }
}

/// What the platform may say of itself in a denial.
#[derive(Debug, Clone)]
pub struct DenialStyle {
    /// The form for callers that ask for none: [`Format::Json`] or [`Format::Problem`].
    pub default_format: Format,
    /// Before the error's name in a problem's `type`, for example
    /// `https://developers.example.com/errors/`. Without it the type is `about:blank`.
    pub problem_type_base: Option<String>,
    /// `domain` of a gRPC `ErrorInfo`: the service's name, for example `payments.example.com`.
    pub grpc_domain: String,
}

impl Default for DenialStyle {
    fn default() -> Self {
        Self {
            default_format: Format::Json,
            problem_type_base: None,
            grpc_domain: "countersign".to_owned(),
        }
    }
}

/// The response that tells a caller of `denial`.
pub fn render<B: DenialBody>(
    denial: &Denial,
    request_id: &RequestId,
    format: Format,
    style: &DenialStyle,
) -> Response<B> {
    let mut response = match format {
        Format::Grpc => grpc::render("application/grpc", denial, request_id, style),
        Format::GrpcWeb => grpc::render("application/grpc-web+proto", denial, request_id, style),
        Format::GrpcWebText => {
            grpc::render("application/grpc-web-text+proto", denial, request_id, style)
        }
        Format::Json => json::render(denial, request_id),
        Format::Problem => json::render_problem(denial, request_id, style),
    }
    .map(B::from_denial);
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, request_id.header_value());
    if let Some(challenge) = challenge(denial) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = denial.retry_after_seconds() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// `WWW-Authenticate` (RFC 6750 §3): no error where no credential was sent, as its §3.1 asks.
fn challenge(denial: &Denial) -> Option<HeaderValue> {
    match denial.error() {
        ErrorCode::AuthenticationFailed
        | ErrorCode::TokenExpired
        | ErrorCode::TokenRevoked
        | ErrorCode::TokenNotActive => Some(HeaderValue::from_static(
            if denial.reason() == Reason::MissingApiKey {
                "Bearer"
            } else {
                "Bearer error=\"invalid_token\""
            },
        )),
        ErrorCode::InsufficientScope => {
            let scope = denial.scope_list()?;
            HeaderValue::try_from(format!(
                "Bearer error=\"insufficient_scope\", scope=\"{scope}\""
            ))
            .ok()
        }
        _ => None,
    }
}

/// Whether one line of `Accept` asks for problem details.
pub(crate) fn accepts_problem(value: &[u8]) -> bool {
    const PROBLEM: &[u8] = b"application/problem+json";
    // Nearly every request's value is shorter than the one that is looked for.
    if value.len() < PROBLEM.len() {
        return false;
    }
    value.split(|b| *b == b',').any(|range| {
        let mut parts = range.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let media = parts.next().unwrap_or_default();
        let refused = |part: &[u8]| {
            let q = part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="));
            q.is_some_and(|q| q.iter().all(|b| matches!(b, b'0' | b'.')))
        };
        media.eq_ignore_ascii_case(PROBLEM) && !parts.any(refused)
    })
}

fn starts_with(value: &[u8], prefix: &[u8]) -> bool {
    value
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The response field that carries the request id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

type Rendered = Response<Bytes>;

#[cfg(test)]
mod tests;
