//! What the layers answer where they refuse, as a document says it.

use countersign_core::ErrorCode;

use super::node::{Map, Node, map};

/// The refusals that every endpoint can meet before its handler runs: status, name, description.
pub(super) const REFUSALS: [(&str, &str, &str, &[ErrorCode]); 6] = [
    (
        "400",
        "CountersignBadRequest",
        "The request is ambiguous or malformed.",
        &[ErrorCode::InvalidRequest, ErrorCode::IdempotencyKeyRequired],
    ),
    (
        "401",
        "CountersignUnauthorized",
        "There is no API key, or not one that is in use.",
        &[
            ErrorCode::AuthenticationFailed,
            ErrorCode::TokenExpired,
            ErrorCode::TokenRevoked,
            ErrorCode::TokenNotActive,
        ],
    ),
    (
        "403",
        "CountersignForbidden",
        "The key may not do this, or names a company that is not its own.",
        &[
            ErrorCode::InsufficientScope,
            ErrorCode::EndpointNotAllowed,
            ErrorCode::CompanyBoundaryViolation,
        ],
    ),
    (
        "429",
        "CountersignTooManyRequests",
        "Too many requests; retry later.",
        &[ErrorCode::RateLimitExceeded],
    ),
    (
        "500",
        "CountersignInternalError",
        "A fault of the service.",
        &[ErrorCode::InternalError],
    ),
    (
        "503",
        "CountersignUnavailable",
        "The service is unavailable for now; retry later.",
        &[ErrorCode::ServiceUnavailable],
    ),
];

/// The shared parts, by the group of components that they belong to.
pub(super) fn components() -> [(&'static str, Map); 3] {
    let schemas = [("CountersignRefusal".to_owned(), envelope())];
    let headers = HEADERS.map(|(name, _, header)| (name.to_owned(), header()));
    let responses = REFUSALS
        .map(|(status, name, text, errors)| (name.to_owned(), response(status, text, errors)));
    [
        ("schemas", schemas.into_iter().collect()),
        ("headers", headers.into_iter().collect()),
        ("responses", responses.into_iter().collect()),
    ]
}

/// The header fields of an answer that a handler gave.
pub(super) fn fields(is_deprecated: bool) -> impl Iterator<Item = (&'static str, Node)> {
    let of_all = ["X-Request-Id", "RateLimit-Policy", "RateLimit"];
    let of_deprecated = ["Deprecation", "Sunset", "Link"];
    let deprecated = of_deprecated.into_iter().filter(move |_| is_deprecated);
    of_all.into_iter().chain(deprecated).map(field)
}

fn field(name: &'static str) -> (&'static str, Node) {
    let component = HEADERS.iter().find(|(_, field, _)| *field == name);
    let (component, ..) = component.expect("every field that is named here has a component");
    (name, reference("headers", component))
}

pub(super) fn reference(group: &str, name: &str) -> Node {
    map([("$ref", format!("#/components/{group}/{name}").into())])
}

fn response(status: &str, description: &str, errors: &[ErrorCode]) -> Node {
    let names: Node = errors.iter().map(|error| error.as_str()).collect();
    let error = map([("enum", names)]);
    let schema = map([(
        "allOf",
        Node::List(vec![
            reference("schemas", "CountersignRefusal"),
            map([("properties", map([("error", error)]))]),
        ]),
    )]);
    let content = ["application/json", "application/problem+json"]
        .map(|media| (media, map([("schema", schema.clone())])));
    let fields: &[&str] = match status {
        "401" | "403" => &["X-Request-Id", "WWW-Authenticate"],
        "429" => &[
            "X-Request-Id",
            "Retry-After",
            "RateLimit-Policy",
            "RateLimit",
        ],
        "503" => &["X-Request-Id", "Retry-After"],
        _ => &["X-Request-Id"],
    };
    map([
        ("description", description.into()),
        ("headers", map(fields.iter().map(|name| field(name)))),
        ("content", map(content)),
    ])
}

/// RFC 9457's members are there in `application/problem+json` alone, so they are not required.
fn envelope() -> Node {
    let text = || map([("type", "string".into())]);
    let whole = || map([("type", "integer".into()), ("minimum", 0.into())]);
    map([
        ("type", "object".into()),
        (
            "required",
            ["error", "message", "requestId"].into_iter().collect(),
        ),
        (
            "properties",
            map([
                ("error", text()),
                ("message", text()),
                ("requestId", text()),
                ("details", map([("type", "object".into())])),
                ("retryAfterSeconds", whole()),
                ("type", text()),
                ("title", text()),
                ("status", whole()),
                ("detail", text()),
                ("instance", text()),
            ]),
        ),
    ])
}

type Header = (&'static str, &'static str, fn() -> Node);

/// Component, field, and what it says.
const HEADERS: [Header; 8] = [
    ("CountersignRequestId", "X-Request-Id", || {
        header("Names this request, in support and in the audit log.", true)
    }),
    ("CountersignChallenge", "WWW-Authenticate", || {
        header("How to authenticate (RFC 6750).", false)
    }),
    ("CountersignRetryAfter", "Retry-After", || {
        header("After how many seconds a retry makes sense.", true)
    }),
    ("CountersignRateLimitPolicy", "RateLimit-Policy", || {
        header("The caller's quotas.", false)
    }),
    ("CountersignRateLimit", "RateLimit", || {
        header("What is left of the caller's quotas.", false)
    }),
    ("CountersignDeprecation", "Deprecation", || {
        header("Since when the endpoint is deprecated (RFC 9745).", false)
    }),
    ("CountersignSunset", "Sunset", || {
        header("Until when the endpoint answers (RFC 8594).", false)
    }),
    ("CountersignLink", "Link", || {
        header("What to read about it (RFC 8288).", false)
    }),
];

fn header(description: &str, is_required: bool) -> Node {
    map([
        ("description", description.into()),
        ("required", is_required.into()),
        ("schema", map([("type", "string".into())])),
    ])
}
