//! Calls and their answers.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use countersign_core::PeerAddr;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TE};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Full;
use serde_json::Value;
use tower_service::Service;

use crate::grpc::Codec;
use crate::outcome::{Outcome, plain};
use crate::read::Bounds;
use crate::secrets::LONG;

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) header: Option<(HeaderName, String)>,
    pub(crate) body: Option<Bytes>,
    /// Of a gRPC call.
    pub(crate) codec: Option<Codec>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    /// The trailers too.
    headers: HeaderMap,
    body: Bytes,
    is_whole: bool,
    /// Of a gRPC call.
    outcome: Option<Outcome>,
}

impl Call {
    pub(crate) fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            header: None,
            body: None,
            codec: None,
        }
    }

    /// A call of a gRPC method.
    pub(crate) fn grpc(path: &str, frames: Bytes, codec: Codec) -> Self {
        Self {
            body: Some(frames),
            codec: Some(codec),
            ..Self::new(Method::POST, path)
        }
    }

    /// A call of the same method with the messages of both. `None` where a call has one message.
    pub(crate) fn then(&self, other: &Self) -> Option<Self> {
        let codec = self.codec.as_ref().filter(|codec| codec.takes_many())?;
        let both = [self.body.as_deref()?, other.body.as_deref()?].concat();
        Some(Self::grpc(&self.target, both.into(), codec.clone()))
    }

    pub(crate) fn with_body(mut self, body: Option<&Value>) -> Self {
        self.body = body.map(|body| Bytes::from(body.to_string()));
        self
    }

    /// How it is told of.
    pub(crate) fn name(&self) -> &str {
        let codec = self.codec.as_ref();
        codec.map_or(self.method.as_str(), Codec::name)
    }

    /// Sends it with `key`. A caller that is told to come back later does so, a few times.
    pub(crate) async fn send<S, R>(
        &self,
        service: &S,
        key: &str,
        bounds: Bounds,
    ) -> Result<Answer, String>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        R: Body,
        R::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        for _ in 0..PATIENCE {
            let answer = self.once(service, key, bounds).await?;
            match answer.retry_after() {
                Some(after) => tokio::time::sleep(after).await,
                None => return Ok(answer),
            }
        }
        self.once(service, key, bounds).await
    }

    async fn once<S, R>(&self, service: &S, key: &str, bounds: Bounds) -> Result<Answer, String>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        R: Body,
        R::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let request = self.request(key).map_err(|error| error.to_string())?;
        let read = bounds.read(service, request).await?;
        let (status, mut headers) = (read.head.status, read.head.headers);
        headers.extend(read.trailers);
        let outcome = self.codec.as_ref();
        let outcome =
            outcome.map(|codec| Outcome::read(codec, status, &headers, &read.body, read.is_whole));
        Ok(Answer {
            status,
            headers,
            body: read.body,
            is_whole: read.is_whole,
            outcome,
        })
    }

    fn request(&self, key: &str) -> http::Result<Request<Full<Bytes>>> {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
        let mut request = Request::builder()
            .method(&self.method)
            .uri(&self.target)
            .header(HOST, "localhost")
            .header("x-api-key", key)
            .extension(PeerAddr(peer));
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        }
        if self.codec.is_some() {
            request = request
                .version(Version::HTTP_2)
                .header(TE, "trailers")
                .header(CONTENT_TYPE, "application/grpc");
        } else if self.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::from(self.body.clone().unwrap_or_default()))
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Option<Value> {
        match &self.outcome {
            Some(outcome) => outcome.messages.clone(),
            None => serde_json::from_slice(&self.body).ok(),
        }
    }

    /// Whether it was read to its end.
    pub(crate) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(crate) fn is_success(&self) -> bool {
        let outcome = self.outcome.as_ref();
        outcome.map_or(self.status.is_success(), Outcome::is_success)
    }

    /// Whether nothing was decided about the call: the service failed, or had no time for it.
    pub(crate) fn is_failure(&self) -> bool {
        match &self.outcome {
            Some(outcome) => outcome.is_failure(),
            None => self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// Its status in words.
    pub(crate) fn told(&self) -> String {
        let outcome = self.outcome.as_ref();
        outcome.map_or_else(|| self.status.to_string(), ToString::to_string)
    }

    /// The answer's text and the values of its fields, to search them.
    pub(crate) fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.headers.iter().map(|(n, v)| plain(n, v)).collect();
        texts.push(String::from_utf8_lossy(&self.body).into_owned());
        texts
    }

    /// The answer without what differs from call to call, and with `sent` blotted out: two ids
    /// that are nobody's must leave the same.
    pub(crate) fn outline(&self, sent: &[String]) -> String {
        let blot = self.blot(sent);
        let body = match &self.outcome {
            Some(outcome) => outcome.messages.as_ref().map(Value::to_string),
            None => None,
        };
        let body = body.unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned());
        format!("{}\n{}", self.head(sent), blot(&body))
    }

    /// As [`Answer::outline`], without the body or the messages.
    pub(crate) fn head(&self, sent: &[String]) -> String {
        let blot = self.blot(sent);
        let mut fields: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| !VOLATILE.contains(&name.as_str()))
            // A length may look like a short id.
            .map(|(name, value)| match *name == CONTENT_LENGTH {
                true => format!("{name}: {}", plain(name, value)),
                false => format!("{name}: {}", blot(&plain(name, value))),
            })
            .collect();
        fields.sort();
        format!("{}\n{}", self.told(), fields.join("\n"))
    }

    fn blot<'a>(&'a self, sent: &'a [String]) -> impl Fn(&str) -> String + 'a {
        let id = self.headers.get("x-request-id");
        let id = id.and_then(|id| id.to_str().ok()).unwrap_or("\0");
        move |text| {
            let text = text.replace(id, "…");
            sent.iter()
                .filter(|sent| !sent.is_empty())
                .fold(text, |text, sent| without(&text, sent))
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        let is_limited = match &self.outcome {
            Some(outcome) => outcome.is_limited(),
            None => self.status == StatusCode::TOO_MANY_REQUESTS,
        };
        let after = self.headers.get(RETRY_AFTER).filter(|_| is_limited)?;
        let seconds = after.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
    }
}

/// The text with `sent` blotted out; a short one only where it stands alone: 2 is within 200 as well.
fn without(text: &str, sent: &str) -> String {
    let (mut out, mut rest, mut before) = (String::with_capacity(text.len()), text, None);
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    while let Some(at) = rest.find(sent) {
        let (head, tail) = (&rest[..at], &rest[at + sent.len()..]);
        let before_it = head.chars().next_back().or(before);
        let is_alone = !is_word(before_it) && !is_word(tail.chars().next());
        out.push_str(head);
        out.push_str(if sent.len() >= LONG || is_alone {
            "…"
        } else {
            sent
        });
        before = sent.chars().next_back();
        rest = tail;
    }
    out + rest
}

const PATIENCE: usize = 5;
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Fields that two answers to the same call may differ in.
const VOLATILE: [&str; 6] = [
    "x-request-id",
    "date",
    "ratelimit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "server-timing",
];
