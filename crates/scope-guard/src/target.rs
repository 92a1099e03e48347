//! Which request targets are clear enough to decide on.
//!
//! A target is refused wherever two readers of it could disagree: the contract decides on the
//! same characters that the router will use, and nothing is normalised and then trusted.
//!
//! | refused | as |
//! |---|---|
//! | a path that is not in the normal form of RFC 3986 §6.2.2, see [`is_normal_path`] | `ambiguous_target` |
//! | `CONNECT`, `TRACE`, `*`, a target without its leading slash | `ambiguous_target` |
//! | HTTP/1: no `Host`, or more than one | `ambiguous_target` |
//! | HTTP/2 and later: neither `:authority` nor `Host`, or more than one `Host` | `ambiguous_target` |
//! | an authority in the target that is not, letter case apart, what `Host` says | `ambiguous_target` |
//! | user information, a `Host` that is no host, another scheme than `http` and `https` | `ambiguous_target` |
//! | `X-HTTP-Method-Override`, `X-HTTP-Method`, `X-Method-Override`, whatever they say | `ambiguous_target` |
//! | a target of more than [`MAX_TARGET`] bytes | `malformed_request` |
//!
//! The query is not looked at: nothing is decided on it here.

use countersign_core::Reason;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, Uri, Version};

/// The longest target that is looked at, path and query together, in bytes. RFC 9110 §4.1 asks
/// for at least 8000.
pub const MAX_TARGET: usize = 8192;

/// Whether the request's target can be read in one way only. Allocates nothing.
///
/// # Errors
/// The reason of the refusal: `ambiguous_target`, or `malformed_request` for a target that is too
/// long.
pub fn check(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    version: Version,
) -> Result<(), Reason> {
    check_with(is_normal_path, method, uri, headers, version)
}

/// [`check`], by somebody who may know already that a path is in normal form.
pub(crate) fn check_with(
    is_normal: impl FnOnce(&str) -> bool,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    version: Version,
) -> Result<(), Reason> {
    let Some(target) = uri.path_and_query() else {
        return Err(Reason::AmbiguousTarget);
    };
    if target.as_str().len() > MAX_TARGET {
        return Err(Reason::MalformedRequest);
    }
    // `PathAndQuery::path` shows an empty path as "/"; its whole text does not.
    let clear = target.as_str().starts_with('/')
        && *method != Method::CONNECT
        && *method != Method::TRACE
        && is_normal(target.path())
        && is_web_scheme(uri)
        && heads_agree(uri.authority(), headers, version);
    if clear {
        Ok(())
    } else {
        Err(Reason::AmbiguousTarget)
    }
}

/// Whether `path` is in the normal form of RFC 3986 §6.2.2 and can be decoded in one way only.
///
/// It begins with `/` and has no empty segment but a trailing one, and no `.` or `..` segment. Its
/// characters are those of `pchar` without `;`. What is percent-encoded is encoded in upper-case
/// hex digits, is UTF-8 when decoded, and is none of: an unreserved character, `/ \ ? # % ;`, a
/// control character.
#[must_use]
pub fn is_normal_path(path: &str) -> bool {
    let path = path.as_bytes();
    path.first() == Some(&b'/') && (is_plain(path) || is_normal_at_second_sight(path))
}

/// Whether a path that begins with `/` needs no second look, as nearly all of them: it has plain
/// characters and slashes alone, and no slash before another one or a dot.
fn is_plain(path: &[u8]) -> bool {
    let pairs = path.iter().zip(path.iter().skip(1));
    let seen = pairs.fold(0, |seen, (one, next)| {
        seen | FIRST[usize::from(*one)] & SECOND[usize::from(*next)]
    });
    seen == 0
}

fn is_normal_at_second_sight(path: &[u8]) -> bool {
    let mut segment = 1;
    let mut at = 1;
    while let Some(byte) = path.get(at) {
        match CLASSES[usize::from(*byte)] {
            Class::Plain => at += 1,
            Class::Slash => {
                if at == segment || is_dots(&path[segment..at]) {
                    return false;
                }
                at += 1;
                segment = at;
            }
            Class::Percent => match encoded_char(&path[at..]) {
                Some(len) => at += len,
                None => return false,
            },
            Class::Refused => return false,
        }
    }
    !is_dots(&path[segment..])
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

/// The length of the percent-encoded character that `text` begins with; `None` when it is not one
/// or must not be encoded.
fn encoded_char(text: &[u8]) -> Option<usize> {
    let mut decoded = [0; 4];
    decoded[0] = encoded_byte(text)?;
    let len = match decoded[0] {
        0x00..=0x7F => 1,
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return None,
    };
    for (index, byte) in decoded.iter_mut().enumerate().take(len).skip(1) {
        *byte = encoded_byte(text.get(index * 3..)?)?;
    }
    let char = std::str::from_utf8(&decoded[..len]).ok()?.chars().next()?;
    let must_stay_visible = char.is_ascii_alphanumeric()
        || char.is_control()
        || matches!(
            char,
            '-' | '.' | '_' | '~' | '/' | '\\' | '?' | '#' | '%' | ';'
        );
    (!must_stay_visible).then_some(len * 3)
}

fn encoded_byte(text: &[u8]) -> Option<u8> {
    match text {
        [b'%', high, low, ..] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
        _ => None,
    }
}

/// Upper-case digits only: RFC 3986 §6.2.2.1 makes them the normal form.
const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn is_web_scheme(uri: &Uri) -> bool {
    uri.scheme_str()
        .is_none_or(|scheme| matches!(scheme, "http" | "https"))
}

/// One pass over the fields costs less than looking up each of those that matter.
fn heads_agree(authority: Option<&Authority>, headers: &HeaderMap, version: Version) -> bool {
    let mut host = None;
    for (name, value) in headers {
        if *name == HOST {
            if host.replace(value.as_bytes()).is_some() {
                return false;
            }
        } else if METHOD_OVERRIDES.contains(name) {
            return false;
        }
    }
    match (
        host,
        authority.map(|authority| authority.as_str().as_bytes()),
    ) {
        (Some(host), Some(authority)) => is_host(host) && host.eq_ignore_ascii_case(authority),
        (Some(host), None) => is_host(host),
        (None, Some(authority)) => version >= Version::HTTP_2 && is_host(authority),
        (None, None) => false,
    }
}

/// A host name or address and perhaps a port. Characters that `reg-name` allows and no host has
/// are refused with the rest, above all the comma of two joined fields.
fn is_host(host: &[u8]) -> bool {
    // All are read before any is refused: of so few that is less work than to stop at the first.
    let good = host.iter().map(|byte| IN_HOST[usize::from(*byte)]);
    !host.is_empty() && good.fold(true, |all, good| all & good)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Refused,
    Plain,
    Slash,
    Percent,
}

/// RFC 3986 §3.3: `pchar` less `;`, whose path parameters some readers cut off.
static CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut table = [Class::Refused; 256];
    let mut byte = 0;
    while byte < 128u8 {
        if byte.is_ascii_alphanumeric() {
            table[byte as usize] = Class::Plain;
        }
        byte += 1;
    }
    let marks = b"-._~!$&'()*+,=:@";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = Class::Plain;
        at += 1;
    }
    table[b'/' as usize] = Class::Slash;
    table[b'%' as usize] = Class::Percent;
    table
}

/// The two bits of a pair of characters that asks for a second look: one that is neither plain nor
/// a slash stands second, or a slash or a dot after a slash.
static FIRST: [u8; 256] = pairs(true);
static SECOND: [u8; 256] = pairs(false);
const NOT_PLAIN: u8 = 1;
const AFTER_SLASH: u8 = 2;

const fn pairs(first: bool) -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let is_slash = byte == b'/' as usize;
        let is_plain = matches!(CLASSES[byte], Class::Plain) || is_slash;
        let of_slash = is_slash || (!first && byte == b'.' as usize);
        let not_plain = if first || !is_plain { NOT_PLAIN } else { 0 };
        table[byte] = not_plain | if of_slash { AFTER_SLASH } else { 0 };
        byte += 1;
    }
    table
}

static METHOD_OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

static IN_HOST: [bool; 256] = in_host();

const fn in_host() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        let mark = matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']');
        table[byte as usize] = byte.is_ascii_alphanumeric() || mark;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests;
