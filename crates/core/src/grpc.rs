//! What a gRPC call is made of, as far as layers must know: its head, its messages and its status.
//!
//! The wire format is that of [gRPC over HTTP/2] and of [gRPC-Web].
//!
//! [gRPC over HTTP/2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
//! [gRPC-Web]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use crate::Reason;
use crate::respond::Format;

/// Whether the head of a call to a gRPC method is one.
///
/// It is not: another content type than gRPC's, or two of them; gRPC (but not gRPC-Web) over
/// HTTP/1; a `grpc-timeout` that is no positive number of at most 8 digits with its unit, 0
/// included; metadata under a `-bin` name that is not base64, and other metadata that is not
/// printable ASCII. Credentials are left to the layer that verifies them.
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

/// Finds the messages in one direction of a call, in whatever pieces its bytes come.
#[derive(Debug)]
pub struct Messages {
    text: Option<Quad>,
    head: [u8; HEAD],
    filled: usize,
    rest: u32,
    is_trailers: bool,
    trailers: Vec<u8>,
}

impl Messages {
    /// Of a call in this form.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            text: (format == Format::GrpcWebText).then(Quad::default),
            head: [0; HEAD],
            filled: 0,
            rest: 0,
            is_trailers: false,
            trailers: Vec::new(),
        }
    }

    /// Reads on, and tells how many messages begin in `data`.
    pub fn read(&mut self, data: &[u8]) -> u32 {
        match self.text.as_mut().map(|text| text.decode(data)) {
            Some(decoded) => self.read_frames(&decoded),
            None => self.read_frames(data),
        }
    }

    /// Whether what comes next begins a message, or a frame of trailers.
    #[must_use]
    pub fn is_between(&self) -> bool {
        let is_whole = self.text.as_ref().is_none_or(|text| text.filled == 0);
        is_whole && self.filled == 0 && self.rest == 0
    }

    /// The status in the trailers that gRPC-Web sends as its last frame, once they were read.
    #[must_use]
    pub fn web_status(&self) -> Option<u8> {
        let text = std::str::from_utf8(&self.trailers).ok()?;
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_status = name.trim().eq_ignore_ascii_case(STATUS.as_str());
            is_status.then(|| value.trim().parse().ok())?
        })
    }

    fn read_frames(&mut self, mut data: &[u8]) -> u32 {
        let mut begun = 0;
        while !data.is_empty() {
            if self.rest > 0 {
                data = self.read_content(data);
            } else {
                data = self.read_head(data);
                begun += u32::from(self.filled == 0 && !self.is_trailers);
            }
        }
        begun
    }

    fn read_content<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let rest = usize::try_from(self.rest).unwrap_or(usize::MAX);
        let (content, more) = data.split_at(data.len().min(rest));
        if self.is_trailers {
            let room = MAX_TRAILERS - self.trailers.len();
            let kept = &content[..content.len().min(room)];
            self.trailers.extend_from_slice(kept);
        }
        // Proof: `content` is no longer than `rest`.
        self.rest -= u32::try_from(content.len()).unwrap_or(self.rest);
        more
    }

    /// Once the head is whole, `filled` is 0 again.
    fn read_head<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let (head, more) = data.split_at(data.len().min(HEAD - self.filled));
        self.head[self.filled..][..head.len()].copy_from_slice(head);
        self.filled += head.len();
        if self.filled == HEAD {
            let [flags, length @ ..] = self.head;
            self.filled = 0;
            self.rest = u32::from_be_bytes(length);
            self.is_trailers = flags & TRAILERS != 0;
        }
        more
    }
}

/// Base64 that comes in pieces, each of which may end with padding of its own.
#[derive(Debug, Default)]
struct Quad {
    digits: [u8; 4],
    filled: usize,
}

impl Quad {
    /// What can't be decoded is passed over: then it is no message.
    fn decode(&mut self, data: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::with_capacity(data.len() / 4 * 3 + 3);
        for digit in data {
            self.digits[self.filled] = *digit;
            self.filled = (self.filled + 1) % self.digits.len();
            let mut bytes = [0; 3];
            if self.filled == 0
                && let Ok(length) = STANDARD.decode_slice(self.digits, &mut bytes)
            {
                decoded.extend_from_slice(&bytes[..length]);
            }
        }
        decoded
    }
}

/// `application/grpc`, bare or with a suffix or a parameter, and not merely something longer.
fn exact_format(content_type: &[u8]) -> Option<Format> {
    let format = Format::of_grpc(content_type)?;
    let name = match format {
        Format::GrpcWeb => "application/grpc-web",
        Format::GrpcWebText => "application/grpc-web-text",
        _ => "application/grpc",
    };
    matches!(
        content_type.get(name.len()),
        None | Some(b'+' | b';' | b' ')
    )
    .then_some(format)
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

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Binary metadata is accepted padded and not.
const BINARY: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One byte of flags and four of length.
const HEAD: usize = 5;
/// The flag of a gRPC-Web frame that holds trailers.
const TRAILERS: u8 = 0x80;
/// As much of a frame of trailers as is kept to find the status in.
const MAX_TRAILERS: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            ("application/grpcx", false, false),
            ("application/grpc-web-texts", false, false),
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

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.extend(vec![0x80; length]);
        bytes
    }

    fn web_trailers(text: &str) -> Vec<u8> {
        let mut bytes = vec![TRAILERS];
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    proptest! {
        /// However the bytes are cut, the same messages are found.
        #[test]
        fn messages_are_counted_in_any_pieces(
            lengths in prop::collection::vec(0usize..40, 0..8),
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            let mut bytes: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            bytes.extend(web_trailers("grpc-status: 7\r\ngrpc-message: no\r\n"));
            for format in [Format::Grpc, Format::GrpcWebText] {
                let bytes = match format {
                    Format::Grpc => bytes.clone(),
                    _ => STANDARD.encode(&bytes).into_bytes(),
                };
                let mut messages = Messages::new(format);
                let (mut rest, mut found) = (&bytes[..], 0);
                for cut in cuts.iter().cycle() {
                    let (piece, more) = rest.split_at(rest.len().min(*cut));
                    found += messages.read(piece);
                    rest = more;
                    if rest.is_empty() {
                        break;
                    }
                }
                prop_assert_eq!(found as usize, lengths.len());
                prop_assert_eq!(messages.web_status(), Some(7));
            }
        }

        #[test]
        fn junk_is_read_without_a_panic(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..9)) {
            for format in [Format::Grpc, Format::GrpcWeb, Format::GrpcWebText] {
                let mut messages = Messages::new(format);
                for piece in &pieces {
                    messages.read(piece);
                }
                let _ = messages.web_status();
            }
        }
    }

    /// As servers send it: each chunk of base64 has padding of its own.
    #[test]
    fn padding_may_stand_within_a_text() {
        let mut messages = Messages::new(Format::GrpcWebText);
        let first = STANDARD.encode(message(2));
        let last = STANDARD.encode(web_trailers("grpc-status:0\r\n"));
        assert_eq!(messages.read((first + &last).as_bytes()), 1);
        assert_eq!(messages.web_status(), Some(0));
    }
}
