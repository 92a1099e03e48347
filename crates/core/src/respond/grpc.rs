//! gRPC over HTTP/2: a trailers-only response with `google.rpc.ErrorInfo` and `RetryInfo`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost::Message;

use super::{DenialStyle, Rendered};
use crate::{ClaimPlace, Denial, Reason, RequestId};

pub(super) fn render(
    content_type: &'static str,
    denial: &Denial,
    request_id: &RequestId,
    style: &DenialStyle,
) -> Rendered {
    let code = denial.error().grpc_code();
    let message = utf8_percent_encode(denial.message(), MESSAGE).to_string();
    let details = details(denial, Some(request_id), &style.grpc_domain);
    let details = STANDARD_NO_PAD.encode(details);
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(GRPC_STATUS, HeaderValue::from(code));
    for (name, value) in [(GRPC_MESSAGE, message), (GRPC_STATUS_DETAILS, details)] {
        // Proof: percent-encoded text and base64 hold only visible ASCII.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}

/// The trailers that end a call with `denial`.
pub(crate) fn trailers(denial: &Denial, request_id: &RequestId, style: &DenialStyle) -> HeaderMap {
    let mut rendered = render("", denial, request_id, style);
    rendered.headers_mut().remove(CONTENT_TYPE);
    std::mem::take(rendered.headers_mut())
}

/// The frame of trailers that ends a gRPC-Web body with `denial`.
pub(crate) fn web_trailers(
    denial: &Denial,
    request_id: &RequestId,
    style: &DenialStyle,
) -> BytesMut {
    web_frame(&trailers(denial, request_id, style))
}

/// The frame of a gRPC-Web body that holds these trailers.
pub(crate) fn web_frame(trailers: &HeaderMap) -> BytesMut {
    let mut fields = BytesMut::new();
    for (name, value) in trailers {
        for part in [name.as_str().as_bytes(), b":", value.as_bytes(), b"\r\n"] {
            fields.extend_from_slice(part);
        }
    }
    let mut frame = BytesMut::new();
    frame.put_u8(TRAILERS);
    // Proof: the fields of an answer are far from 4 GiB.
    frame.put_u32(u32::try_from(fields.len()).unwrap_or(u32::MAX));
    frame.unsplit(fields);
    frame
}

/// The bytes of a `google.rpc.Status` that tells of `denial`.
pub(crate) fn details(denial: &Denial, request_id: Option<&RequestId>, domain: &str) -> Vec<u8> {
    status(denial, request_id, domain).encode_to_vec()
}

/// Details that tell of a handler's denial, with this request's id and the platform's domain, and the
/// denial. `None` for others', such as those of a service that the handler called: they tell of a request
/// of their own. And for an error that has several reasons.
pub(crate) fn finish_details(
    details: &[u8],
    request_id: &RequestId,
    domain: &str,
) -> Option<(Vec<u8>, Denial)> {
    let mut status = Status::decode(details).ok()?;
    let infos = &mut status.details.iter_mut();
    let any = infos.find(|any| any.type_url.ends_with("/google.rpc.ErrorInfo"))?;
    let mut info = ErrorInfo::decode(&any.value[..]).ok()?;
    let is_handlers = info.domain == DenialStyle::default().grpc_domain;
    if !is_handlers || info.metadata.contains_key(REQUEST_ID) {
        return None;
    }
    let denial = denial_of(&info)?;
    domain.clone_into(&mut info.domain);
    info.metadata
        .insert(REQUEST_ID.to_owned(), request_id.to_string());
    any.value = info.encode_to_vec();
    Some((status.encode_to_vec(), denial))
}

fn denial_of(info: &ErrorInfo) -> Option<Denial> {
    let is_it = |reason: &&Reason| reason.error().as_str().eq_ignore_ascii_case(&info.reason);
    let mut reasons = Reason::ALL.iter().filter(is_it);
    let (Some(reason), None) = (reasons.next(), reasons.next()) else {
        return None;
    };
    let denial = Denial::new(*reason);
    let named = info.metadata.get("where");
    let place = ClaimPlace::ALL
        .iter()
        .find(|place| named.is_some_and(|name| name == place.as_str()));
    Some(match place {
        Some(place) => denial.with_claim(*place),
        None => denial,
    })
}

fn status(denial: &Denial, request_id: Option<&RequestId>, domain: &str) -> Status {
    let id = request_id.map(|id| (REQUEST_ID.to_owned(), id.to_string()));
    let mut metadata: BTreeMap<_, _> = id.into_iter().collect();
    for (name, value) in denial.details().into_iter().flatten() {
        let text = match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        metadata.insert(name, text);
    }
    let info = ErrorInfo {
        reason: denial.error().as_str().to_ascii_uppercase(),
        domain: domain.to_owned(),
        metadata,
    };
    let mut details = vec![any("google.rpc.ErrorInfo", &info)];
    if let Some(seconds) = denial.retry_after_seconds() {
        let delay = Some(Duration {
            seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        });
        details.push(any("google.rpc.RetryInfo", &RetryInfo { delay }));
    }
    Status {
        code: denial.error().grpc_code(),
        message: denial.message().to_owned(),
        details,
    }
}

fn any(name: &str, message: &impl Message) -> Any {
    Any {
        type_url: format!("type.googleapis.com/{name}"),
        value: message.encode_to_vec(),
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ErrorInfo {
    #[prost(string, tag = "1")]
    pub(super) reason: String,
    #[prost(string, tag = "2")]
    pub(super) domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(super) metadata: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) delay: Option<Duration>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Duration {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
}

/// The flag of a gRPC-Web frame that holds trailers.
pub(crate) const TRAILERS: u8 = 0x80;

const REQUEST_ID: &str = "requestId";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(crate) const GRPC_STATUS_DETAILS: HeaderName =
    HeaderName::from_static("grpc-status-details-bin");

/// What the gRPC protocol's percent-encoding must hide, and what tonic hides beyond it.
pub(super) const MESSAGE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'?')
    .add(b'{')
    .add(b'}')
    .add(b'%');
