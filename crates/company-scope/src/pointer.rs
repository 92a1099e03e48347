//! JSON pointers (RFC 6901).

use std::fmt;
use std::str::FromStr;

use countersign_core::ParseError;

/// A place in a JSON document, as RFC 6901 writes it: `/company_id`, `/transfer/from/company`.
/// At most [`JsonPointer::MAX_TOKENS`] steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPointer(Vec<Box<str>>);

impl JsonPointer {
    /// The most steps that a pointer can have.
    pub const MAX_TOKENS: usize = 32;

    /// The steps, with their escapes undone.
    pub(crate) fn into_tokens(self) -> Vec<Box<str>> {
        self.0
    }
}

impl FromStr for JsonPointer {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = ParseError::new(
            "JSON pointer",
            "RFC 6901, at most 32 steps, for example /company_id",
        );
        let mut steps = text.split('/');
        if steps.next() != Some("") {
            return Err(error);
        }
        let tokens: Option<Vec<_>> = steps.map(unescape).collect();
        match tokens {
            Some(tokens) if tokens.len() <= Self::MAX_TOKENS => Ok(Self(tokens)),
            _ => Err(error),
        }
    }
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

/// `~1` is `/` and `~0` is `~`; `None` for any other use of `~`.
fn unescape(step: &str) -> Option<Box<str>> {
    let mut parts = step.split('~');
    let mut token = parts.next()?.to_owned();
    for part in parts {
        let (char, rest) = match part.as_bytes().first()? {
            b'0' => ('~', &part[1..]),
            b'1' => ('/', &part[1..]),
            _ => return None,
        };
        token.push(char);
        token.push_str(rest);
    }
    Some(token.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_examples_of_rfc_6901() {
        let tokens = |text: &str| {
            let pointer: JsonPointer = text.parse().unwrap();
            assert_eq!(pointer.to_string(), text);
            pointer.0.iter().map(|t| t.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(tokens(""), [""; 0]);
        assert_eq!(tokens("/foo/0"), ["foo", "0"]);
        assert_eq!(tokens("/"), [""]);
        assert_eq!(tokens("/a~1b"), ["a/b"]);
        assert_eq!(tokens("/m~0n"), ["m~n"]);
        assert_eq!(tokens("/~01"), ["~1"]);
    }

    #[test]
    fn refuses_what_is_no_pointer() {
        let long = "/a".repeat(33);
        for bad in ["a", "a/b", "/~", "/~2", "/a~", "#/a", &long] {
            assert!(bad.parse::<JsonPointer>().is_err(), "{bad}");
        }
        assert!("/a".repeat(32).parse::<JsonPointer>().is_ok());
    }
}
