//! What a gRPC call is made of, as far as layers must know: its head, its messages and its status.
//!
//! The wire format is that of [gRPC over HTTP/2] and of [gRPC-Web].
//!
//! [gRPC over HTTP/2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
//! [gRPC-Web]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use crate::Reason;
use crate::respond::Format;

mod messages;

pub use messages::{Begun, Messages};

/// Whether the head of a call to a gRPC method is one.
///
/// It is not: another content type than gRPC's (`application/grpc`, bare or with a suffix or a
/// parameter) and gRPC-Web's (`application/grpc-web` and `application/grpc-web-text`, each bare or
/// with `+proto`, to the letter), or two of them; gRPC (but not gRPC-Web) over HTTP/1; a
/// `grpc-timeout` that is no positive number of at most 8 digits with its unit, 0 included; metadata
/// under a `-bin` name that is not base64, and other metadata that is not printable ASCII.
/// Credentials are left to the layer that verifies them.
///
/// # Errors
/// `malformed_request`.
pub fn check_head(version: Version, headers: &HeaderMap) -> Result<(), Reason> {
    let mut head = Head::default();
    let is_good = headers.iter().all(|(name, value)| head.takes(name, value));
    let is_call = match head.format {
        Some(Format::Grpc) => version >= Version::HTTP_2,
        Some(_) => true,
        None => false,
    };
    (is_good && is_call)
        .then_some(())
        .ok_or(Reason::MalformedRequest)
}

/// The status that a head or trailers end a call with, if they do: `grpc-status`.
#[must_use]
pub fn status(fields: &HeaderMap) -> Option<u8> {
    // Found by a walk: there are few fields, and a look-up would hash the name.
    let (_, status) = fields.iter().find(|(name, _)| **name == STATUS)?;
    status.to_str().ok()?.parse().ok()
}

/// What was found of a call's head so far.
#[derive(Debug, Default)]
struct Head {
    format: Option<Format>,
    has_timeout: bool,
}

impl Head {
    /// Whether a call's head may have this field too.
    fn takes(&mut self, name: &HeaderName, value: &HeaderValue) -> bool {
        let bytes = value.as_bytes();
        if *name == CONTENT_TYPE {
            let before = std::mem::replace(&mut self.format, exact_format(bytes));
            before.is_none() && self.format.is_some() && is_metadata(name, bytes)
        } else if *name == TIMEOUT {
            !std::mem::replace(&mut self.has_timeout, true) && is_timeout(bytes)
        } else {
            is_metadata(name, bytes)
        }
    }
}

/// gRPC's content type, bare or with a suffix or a parameter, and gRPC-Web's by its four names alone:
/// any other would be taken for gRPC by what is behind, and by the rest of the stack for gRPC-Web.
fn exact_format(content_type: &[u8]) -> Option<Format> {
    let format = Format::of_grpc(content_type)?;
    let is_exact = match format {
        Format::Grpc => matches!(
            content_type.get(GRPC.len()),
            None | Some(b'+' | b';' | b' ')
        ),
        _ => GRPC_WEB.contains(&content_type),
    };
    is_exact.then_some(format)
}

fn is_timeout(value: &[u8]) -> bool {
    let Some((b'H' | b'M' | b'S' | b'm' | b'u' | b'n', digits)) = value.split_last() else {
        return false;
    };
    (1..=8).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().any(|digit| *digit != b'0')
}

fn is_metadata(name: &HeaderName, value: &[u8]) -> bool {
    // A user agent is described, not decided on, and its RFC allows more.
    if *name == AUTHORIZATION || *name == USER_AGENT || *name == API_KEY {
        return true;
    }
    if !name.as_str().ends_with("-bin") {
        // Every byte is looked at, whatever was found before: sixteen of them at a time.
        let is_printable = |byte: &u8| matches!(byte, b' '..=b'~');
        return value
            .iter()
            .fold(true, |all, byte| all & is_printable(byte));
    }
    let mut values = value.split(|byte| *byte == b',');
    values.all(|value| BINARY.decode(value.trim_ascii()).is_ok())
}

const GRPC: &[u8] = b"application/grpc";
/// The names that gRPC-Web has, to the letter: tonic-web knows no others.
const GRPC_WEB: [&[u8]; 4] = [
    b"application/grpc-web",
    b"application/grpc-web+proto",
    b"application/grpc-web-text",
    b"application/grpc-web-text+proto",
];
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Binary metadata is accepted padded and not.
pub(crate) const BINARY: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: Version, fields: &[(&'static str, &[u8])]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        check_head(version, &headers).is_ok()
    }

    fn with(name: &'static str, value: &[u8]) -> bool {
        let call = ("content-type", &b"application/grpc"[..]);
        check(Version::HTTP_2, &[call, (name, value)])
    }

    #[test]
    fn the_content_type_is_grpcs_own() {
        for (value, on_1, on_2) in [
            ("application/grpc", false, true),
            ("application/grpc+proto", false, true),
            ("Application/GRPC;charset=x", false, true),
            ("application/grpc-web", true, true),
            ("application/grpc-web+proto", true, true),
            ("application/grpc-web-text", true, true),
            ("application/grpc-web-text+proto", true, true),
            ("application/grpcx", false, false),
            // For tonic-web none of these is gRPC-Web, and what is none goes to tonic as gRPC.
            ("application/grpc-web-texts", false, false),
            ("application/grpc-web-text;x=1", false, false),
            ("application/grpc-web-text ", false, false),
            ("application/grpc-web-text+json", false, false),
            (
                "application/grpc-web-text+proto;charset=utf-8",
                false,
                false,
            ),
            ("Application/grpc-web-text", false, false),
            ("application/grpc-web; x=1", false, false),
            ("application/grpc-web+", false, false),
            ("application/json", false, false),
            ("", false, false),
        ] {
            let fields = [("content-type", value.as_bytes())];
            assert_eq!(check(Version::HTTP_11, &fields), on_1, "{value}");
            assert_eq!(check(Version::HTTP_2, &fields), on_2, "{value}");
        }
        assert!(!check(Version::HTTP_2, &[]));
        let beyond_ascii = b"application/grpc; \xff";
        assert!(!check(
            Version::HTTP_2,
            &[("content-type", &beyond_ascii[..])]
        ));
        assert!(!with("content-type", b"application/grpc"), "twice");
    }

    #[test]
    fn a_timeout_is_positive_and_has_a_unit() {
        for good in ["1S", "99999999n", "05m", "10H", "1M", "7u"] {
            assert!(with("grpc-timeout", good.as_bytes()), "{good}");
        }
        for bad in [
            "0S",
            "0n",
            "00000000m",
            "",
            "S",
            "1",
            "-1S",
            "1s",
            "123456789S",
            "1.5S",
        ] {
            assert!(!with("grpc-timeout", bad.as_bytes()), "{bad}");
        }
        let call = ("content-type", &b"application/grpc"[..]);
        let once = ("grpc-timeout", &b"1S"[..]);
        assert!(!check(Version::HTTP_2, &[call, once, once]), "twice");
    }

    #[test]
    fn metadata_is_ascii_or_base64() {
        assert!(with("x-note", b"plain text"));
        assert!(with("x-note-bin", b"AAEC"));
        assert!(with("x-note-bin", b"AAE"));
        assert!(with("x-note-bin", b"AAE=,AAEC"));
        assert!(with("x-api-key", b"\xff\xfe"), "the key's layer refuses it");
        assert!(!with("x-note", b"\xff\xfe"));
        assert!(!with("x-note", b"a\tb"));
        assert!(!with("x-note-bin", b"\xff\xfe"));
        assert!(!with("x-note-bin", b"A"));
        assert!(!with("x-note-bin", b"!!!"));
    }
}
