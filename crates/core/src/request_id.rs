//! Request and trace ids.

use std::fmt;
use std::str::FromStr;

use http::HeaderValue;
use serde::Serialize;
use ulid::{ULID_LEN, Ulid};

use crate::{ParseError, Timestamp};

/// Names one request in every answer, log line and audit event: `req_` and 26 characters
/// (ULID-shaped), or the id that a trusted edge gave it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Inner);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Inner {
    /// Kept as text: that is what is asked of it, up to three times a request.
    Ours([u8; RequestId::LEN]),
    Edge(Box<str>),
}

impl RequestId {
    /// A new id for a request received at `time`. Unique, not secret: its random part comes from
    /// a fast generator.
    #[must_use]
    pub fn generate(time: Timestamp) -> Self {
        let ulid = Ulid::from_parts(time.as_millis(), fastrand::u128(..));
        let mut digits = [0; ULID_LEN];
        ulid.array_to_str(&mut digits);
        let mut text = [0; Self::LEN];
        let (prefix, rest) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        rest.copy_from_slice(&digits);
        Self(Inner::Ours(text))
    }

    /// The id as a header value.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        HeaderValue::from_bytes(self.ascii())
            // Proof: both forms hold only letters, digits and `. _ -`.
            .unwrap_or_else(|_| HeaderValue::from_static("req_unprintable"))
    }

    /// The id in ASCII.
    #[must_use]
    pub fn ascii(&self) -> &[u8] {
        match &self.0 {
            Inner::Edge(text) => text.as_bytes(),
            Inner::Ours(text) => text,
        }
    }

    fn text(&self) -> &str {
        // Proof: both forms are ASCII.
        std::str::from_utf8(self.ascii()).unwrap_or_default()
    }

    /// The length of an id of our own.
    const LEN: usize = PREFIX.len() + ULID_LEN;
}

/// Reads an id given by a trusted edge: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
impl FromStr for RequestId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(Inner::Edge(text.into())))
        } else {
            Err(ParseError::new(
                "request id",
                "1 to 64 characters of A-Z a-z 0-9 . _ -",
            ))
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

impl Serialize for RequestId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// The trace id of a W3C `traceparent` field (Trace Context level 1, §3.2): 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

impl TraceId {
    /// The trace id in a `traceparent` field's value; `None` when the value is not one.
    #[must_use]
    pub fn from_traceparent(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let lower_hex = |s: &str| s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let (version, trace) = (text.get(..2)?, text.get(3..35)?);
        let dashes = text.get(2..3) == Some("-") && text.get(35..36) == Some("-");
        let long_enough = text.len() == 55 || (text.len() > 55 && version != "00");
        if !dashes || !long_enough || version == "ff" || !lower_hex(version) || !lower_hex(trace) {
            return None;
        }
        let id = u128::from_str_radix(trace, 16).ok()?;
        (id != 0).then_some(Self(id))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for TraceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

const PREFIX: &str = "req_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_id_is_ulid_shaped_and_unique() {
        let id = RequestId::generate(Timestamp::from_micros(1_767_225_600_000_000));
        let text = id.to_string();
        assert_eq!(text.len(), 30);
        assert!(text.starts_with("req_"));
        assert_eq!(id.header_value(), text.as_str());
        assert_ne!(id, RequestId::generate(Timestamp::default()));
    }

    #[test]
    fn an_edges_id_is_bounded_and_plain() {
        assert!("3f0c-44".parse::<RequestId>().is_ok());
        for bad in ["", "a b", "a\"b", "é", &"x".repeat(65)] {
            assert!(bad.parse::<RequestId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_a_traceparent() {
        let good = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let id = TraceId::from_traceparent(good).unwrap();
        assert_eq!(id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for bad in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "",
        ] {
            assert_eq!(TraceId::from_traceparent(bad.as_bytes()), None, "{bad}");
        }
    }
}
