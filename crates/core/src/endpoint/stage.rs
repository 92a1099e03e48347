//! Where in its life an endpoint stands.

use std::fmt;

use http::header::LINK;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{ParseError, Timestamp};

/// Where in its life an endpoint stands.
///
/// | stage | callers | the document |
/// |---|---|---|
/// | draft | are refused with `endpoint_unknown` | leaves it out |
/// | beta | may call it | says that it may change |
/// | ga | may call it | |
/// | deprecated | may call it, and each answer says since when, until when and what to read | says so |
/// | retired | are refused with `endpoint_unknown`, and the audit names the endpoint | leaves it out |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Stage {
    /// Not open yet.
    Draft,
    /// Open, and may still change.
    Beta,
    /// Generally available.
    #[default]
    Ga,
    /// Open, and on its way out.
    Deprecated,
    /// Not open any more.
    Retired,
}

impl Stage {
    /// Every stage, in the order of a life.
    pub const ALL: [Self; 5] = [
        Self::Draft,
        Self::Beta,
        Self::Ga,
        Self::Deprecated,
        Self::Retired,
    ];

    /// The name in documents and in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Beta => "beta",
            Self::Ga => "ga",
            Self::Deprecated => "deprecated",
            Self::Retired => "retired",
        }
    }

    /// Whether callers may use an endpoint at this stage.
    #[must_use]
    #[inline]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Beta | Self::Ga | Self::Deprecated)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Since when an endpoint is deprecated, until when it answers, and what to read about it. Each
/// answer of the endpoint carries it: `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and `Link`
/// with the relations `deprecation` and `sunset`.
///
/// ```
/// use countersign_core::Deprecation;
///
/// let deprecation = Deprecation::since("2026-10-01T00:00:00Z".parse()?)
///     .with_sunset("2027-04-01T00:00:00Z".parse()?)?
///     .with_link("https://docs.example.com/moving-to-v2")?;
/// let mut headers = http::HeaderMap::new();
/// deprecation.write(&mut headers);
/// assert_eq!(headers["deprecation"], "@1790812800");
/// assert_eq!(headers["sunset"], "Thu, 01 Apr 2027 00:00:00 GMT");
/// # Ok::<(), countersign_core::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Deprecation {
    since: Timestamp,
    sunset: Option<Timestamp>,
    link: Option<Box<str>>,
    /// As they stand in answers: made once, not for each of them.
    fields: Fields,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Fields {
    deprecation: HeaderValue,
    sunset: Option<HeaderValue>,
    link: Option<HeaderValue>,
}

impl Deprecation {
    /// Deprecated since then. A time to come says when it will be.
    #[must_use]
    pub fn since(since: Timestamp) -> Self {
        let seconds = since.as_micros().div_euclid(1_000_000);
        let field = HeaderValue::try_from(format!("@{seconds}"));
        Self {
            since,
            sunset: None,
            link: None,
            fields: Fields {
                deprecation: field.expect("`@` and digits are visible ASCII"),
                sunset: None,
                link: None,
            },
        }
    }

    /// From then on the endpoint may stop answering. It does so when it is declared retired, not
    /// by itself.
    ///
    /// # Errors
    /// When that is before it is deprecated (RFC 9745, section 4), or no HTTP date can say it.
    pub fn with_sunset(mut self, sunset: Timestamp) -> Result<Self, ParseError> {
        if sunset < self.since {
            return Err(ParseError::new(
                "sunset",
                "a time that is not before the deprecation",
            ));
        }
        let error = ParseError::new("sunset", "a time of the years 1 to 9999");
        let time = jiff::Timestamp::from_microsecond(sunset.as_micros()).map_err(|_| error)?;
        let date = jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&time)
            .map_err(|_| error)?;
        self.fields.sunset = Some(HeaderValue::try_from(date).map_err(|_| error)?);
        self.sunset = Some(sunset);
        Ok(self)
    }

    /// Where callers read what to do: a URL.
    ///
    /// # Errors
    /// When it is none of `http` or `https`, or has characters that a link can't hold.
    pub fn with_link(mut self, url: &str) -> Result<Self, ParseError> {
        let error = ParseError::new("link", "an http or https URL, percent-encoded");
        let known = url.starts_with("https://") || url.starts_with("http://");
        let good = |b: u8| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b'\\');
        if !known || !url.bytes().all(good) {
            return Err(error);
        }
        let field = format!("<{url}>; rel=\"deprecation\", <{url}>; rel=\"sunset\"");
        self.fields.link = Some(HeaderValue::try_from(field).map_err(|_| error)?);
        self.link = Some(url.into());
        Ok(self)
    }

    /// Since when.
    #[must_use]
    pub const fn deprecated_at(&self) -> Timestamp {
        self.since
    }

    /// Until when, if that was decided.
    #[must_use]
    pub const fn sunset(&self) -> Option<Timestamp> {
        self.sunset
    }

    /// What to read, if there is something.
    #[must_use]
    pub fn link(&self) -> Option<&str> {
        self.link.as_deref()
    }

    /// Puts the fields onto an answer. Links that it has already stay.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(DEPRECATION, self.fields.deprecation.clone());
        if let Some(sunset) = &self.fields.sunset {
            headers.insert(SUNSET, sunset.clone());
        }
        if let Some(link) = &self.fields.link {
            headers.append(LINK, link.clone());
        }
    }
}

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_fields_are_those_of_their_rfcs() {
        let whole = Deprecation::since(time("2023-06-30T23:59:59Z"))
            .with_sunset(time("2026-12-31T23:59:59Z"))
            .unwrap()
            .with_link("https://developer.example.com/deprecation")
            .unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(LINK, HeaderValue::from_static("</page/2>; rel=\"next\""));
        whole.write(&mut headers);
        // RFC 9745, section 2.1, and RFC 8594, section 3.
        assert_eq!(headers[DEPRECATION], "@1688169599");
        assert_eq!(headers[SUNSET], "Thu, 31 Dec 2026 23:59:59 GMT");
        let links: Vec<_> = headers.get_all(LINK).iter().collect();
        assert_eq!(links.len(), 2, "the handler's own link stays");
        let url = "https://developer.example.com/deprecation";
        let ours = format!("<{url}>; rel=\"deprecation\", <{url}>; rel=\"sunset\"");
        assert_eq!(links[1], ours.as_str());
    }

    #[test]
    fn a_sunset_before_the_deprecation_is_refused() {
        let since = Deprecation::since(time("2026-01-02T00:00:00Z"));
        assert!(
            since
                .clone()
                .with_sunset(time("2026-01-01T00:00:00Z"))
                .is_err()
        );
        assert!(since.with_sunset(time("2026-01-02T00:00:00Z")).is_ok());
    }

    #[test]
    fn a_link_can_not_end_its_own_brackets() {
        let since = Deprecation::since(time("2026-01-02T00:00:00Z"));
        for bad in [
            "",
            "docs.example.com",
            "javascript:alert(1)",
            "https://a.example/>; rel=\"x\"",
            "https://a.example/a b",
            "https://a.example/\r\nX: y",
            "https://a.example/é",
        ] {
            assert!(since.clone().with_link(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_beta_ga_and_deprecated_endpoints_are_open() {
        let open: Vec<_> = Stage::ALL.into_iter().filter(|s| s.is_open()).collect();
        assert_eq!(open, [Stage::Beta, Stage::Ga, Stage::Deprecated]);
    }
}
