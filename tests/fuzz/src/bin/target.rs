//! A request target: what is accepted is in normal form, and no dots or empty segments hide in it.
#![no_main]

use countersign_scope_guard::target;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(uri) = Uri::try_from(text) else { return };
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("api.example.com"));
    if target::check(&Method::GET, &uri, &headers, Version::HTTP_11).is_ok() {
        let path = uri.path();
        assert!(path.starts_with('/') && target::is_normal_path(path));
        let mut segments = path[1..].split('/').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            assert!(last || !segment.is_empty(), "an empty segment");
            assert!(segment != "." && segment != "..", "a segment of dots");
        }
    }
});
