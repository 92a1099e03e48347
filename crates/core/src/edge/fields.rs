//! What an edge reads of a request's head.

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::respond::{Format, X_REQUEST_ID, accepts_problem};

/// What an edge reads of a head, found in one walk: each look-up by name would hash the name. Of a
/// field that stands there twice it is the first line.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) request_id: Option<&'a HeaderValue>,
    pub(super) traceparent: Option<&'a HeaderValue>,
    content_type: Option<&'a HeaderValue>,
    accepts_problem: bool,
    /// As HTTP/1.1 announces one (RFC 9112, section 6).
    pub(super) announces_body: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            let field = if *name == CONTENT_TYPE {
                &mut fields.content_type
            } else if *name == TRACEPARENT {
                &mut fields.traceparent
            } else if *name == X_REQUEST_ID {
                &mut fields.request_id
            } else {
                fields.accepts_problem |= *name == ACCEPT && accepts_problem(value.as_bytes());
                fields.announces_body |= *name == TRANSFER_ENCODING
                    || (*name == CONTENT_LENGTH && value.as_bytes() != b"0");
                continue;
            };
            field.get_or_insert(value);
        }
        fields
    }

    /// What the request's own fields ask for: gRPC by its content type, problem details by
    /// `Accept`, otherwise `default`.
    pub(super) fn format(&self, default: Format) -> Format {
        let content_type = self.content_type.map(HeaderValue::as_bytes);
        let otherwise = if self.accepts_problem {
            Format::Problem
        } else {
            default
        };
        content_type.and_then(Format::of_grpc).unwrap_or(otherwise)
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_field_that_stands_there_twice_the_first_line_counts() {
        let mut headers = HeaderMap::new();
        for value in ["application/grpc", "application/json"] {
            headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
        }
        assert_eq!(Fields::of(&headers).format(Format::Json), Format::Grpc);
        for value in ["text/html", "application/problem+json"] {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        headers.remove(CONTENT_TYPE);
        assert_eq!(Fields::of(&headers).format(Format::Json), Format::Problem);
        headers.append(ACCEPT, HeaderValue::from_static("application/problem+json"));
        assert_eq!(Fields::of(&headers).format(Format::Json), Format::Problem);
    }

    #[test]
    fn each_field_is_found_wherever_it_stands_and_whatever_its_bytes_are() {
        let first = &b"\xff\xfe"[..];
        let expected =
            |headers: &HeaderMap, name: &HeaderName| headers.contains_key(name).then_some(first);
        let names = [X_REQUEST_ID, TRACEPARENT, CONTENT_TYPE];
        let mut headers = HeaderMap::new();
        headers.insert("x-before", HeaderValue::from_static("a"));
        for name in &names {
            for bytes in [first, b"second"] {
                headers.append(name, HeaderValue::from_bytes(bytes).unwrap());
            }
            headers.append("x-after", HeaderValue::from_static("b"));
            let fields = Fields::of(&headers);
            let found = [fields.request_id, fields.traceparent, fields.content_type];
            let found = found.map(|value| value.map(HeaderValue::as_bytes));
            assert_eq!(found, [0, 1, 2].map(|i| expected(&headers, &names[i])));
        }
    }

    #[test]
    fn the_format_follows_the_request() {
        let ask = |name: HeaderName, value: &'static str| {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
            Fields::of(&headers).format(Format::Json)
        };
        assert_eq!(ask(CONTENT_TYPE, "application/grpc"), Format::Grpc);
        assert_eq!(ask(CONTENT_TYPE, "application/grpc+proto"), Format::Grpc);
        for (value, format) in [
            ("application/grpc-web", Format::GrpcWeb),
            ("Application/gRPC-Web+proto", Format::GrpcWeb),
            ("application/grpc-web-text+proto", Format::GrpcWebText),
        ] {
            assert_eq!(ask(CONTENT_TYPE, value), format);
            assert!(format.is_grpc());
        }
        assert_eq!(ask(CONTENT_TYPE, "application/json"), Format::Json);
        assert_eq!(
            ask(ACCEPT, "text/html, application/problem+json;q=0.8"),
            Format::Problem
        );
        assert_eq!(ask(ACCEPT, "application/problem+json;q=0"), Format::Json);
        assert_eq!(ask(ACCEPT, "*/*"), Format::Json);
    }
}
