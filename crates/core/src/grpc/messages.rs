//! The messages in one direction of a call.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::STATUS;
use crate::Reason;
use crate::respond::Format;

/// Finds the messages in one direction of a call, in whatever pieces its bytes come.
#[derive(Debug)]
pub struct Messages {
    text: Option<Quad>,
    is_junk: bool,
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
            is_junk: false,
            head: [0; HEAD],
            filled: 0,
            rest: 0,
            is_trailers: false,
            trailers: Vec::new(),
        }
    }

    /// Reads on, and tells how many messages begin in `data`.
    ///
    /// # Errors
    /// `malformed_request`, from now on, where what should be base64 is not: nobody can tell then
    /// which messages a handler would find in it.
    pub fn read(&mut self, mut data: &[u8]) -> Result<u32, Reason> {
        let mut count = 0;
        while let Some(begun) = self.read_to_next(data)? {
            count += 1;
            data = &data[begun.through..];
        }
        Ok(count)
    }

    /// Reads on until a message begins, which is when its head is whole. `None` where all of `data` was
    /// read before.
    ///
    /// # Errors
    /// As [`Messages::read`].
    pub fn read_to_next(&mut self, data: &[u8]) -> Result<Option<Begun>, Reason> {
        if self.is_junk {
            return Err(Reason::MalformedRequest);
        }
        if self.text.is_some() {
            return self.read_text(data);
        }
        let through = self.read_frames(data);
        Ok(through.map(|through| Begun {
            before: through.saturating_sub(HEAD),
            through,
        }))
    }

    /// Whether what comes next may begin a message, or a frame of trailers.
    #[must_use]
    pub fn is_between(&self) -> bool {
        let is_whole = self.text.as_ref().is_none_or(|text| text.filled == 0);
        self.is_junk || (is_whole && self.filled == 0 && self.rest == 0)
    }

    /// Whether what came so far can't be all: base64 comes by four digits, and some are missing.
    #[must_use]
    pub fn lacks_digits(&self) -> bool {
        self.text.as_ref().is_some_and(|text| text.filled != 0)
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

    /// A piece of base64 holds less than a head, so that at most one begins with each.
    fn read_text(&mut self, data: &[u8]) -> Result<Option<Begun>, Reason> {
        let mut before = 0;
        for (place, digit) in data.iter().enumerate() {
            let Some(quad) = self.text.as_mut().and_then(|text| text.fill(*digit)) else {
                continue;
            };
            let mut bytes = [0; 3];
            let decoded = STANDARD.decode_slice(quad, &mut bytes);
            self.is_junk = decoded.is_err();
            let length = decoded.map_err(|_| Reason::MalformedRequest)?;
            let through = place + 1;
            if let Some(read) = self.read_frames(&bytes[..length]) {
                self.read_frames(&bytes[read..length]);
                return Ok(Some(Begun { before, through }));
            }
            before = through;
        }
        Ok(None)
    }

    /// Up to where `data` was read when a message began in it.
    fn read_frames(&mut self, data: &[u8]) -> Option<usize> {
        let mut rest = data;
        while !rest.is_empty() {
            if self.rest > 0 {
                rest = self.read_content(rest);
                continue;
            }
            rest = self.read_head(rest);
            if self.filled == 0 && !self.is_trailers {
                return Some(data.len() - rest.len());
            }
        }
        None
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
    /// Four digits, once they are there.
    fn fill(&mut self, digit: u8) -> Option<[u8; 4]> {
        self.digits[self.filled] = digit;
        self.filled = (self.filled + 1) % self.digits.len();
        (self.filled == 0).then_some(self.digits)
    }
}

/// Where in a piece of a call a message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Begun {
    /// So many of the piece's bytes hold all of the messages before, and no whole head of this one.
    pub before: usize,
    /// So many were read.
    pub through: usize,
}

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
                    found += messages.read(piece).unwrap();
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
                    let _ = messages.read(piece);
                }
                let _ = messages.web_status();
            }
        }
    }

    /// What stands before a message holds all that came earlier, and nothing that would be one.
    #[test]
    fn a_piece_can_be_cut_before_any_of_its_messages() {
        let bytes: Vec<u8> = [3, 0, 7].into_iter().flat_map(message).collect();
        for format in [Format::Grpc, Format::GrpcWebText] {
            let data = match format {
                Format::Grpc => bytes.clone(),
                _ => STANDARD.encode(&bytes).into_bytes(),
            };
            let (mut messages, mut read) = (Messages::new(format), 0);
            for earlier in 0..3 {
                let begun = messages.read_to_next(&data[read..]).unwrap().unwrap();
                let mut handler = Messages::new(format);
                assert_eq!(handler.read(&data[..read + begun.before]), Ok(earlier));
                assert_eq!(handler.rest, 0, "{format:?}: each is whole");
                read += begun.through;
            }
            assert_eq!(messages.read_to_next(&data[read..]), Ok(None));
            assert!(messages.is_between());
        }
    }

    /// As servers send it: each chunk of base64 has padding of its own.
    #[test]
    fn padding_may_stand_within_a_text() {
        let mut messages = Messages::new(Format::GrpcWebText);
        let first = STANDARD.encode(message(2));
        let last = STANDARD.encode(web_trailers("grpc-status:0\r\n"));
        assert_eq!(messages.read((first + &last).as_bytes()), Ok(1));
        assert_eq!(messages.web_status(), Some(0));
    }

    #[test]
    fn base64_that_is_cut_off_lacks_digits() {
        for (text, lacks) in [
            ("AAAAAAA=", false),
            ("AAAAAAA", true),
            ("AAAAAAA=\n", true),
            ("", false),
        ] {
            let mut messages = Messages::new(Format::GrpcWebText);
            assert!(messages.read(text.as_bytes()).is_ok());
            assert_eq!(messages.lacks_digits(), lacks, "{text:?}");
        }
        let mut messages = Messages::new(Format::Grpc);
        assert_eq!(messages.read(b"\0\0\0"), Ok(0));
        assert!(!messages.lacks_digits());
    }

    /// What a server that takes the call for plain gRPC would read as messages is none.
    #[test]
    fn what_is_not_base64_is_told_and_stays_told() {
        let malformed = Err(Reason::MalformedRequest);
        for junk in [&message(2)[..], b"AAA!", b"AA=A", b"AAAA\r\n==", b"===="] {
            let mut messages = Messages::new(Format::GrpcWebText);
            assert_eq!(messages.read(b"AAAAAAA="), Ok(1));
            assert_eq!(messages.read(junk), malformed, "{junk:?}");
            assert_eq!(messages.read(b"AAAAAAA="), malformed);
            assert!(messages.is_between(), "every piece may be a message");
        }
        let mut messages = Messages::new(Format::GrpcWebText);
        let raw = message(2);
        assert_eq!(messages.read(&raw[..3]), Ok(0));
        assert_eq!(messages.read(&raw[3..]), malformed, "in pieces too");
    }
}
