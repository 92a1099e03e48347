//! How a gRPC call ended.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode;
use serde_json::Value;

use crate::grpc::{Codec, whole_frames};

/// The status of a gRPC call, and its messages.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    status: StatusCode,
    /// `None` where the answer has none.
    code: Option<u16>,
    /// Not `None` unless they can't be read.
    pub(crate) messages: Option<Value>,
}

impl Outcome {
    /// A call that was left while it was still under way was let in: that is its status.
    pub(crate) fn read(
        codec: &Codec,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        is_over: bool,
    ) -> Self {
        let code = headers.get("grpc-status");
        let code = code.and_then(|code| code.to_str().ok()?.parse().ok());
        Self {
            status,
            code: if is_over { code } else { Some(OK) },
            messages: codec.decode(if is_over { body } else { whole_frames(body) }),
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.code == Some(OK) && !self.is_failure()
    }

    pub(crate) fn is_failure(&self) -> bool {
        let failed = self.code.is_none_or(|code| FAILURES.contains(&code));
        failed || self.status != StatusCode::OK || self.messages.is_none()
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.code == Some(RESOURCE_EXHAUSTED)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.messages.is_none() {
            return f.write_str("with messages that are not what the descriptors say");
        }
        match self.code {
            Some(code) if self.status == StatusCode::OK => write!(f, "with gRPC status {code}"),
            _ => write!(f, "{} and no gRPC status", self.status),
        }
    }
}

/// What a field says once it is decoded: `…-bin` is base64, `grpc-message` is percent-encoded.
pub(crate) fn plain(name: &HeaderName, value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    if name.as_str().ends_with("-bin")
        && let Ok(decoded) = BASE64.decode(bytes)
    {
        return String::from_utf8_lossy(&decoded).into_owned();
    }
    if *name == "grpc-message" {
        return percent_decode(bytes).decode_utf8_lossy().into_owned();
    }
    String::from_utf8_lossy(bytes).into_owned()
}

/// With padding or without: both are in use.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const OK: u16 = 0;
const RESOURCE_EXHAUSTED: u16 = 8;

/// Unknown, deadline exceeded, resource exhausted, unimplemented, internal, unavailable, data loss:
/// nothing was decided about the call.
const FAILURES: [u16; 7] = [2, 4, RESOURCE_EXHAUSTED, 12, 13, 14, 15];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_a_client_reads_them() {
        let read = |name: &'static str, value: &'static str| {
            plain(
                &HeaderName::from_static(name),
                &HeaderValue::from_static(value),
            )
        };
        assert_eq!(read("x-note-bin", "cGF5XzE"), "pay_1");
        assert_eq!(read("x-note-bin", "cGF5XzE="), "pay_1");
        assert_eq!(read("grpc-message", "pay%5F1"), "pay_1");
        assert_eq!(read("x-note", "pay%5F1"), "pay%5F1");
    }
}
