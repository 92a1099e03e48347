//! The source address of a request, case by case.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_core::source::TrustedProxies;
use http::HeaderMap;
use serde_json::Value;

#[test]
fn replays_the_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/client_address.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let trusted = vectors["trusted"].as_array().unwrap().iter();
    let proxies = TrustedProxies::new(trusted.map(|net| text(net).parse().unwrap()));
    let cases = vectors["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let mut headers = HeaderMap::new();
        for line in case["x_forwarded_for"].as_array().unwrap() {
            headers.append("x-forwarded-for", text(line).parse().unwrap());
        }
        let source = proxies.resolve(text(&case["peer"]).parse().unwrap(), &headers);
        let why = &case["why"];
        assert_eq!(source.address().to_string(), text(&case["client"]), "{why}");
        assert_eq!(source.is_resolved(), case["status"] == "ok", "{why}");
        assert_eq!(source.bucket().to_string(), text(&case["bucket"]), "{why}");
    }
}
