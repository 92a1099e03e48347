use http::header::HOST;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn headers(hosts: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for host in hosts {
        headers.append(HOST, host.parse().unwrap());
    }
    headers
}

fn get(target: &str, hosts: &[&str], version: Version) -> Result<(), Reason> {
    let uri: Uri = target.parse().unwrap();
    check(&Method::GET, &uri, &headers(hosts), version)
}

const AMBIGUOUS: Result<(), Reason> = Err(Reason::AmbiguousTarget);

#[test]
fn paths_in_normal_form_pass() {
    for good in [
        "/",
        "/a",
        "/a/",
        "/a/b/...",
        "/a/..b",
        "/.well-known/x",
        "/a-b_c~d",
        "/!$&'()*+,=:@",
        "/pkg.v1.Payments/Create",
        "/%20",
        "/%7Bid%7D",
        "/%C3%A9",
        "/%EF%BC%8F",
        "/%F0%9F%92%B6",
        "/%21%3A%40%7C",
    ] {
        assert!(is_normal_path(good), "{good}");
        assert!(is_normal_at_second_sight(good.as_bytes()), "{good}");
    }
}

#[test]
fn every_other_path_is_refused() {
    for bad in [
        "",
        "a",
        "*",
        "//",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/./a",
        "/a/.",
        "/a/..",
        "/a/../b",
        "/a;b",
        "/;/a",
        "/a\\b",
        "/a b",
        "/a\"b",
        "/a<b",
        "/a>b",
        "/a^b",
        "/a|b",
        "/a`b",
        "/a{b",
        "/a}b",
        "/a[b",
        "/a]b",
        "/a#b",
        "/a?b",
        "/é",
        "/a\u{7f}",
        "/a\0",
        // Percent-encoding that is none, or is cut off.
        "/%",
        "/%2",
        "/%zz",
        "/%%20",
        "/% 20",
        "/%C3",
        "/%C3%",
        "/%C3%A",
        "/%C3/%A9",
        "/%E2%82",
        // What must not, or need not, be hidden.
        "/%41",
        "/%7A",
        "/%30",
        "/%2D",
        "/%2E",
        "/%5F",
        "/%7E",
        "/%2F",
        "/%5C",
        "/%3F",
        "/%23",
        "/%25",
        "/%2561",
        "/%3B",
        "/%00",
        "/%0A",
        "/%1F",
        "/%7F",
        "/%C2%85",
        // Not UTF-8: a stray tail, too long a form, a surrogate, beyond Unicode.
        "/%80",
        "/%FF",
        "/%C0%AE",
        "/%C1%81",
        "/%E0%80%AF",
        "/%F0%80%80%AF",
        "/%ED%A0%80",
        "/%F4%90%80%80",
        "/%F8%88%80%80%80",
        // Lower-case digits: not the normal form.
        "/%c3%a9",
        "/%2f",
        "/%7b",
    ] {
        assert!(!is_normal_path(bad), "{bad}");
    }
}

#[test]
fn http_1_needs_exactly_one_host() {
    for version in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_11] {
        assert_eq!(get("/a", &["a.example"], version), Ok(()));
        assert_eq!(get("/a", &[], version), AMBIGUOUS);
        assert_eq!(get("/a", &["a.example", "a.example"], version), AMBIGUOUS);
        assert_eq!(get("http://a.example/a", &[], version), AMBIGUOUS);
        assert_eq!(get("http://a.example/a", &["A.example"], version), Ok(()));
        assert_eq!(
            get("http://b.example/a", &["a.example"], version),
            AMBIGUOUS
        );
    }
}

#[test]
fn http_2_takes_either_and_both_if_they_agree() {
    for version in [Version::HTTP_2, Version::HTTP_3] {
        assert_eq!(get("https://a.example/a", &[], version), Ok(()));
        assert_eq!(get("/a", &["a.example"], version), Ok(()));
        assert_eq!(get("https://a.example/a", &["a.example"], version), Ok(()));
        assert_eq!(
            get("https://a.example/a", &["b.example"], version),
            AMBIGUOUS
        );
        assert_eq!(
            get("https://a.example/a", &["a.example", "b.example"], version),
            AMBIGUOUS
        );
        assert_eq!(get("/a", &[], version), AMBIGUOUS);
    }
}

#[test]
fn a_host_is_a_host() {
    for good in ["a.example", "127.0.0.1:8080", "[::1]:80", "localhost"] {
        assert_eq!(get("/a", &[good], Version::HTTP_11), Ok(()), "{good}");
    }
    for bad in [
        "",
        "a,b",
        "a, b",
        "user@a",
        "a/b",
        "a\\b",
        "a b",
        "http://a/",
    ] {
        assert_eq!(get("/a", &[bad], Version::HTTP_11), AMBIGUOUS, "{bad:?}");
    }
}

#[test]
fn a_host_is_made_of_these_characters_and_no_others() {
    for byte in 0..=u8::MAX {
        let good = byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
        for host in [&[byte][..], &[byte, b'a'], &[b'a', byte, b'b']] {
            assert_eq!(is_host(host), good, "{byte:#x}");
        }
    }
    assert!(!is_host(b""));
}

#[test]
fn only_web_schemes_without_user_information() {
    let ask = |target| get(target, &["a.example"], Version::HTTP_11);
    assert_eq!(ask("https://a.example/a"), Ok(()));
    assert_eq!(ask("ftp://a.example/a"), AMBIGUOUS);
    let user = get("http://u@a.example/", &["u@a.example"], Version::HTTP_11);
    assert_eq!(user, AMBIGUOUS);
}

#[test]
fn a_target_without_its_leading_slash_is_ambiguous() {
    for target in ["*", "a.example:443", "https://a.example?x=1"] {
        let uri: Uri = target.parse().unwrap();
        let answer = check(
            &Method::GET,
            &uri,
            &headers(&["a.example"]),
            Version::HTTP_2,
        );
        assert_eq!(answer, AMBIGUOUS, "{target}");
    }
}

#[test]
fn connect_trace_and_method_overrides_are_ambiguous() {
    let uri = Uri::from_static("/a");
    let ask = |method: &[u8], headers: &HeaderMap| {
        let method = Method::from_bytes(method).unwrap();
        check(&method, &uri, headers, Version::HTTP_11)
    };
    let plain = headers(&["a.example"]);
    for method in ["GET", "OPTIONS", "PURGE", "Get"] {
        assert_eq!(ask(method.as_bytes(), &plain), Ok(()), "{method}");
    }
    for method in ["CONNECT", "TRACE"] {
        assert_eq!(ask(method.as_bytes(), &plain), AMBIGUOUS, "{method}");
    }
    for name in [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ] {
        let mut overriding = plain.clone();
        let name: HeaderName = name.parse().unwrap();
        overriding.append(name, "GET".parse().unwrap());
        assert_eq!(ask(b"GET", &overriding), AMBIGUOUS);
    }
}

#[test]
fn a_target_over_the_bound_is_malformed() {
    let ask = |length: usize| {
        let target = format!("/{}?{}", "a".repeat(100), "b".repeat(length - 102));
        get(&target, &["a.example"], Version::HTTP_11)
    };
    assert_eq!(ask(MAX_TARGET), Ok(()));
    assert_eq!(ask(MAX_TARGET + 1), Err(Reason::MalformedRequest));
}

/// The same rules in another way: by segments and with a decoder.
fn is_normal_by_the_book(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let segments: Vec<&str> = rest.split('/').collect();
    let empty_ones = segments.iter().filter(|s| s.is_empty()).count();
    let trailing = usize::from(rest.ends_with('/') || rest.is_empty());
    empty_ones <= trailing
        && segments
            .iter()
            .all(|s| *s != "." && *s != ".." && encodes_back(s))
}

/// Decodes the segment and encodes what may be encoded again, keeping what stood raw.
fn encodes_back(segment: &str) -> bool {
    let pchar = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,=:@".contains(c);
    let mut bytes = segment.bytes();
    let (mut decoded, mut raw) = (Vec::new(), Vec::new());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            raw.push(true);
            decoded.push(byte);
            continue;
        }
        let hex: Vec<u8> = bytes.by_ref().take(2).collect();
        let hex = String::from_utf8(hex).unwrap_or_default();
        let upper = hex.len() == 2 && hex.bytes().all(|b| b"0123456789ABCDEF".contains(&b));
        if !upper {
            return false;
        }
        raw.push(false);
        decoded.push(u8::from_str_radix(&hex, 16).unwrap());
    }
    let Ok(text) = std::str::from_utf8(&decoded) else {
        return false;
    };
    text.char_indices().all(|(at, c)| {
        let all_encoded = raw[at..at + c.len_utf8()].iter().all(|raw| !raw);
        let hideable = !c.is_control() && !c.is_ascii_alphanumeric() && !"-._~/\\?#%;".contains(c);
        if all_encoded { hideable } else { pchar(c) }
    })
}

#[test]
fn no_pair_of_characters_hides_what_a_second_look_would_refuse() {
    for one in 0..=u8::MAX {
        for next in 0..=u8::MAX {
            for path in [&[b'/', one, next][..], &[b'/', b'a', one, next]] {
                assert!(
                    !is_plain(path) || is_normal_at_second_sight(path),
                    "{path:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn agrees_with_the_rules_put_another_way(
        path in "(/|/?[a.]{0,3}|%[0-9A-Ca-f]{2}|%[CEF][0-9A-F](%[89AB][0-9A-F]){1,3}|[ -~]|é){0,12}",
        rooted in proptest::bool::weighted(0.9),
    ) {
        let path = if rooted { format!("/{path}") } else { path };
        prop_assert_eq!(is_normal_path(&path), is_normal_by_the_book(&path), "{}", path);
    }

    #[test]
    fn what_needs_no_second_look_would_pass_it(
        path in "(/|[/a.]{0,3}|%2E|[ -~]|é){0,12}",
        rest in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let path = [b"/", path.as_bytes(), &rest].concat();
        prop_assert!(!is_plain(&path) || is_normal_at_second_sight(&path), "{:?}", path);
    }

    #[test]
    fn never_panics_on_any_bytes(
        target in proptest::collection::vec(any::<u8>(), 0..64),
        authority in "[ -~]{0,16}",
        host in proptest::collection::vec(any::<u8>(), 0..16),
        method in "[A-Z]{1,8}",
    ) {
        let mut headers = HeaderMap::new();
        if let Ok(host) = HeaderValue::from_bytes(&host) {
            headers.append(HOST, host);
        }
        let _ = is_normal_path(&String::from_utf8_lossy(&target));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let whole = [b"http://", authority.as_bytes(), &target].concat();
        for text in [target, whole] {
            if let Ok(uri) = Uri::try_from(text) {
                for version in [Version::HTTP_11, Version::HTTP_2] {
                    let _ = check(&method, &uri, &headers, version);
                }
            }
        }
    }
}
