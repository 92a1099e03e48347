//! Reading an answer, for so long and no more: some never end, and some never begin.

use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower_service::Service;

/// How much of one answer is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    pub(crate) bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(5),
            bytes: 8 * 1024 * 1024,
        }
    }
}

/// What was read of an answer.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) head: Parts,
    pub(crate) trailers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether it came to its end.
    pub(crate) is_whole: bool,
}

impl Bounds {
    /// Calls the service and reads its answer, to the end or to one of the bounds.
    ///
    /// # Errors
    /// When the service or its body failed, or no answer began in time.
    pub(crate) async fn read<S, R>(
        self,
        service: &S,
        request: Request<Full<Bytes>>,
    ) -> Result<Reading, String>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        R: Body,
        R::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut begun = Begun::default();
        let whole = begun.fill(service.clone(), request, self.bytes);
        let is_whole = match tokio::time::timeout(self.time, whole).await {
            Ok(read) => read.map_err(|error| error.to_string())?,
            Err(_) => false,
        };
        let none = || format!("gave no answer within {:?}", self.time);
        Ok(Reading {
            head: begun.head.ok_or_else(none)?,
            trailers: begun.trailers,
            body: begun.body.freeze(),
            is_whole,
        })
    }
}

/// What there is of an answer so far: it stays when the time for the rest is over.
#[derive(Debug, Default)]
struct Begun {
    head: Option<Parts>,
    trailers: HeaderMap,
    body: BytesMut,
}

impl Begun {
    /// Reads at most `most` bytes of a body, and tells whether that was all.
    async fn fill<S, R>(
        &mut self,
        mut service: S,
        request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<bool, Box<dyn Error + Send + Sync>>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>>,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        R: Body,
        R::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        poll_fn(|cx| service.poll_ready(cx))
            .await
            .map_err(Into::into)?;
        let (head, body) = service
            .call(request)
            .await
            .map_err(Into::into)?
            .into_parts();
        self.head = Some(head);
        let mut body = pin!(body);
        while let Some(frame) = body.frame().await {
            match frame.map_err(Into::into)?.into_data() {
                Ok(data) => {
                    let room = most - self.body.len();
                    let is_more = data.remaining() > room;
                    self.body.put(data.take(room));
                    if is_more {
                        return Ok(false);
                    }
                }
                Err(frame) => self
                    .trailers
                    .extend(frame.into_trailers().unwrap_or_default()),
            }
            // A body that always has a frame would keep its time from being looked at.
            tokio::task::consume_budget().await;
        }
        Ok(true)
    }
}
