//! Where a request carries its credential. Nothing is allocated but for a query with escapes, and
//! nothing is believed yet.

use std::borrow::Cow;

use countersign_core::{KeyPrefix, Reason};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};
use percent_encoding::{percent_decode, percent_decode_str};

use crate::key;

/// The one credential of a request.
///
/// `X-Api-Key` and, where `bearer` is on, `Authorization: Bearer` (RFC 6750 §2.1; the scheme in
/// any case, RFC 9110 §11.1) are looked at. The same credential twice is one credential.
///
/// # Errors
/// `KeyInQuery` where the query string holds a key, whatever else was sent; `AmbiguousCredentials`
/// for two different ones; `MissingApiKey` for none; `MalformedApiKey` for an empty one.
pub(crate) fn find<'a>(
    headers: &'a HeaderMap,
    query: Option<&str>,
    bearer: bool,
) -> Result<&'a [u8], Reason> {
    if query.is_some_and(holds_key) {
        return Err(Reason::KeyInQuery);
    }
    let mut found: Option<&[u8]> = None;
    // One pass over the fields costs less than looking up each name.
    for (name, value) in headers {
        let credential = if *name == X_API_KEY {
            value.as_bytes()
        } else if bearer && *name == AUTHORIZATION {
            match bearer_token(value.as_bytes()) {
                Some(token) => token,
                None => continue,
            }
        } else {
            continue;
        };
        // Where all are the same, it is no matter which of them stays.
        if found
            .replace(credential)
            .is_some_and(|other| other != credential)
        {
            return Err(Reason::AmbiguousCredentials);
        }
    }
    match found {
        None => Err(Reason::MissingApiKey),
        Some([]) => Err(Reason::MalformedApiKey),
        Some(credential) => Ok(credential),
    }
}

/// The token of a `Bearer` credential, empty where what follows the scheme can't be one; `None`
/// for another scheme.
fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let scheme = value.get(..BEARER.len())?;
    if !scheme.eq_ignore_ascii_case(BEARER) {
        return None;
    }
    match &value[BEARER.len()..] {
        [b' ', rest @ ..] => {
            let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
            Some(&rest[blanks..])
        }
        [] | [b'\t', ..] => Some(&[]),
        _ => None,
    }
}

/// Whether a query string holds a key: anything of a key's shape, wherever it stands, or a value
/// under a name that is meant for one.
fn holds_key(query: &str) -> bool {
    shows_key(query.as_bytes()) || names_key(query)
}

/// Whether there is a value under a name that is meant for a key.
fn names_key(query: &str) -> bool {
    query.split('&').any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name);
        let mut names = MEANT_FOR_KEYS.iter();
        !value.is_empty() && names.any(|meant| name.eq_ignore_ascii_case(meant.as_bytes()))
    })
}

/// Whether there is anything of a key's shape.
fn shows_key(query: &[u8]) -> bool {
    look_for(query, |text| key::is_within(text).then_some(())).is_some()
}

/// The prefix of the first whole key in a query string: of a text that only looks like one, nothing
/// is told, for what part of it would be secret is not known.
pub(crate) fn key_in(query: &str) -> Option<KeyPrefix> {
    look_for(query.as_bytes(), key::prefix_within)
}

/// What is found in a query string as it stands, or with escapes undone: also those in a target or a
/// whole request that is a value itself.
fn look_for<T>(query: &[u8], find: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    // Nearly every query is shorter than a key.
    if query.len() < key::MIN {
        return None;
    }
    let mut text = Cow::Borrowed(query);
    for _ in 0..MAX_DECODINGS {
        if let Some(found) = find(&text) {
            return Some(found);
        }
        let Cow::Owned(decoded) = Cow::from(percent_decode(&text)) else {
            return None;
        };
        text = Cow::Owned(decoded);
    }
    find(&text)
}

fn decoded(text: &str) -> Cow<'_, [u8]> {
    percent_decode_str(text).into()
}

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const BEARER: &[u8] = b"bearer";
/// How often escapes are undone: a value within a value within a value.
const MAX_DECODINGS: usize = 3;
const MEANT_FOR_KEYS: [&str; 5] = ["api_key", "apikey", "api-key", "x-api-key", "access_token"];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        for value in ["Bearer k", "bearer k", "BEARER k", "bEaReR   k"] {
            let headers = headers(&[("authorization", value)]);
            assert_eq!(find(&headers, None, true), Ok(&b"k"[..]), "{value}");
            assert_eq!(find(&headers, None, false), Err(Reason::MissingApiKey));
        }
    }

    #[test]
    fn other_schemes_are_no_credential_of_ours() {
        for value in ["Basic k", "Bearerk", "Digest k", ""] {
            let headers = headers(&[("authorization", value)]);
            assert_eq!(
                find(&headers, None, true),
                Err(Reason::MissingApiKey),
                "{value}"
            );
        }
        let both = headers(&[("authorization", "Basic k"), ("x-api-key", "a")]);
        assert_eq!(find(&both, None, true), Ok(&b"a"[..]));
    }

    #[test]
    fn a_scheme_without_a_token_is_malformed() {
        for value in ["Bearer", "Bearer ", "bearer\tk", "Bearer   "] {
            let headers = headers(&[("authorization", value)]);
            let found = find(&headers, None, true);
            assert_eq!(found, Err(Reason::MalformedApiKey), "{value:?}");
        }
        let blank = headers(&[("x-api-key", "")]);
        assert_eq!(find(&blank, None, true), Err(Reason::MalformedApiKey));
    }

    #[test]
    fn two_credentials_are_refused_unless_they_are_one() {
        let two = headers(&[("x-api-key", "a"), ("authorization", "Bearer b")]);
        assert_eq!(find(&two, None, true), Err(Reason::AmbiguousCredentials));
        let repeated = headers(&[("x-api-key", "a"), ("x-api-key", "b")]);
        assert_eq!(
            find(&repeated, None, true),
            Err(Reason::AmbiguousCredentials)
        );
        let blank = headers(&[("x-api-key", ""), ("authorization", "Bearer b")]);
        assert_eq!(find(&blank, None, true), Err(Reason::AmbiguousCredentials));
        let off = find(&two, None, false);
        assert_eq!(off, Ok(&b"a"[..]), "a scheme that is off is not looked at");
        let same = headers(&[("x-api-key", "a"), ("authorization", "Bearer a")]);
        assert_eq!(find(&same, None, true), Ok(&b"a"[..]));
    }

    #[test]
    fn a_key_in_the_query_is_refused_even_beside_a_good_one() {
        let good = headers(&[("x-api-key", "a")]);
        let key = "acme_live_pBakQVyk6bW4_dyAUnGlWpgXAf27a1TXTHmxUUGcFQfjFK8uPd5kCyZY1swXXr";
        let encoded = key.replace('_', "%5F");
        for query in [
            "api_key=x".to_owned(),
            "a=b&API_KEY=x".to_owned(),
            "access_token=t".to_owned(),
            format!("q={key}"),
            format!("q={encoded}"),
            key.to_owned(),
            format!("auth=Bearer%20{key}"),
            format!("auth=Bearer+{key}"),
            format!("next=%2Fx%3Fapi_key%3D{key}"),
            format!("token={key},"),
            format!("a=b&token=x{key}x&c=d"),
            format!("next=%2Fx%3Fq%3D{}", encoded.replace('%', "%25")),
            key.bytes().fold("q=".to_owned(), |query, byte| {
                format!("{query}%25{byte:02x}")
            }),
        ] {
            assert_eq!(
                find(&good, Some(&query), true),
                Err(Reason::KeyInQuery),
                "{query}"
            );
        }
        for query in [
            String::new(),
            "a=b".to_owned(),
            "api_key=".to_owned(),
            "page=2&company_id=company_12".to_owned(),
            format!("prefix={}", &key[..21]),
            format!("q={}", &key[..69]),
            format!("q={}", &key[3..]),
            format!("q={}", key.replace('_', "-")),
            format!("q={}%", "%25".repeat(200)),
        ] {
            assert!(find(&good, Some(&query), true).is_ok(), "{query}");
        }
    }

    #[test]
    fn of_a_key_in_the_query_the_prefix_is_known() {
        let key = "acme_live_pBakQVyk6bW4_dyAUnGlWpgXAf27a1TXTHmxUUGcFQfjFK8uPd5kCyZY1swXXr";
        let prefix = key[..22].parse().unwrap();
        for query in [
            format!("q={key}"),
            format!("q={}", key.replace('_', "%5F")),
            format!("a=b&token=x{key}x&c=d"),
            format!("next=%2Fx%3Fq%3D{}", key.replace('_', "%255F")),
            format!("a=b_live_{}&q={key}", "0".repeat(70)),
            format!("a={}&q={key}", key.replace("XXr", "XXs")),
        ] {
            assert_eq!(key_in(&query), Some(prefix), "{query}");
        }
        for query in [
            "api_key=x".to_owned(),
            format!("q={}", key.replace("XXr", "XXs")),
            format!("q={}", &key[1..]),
            format!("q={}", key.replace("pBak", "pBbk")),
        ] {
            assert_eq!(key_in(&query), None, "{query}");
        }
    }
}
