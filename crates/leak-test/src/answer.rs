//! Calls and their answers.

use std::error::Error;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use countersign_core::PeerAddr;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower_service::Service;

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) header: Option<(HeaderName, String)>,
    pub(crate) body: Option<Bytes>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    pub(crate) fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            header: None,
            body: None,
        }
    }

    pub(crate) fn with_body(mut self, body: Option<&Value>) -> Self {
        self.body = body.map(|body| Bytes::from(body.to_string()));
        self
    }

    /// Sends it with `key`. A caller that is told to come back later does so, a few times.
    pub(crate) async fn send<S, R>(&self, service: &S, key: &str) -> Result<Answer, String>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        R: Body,
        R::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        for _ in 0..PATIENCE {
            let answer = self.once(service, key).await?;
            match answer.retry_after() {
                Some(after) => tokio::time::sleep(after).await,
                None => return Ok(answer),
            }
        }
        self.once(service, key).await
    }

    async fn once<S, R>(&self, service: &S, key: &str) -> Result<Answer, String>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        R: Body,
        R::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let request = self.request(key).map_err(|error| error.to_string())?;
        let mut service = service.clone();
        let told = |error: S::Error| error.into().to_string();
        poll_fn(|cx| service.poll_ready(cx)).await.map_err(told)?;
        let response = service.call(request).await.map_err(told)?;
        let (parts, body) = response.into_parts();
        let collected = body.collect().await;
        let body = collected.map_err(|error| error.into().to_string())?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
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
        if self.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::from(self.body.clone().unwrap_or_default()))
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(crate) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// Whether nothing was decided about the call: the service failed, or had no time for it.
    pub(crate) fn is_failure(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// The answer's text and the values of its fields, to search them.
    pub(crate) fn texts(&self) -> Vec<String> {
        let values = self.headers.values();
        let mut texts: Vec<String> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        texts.push(String::from_utf8_lossy(&self.body).into_owned());
        texts
    }

    /// The answer without what differs from call to call, and with `sent` blotted out: two ids
    /// that are nobody's must leave the same.
    pub(crate) fn outline(&self, sent: &[String]) -> String {
        let id = self.headers.get("x-request-id");
        let id = id.and_then(|id| id.to_str().ok()).unwrap_or("\0");
        let blot = |text: &str| {
            let text = text.replace(id, "…");
            sent.iter()
                .filter(|sent| !sent.is_empty())
                .fold(text, |text, sent| text.replace(sent.as_str(), "…"))
        };
        let mut fields: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| !VOLATILE.contains(&name.as_str()))
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                format!("{name}: {}", blot(&value))
            })
            .collect();
        fields.sort();
        let body = String::from_utf8_lossy(&self.body);
        format!("{}\n{}\n{}", self.status, fields.join("\n"), blot(&body))
    }

    fn retry_after(&self) -> Option<Duration> {
        if self.status != StatusCode::TOO_MANY_REQUESTS {
            return None;
        }
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
    }
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
