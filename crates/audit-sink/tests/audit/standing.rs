//! Calls whose caller falls while they are under way.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use countersign_audit_sink::*;
use countersign_core::{AccessContext, CallerStanding, Edge, ManualClock, Reason, Standing};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::common::{lines, memory_log};

/// Stands until it is told otherwise, and may have to think about it.
#[derive(Debug, Default)]
struct Key {
    has_fallen: AtomicBool,
    thinks: AtomicBool,
    asked: AtomicUsize,
}

impl CallerStanding for Key {
    fn check(&self, _: &AccessContext) -> Standing {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let fallen = self.has_fallen.load(Ordering::SeqCst);
        let denial = || Reason::RevokedApiKey.into();
        match (self.thinks.load(Ordering::SeqCst), fallen) {
            (false, false) => Standing::Good,
            (false, true) => Standing::Fallen(denial()),
            (true, fallen) => Standing::Ask(Box::pin(async move {
                tokio::task::yield_now().await;
                if fallen { Err(denial()) } else { Ok(()) }
            })),
        }
    }
}

type Stream = UnsyncBoxBody<Bytes, Infallible>;

/// Yields these frames whenever it is asked.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn stream(messages: usize) -> Stream {
    let message = || Frame::data(Bytes::from_static(b"\0\0\0\0\x01m"));
    let mut frames: VecDeque<_> = std::iter::repeat_with(message).take(messages).collect();
    let mut fields = http::HeaderMap::new();
    fields.insert("grpc-status", "0".parse().unwrap());
    frames.push_back(Frame::trailers(fields));
    Frames(frames).boxed_unsync()
}

struct Call {
    key: Arc<Key>,
    clock: ManualClock,
    log: MemoryLog,
    sink: AuditSink,
    _writer: AuditWriter,
}

impl Call {
    async fn new() -> Self {
        let (sink, writer, log) = memory_log().await;
        Self {
            key: Arc::default(),
            clock: ManualClock::default(),
            log,
            sink,
            _writer: writer,
        }
    }

    /// What a handler answers that sends five messages; its request goes to `received`.
    async fn answer(&self, content_type: &str, received: &Arc<Mutex<Option<Stream>>>) -> Stream {
        self.answer_to(content_type, stream(5), received).await
    }

    /// The same to a request with this body.
    async fn answer_to(
        &self,
        content_type: &str,
        body: Stream,
        received: &Arc<Mutex<Option<Stream>>>,
    ) -> Stream {
        let (key, received) = (Arc::clone(&self.key), Arc::clone(received));
        let handler = service_fn(move |request: Request<Stream>| {
            let context = AccessContext::of(&request).unwrap();
            context.stand_on(Arc::clone(&key) as Arc<dyn CallerStanding>);
            *received.lock().unwrap() = Some(request.into_body());
            ready(Ok::<_, Infallible>(Response::new(stream(5))))
        });
        let edge = Edge::builder().clock(self.clock.clone()).build();
        let service = ServiceBuilder::new()
            .layer(AuditLayer::new(self.sink.clone()).with_edge(edge))
            .service(handler);
        let call = Request::post("/pay.v1.Payments/Watch")
            .header("content-type", content_type)
            .body(body)
            .unwrap();
        service.oneshot(call).await.unwrap().into_body()
    }

    async fn event(&self) -> serde_json::Value {
        lines(&self.sink, &self.log).await.pop().unwrap()
    }
}

#[tokio::test]
async fn an_answer_ends_with_the_refusal_once_its_caller_has_fallen() {
    for thinks in [false, true] {
        for content_type in ["application/grpc", "application/grpc-web"] {
            let call = Call::new().await;
            call.key.thinks.store(thinks, Ordering::SeqCst);
            let mut answer = call.answer(content_type, &Arc::default()).await;
            let mut sent = 0;
            for _ in 0..2 {
                call.clock.advance(Duration::from_millis(250));
                assert!(answer.frame().await.unwrap().unwrap().is_data());
                sent += 1;
            }
            call.key.has_fallen.store(true, Ordering::SeqCst);
            // Somebody was asked a moment ago.
            assert!(answer.frame().await.unwrap().unwrap().is_data());
            call.clock.advance(Duration::from_millis(250));
            let last = answer.frame().await.unwrap().unwrap();
            match last.trailers_ref() {
                Some(trailers) => assert_eq!(trailers["grpc-status"], "16"),
                None => assert_eq!(last.data_ref().unwrap()[0], 0x80),
            }
            assert!(answer.frame().await.is_none(), "nothing comes after it");
            assert_eq!(call.key.asked.load(Ordering::SeqCst), 3);
            let event = call.event().await;
            assert_eq!(event["type"], "external_api.request.denied_authentication");
            assert_eq!(event["reason"], "revoked_api_key");
            assert_eq!(event["metadata"]["messages_sent"], sent + 1);
        }
    }
}

#[tokio::test]
async fn a_request_breaks_off_once_its_caller_has_fallen() {
    for thinks in [false, true] {
        let call = Call::new().await;
        call.key.thinks.store(thinks, Ordering::SeqCst);
        let received = Arc::default();
        let answer = call.answer("application/grpc", &received).await;
        let mut request = received.lock().unwrap().take().unwrap();
        call.clock.advance(Duration::from_millis(250));
        assert!(request.frame().await.unwrap().unwrap().is_data());
        call.key.has_fallen.store(true, Ordering::SeqCst);
        call.clock.advance(Duration::from_millis(250));
        // This body has no errors: it neither goes on nor looks as if it had ended.
        let next = tokio::time::timeout(Duration::from_millis(20), request.frame());
        assert!(next.await.is_err());
        assert!(!request.is_end_stream());
        drop((request, answer));
        let event = call.event().await;
        assert_eq!(event["reason"], "revoked_api_key");
        assert_eq!(event["metadata"]["messages_received"], 1);
    }
}

/// Three pieces of a body, and its end, which no frame tells of.
fn pieces() -> Stream {
    let piece = || Frame::data(Bytes::from_static(b"\0\0\0\0\x01m"));
    Frames(std::iter::repeat_with(piece).take(3).collect()).boxed_unsync()
}

#[tokio::test]
async fn no_piece_and_no_end_of_a_body_passes_once_its_caller_has_fallen() {
    for (content_type, whole) in [
        ("application/json", 3),
        ("text/plain", 1),
        ("application/grpc-web", 3),
    ] {
        let call = Call::new().await;
        let received = Arc::default();
        let answer = call.answer_to(content_type, pieces(), &received).await;
        let mut request = received.lock().unwrap().take().unwrap();
        for _ in 0..whole {
            call.clock.advance(Duration::from_millis(250));
            assert!(request.frame().await.unwrap().unwrap().is_data());
        }
        call.key.has_fallen.store(true, Ordering::SeqCst);
        call.clock.advance(Duration::from_millis(250));
        let next = tokio::time::timeout(Duration::from_millis(20), request.frame());
        assert!(next.await.is_err(), "{content_type}");
        assert!(!request.is_end_stream());
        drop((request, answer));
    }
}

#[tokio::test]
async fn a_body_that_its_caller_survives_ends_as_it_would() {
    let call = Call::new().await;
    call.key.thinks.store(true, Ordering::SeqCst);
    let received = Arc::default();
    let answer = call.answer_to("text/plain", pieces(), &received);
    let _answer = answer.await;
    let request = received.lock().unwrap().take().unwrap();
    call.clock.advance(Duration::from_secs(1));
    let whole = request.collect().await.unwrap().to_bytes();
    assert_eq!(whole.len(), 18);
}

#[tokio::test]
async fn a_caller_that_stands_is_asked_for_now_and_then() {
    let call = Call::new().await;
    let mut answer = call.answer("application/grpc", &Arc::default()).await;
    call.clock.advance(Duration::from_millis(249));
    while answer.frame().await.is_some() {}
    assert_eq!(call.key.asked.load(Ordering::SeqCst), 0);
    assert_eq!(call.event().await["type"], "external_api.request.allowed");
}
