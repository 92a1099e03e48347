//! gRPC calls: recorded when their answer is over.

use super::*;

#[tokio::test]
async fn a_grpc_fault_is_seen_behind_its_status_200() {
    let (sink, _writer, log) = memory_log().await;
    for (code, kind) in [
        ("13", "failed"),
        ("0", "allowed"),
        ("5", "allowed"),
        ("x", "allowed"),
    ] {
        let handler = service_fn(move |_| {
            let response = Response::builder().header("grpc-status", code);
            ready(Ok::<_, Infallible>(
                response.body(Full::<Bytes>::default()).unwrap(),
            ))
        });
        let layer = AuditLayer::new(sink.clone());
        let mut sent = request();
        let grpc = "application/grpc".parse().unwrap();
        sent.headers_mut().insert("content-type", grpc);
        ServiceBuilder::new()
            .layer(layer)
            .service(handler)
            .oneshot(sent)
            .await
            .unwrap();
        let line = lines(&sink, &log).await.pop().unwrap();
        assert_eq!(
            line["type"],
            format!("external_api.request.{kind}"),
            "{code}"
        );
    }
}

type Stream = UnsyncBoxBody<Bytes, std::io::Error>;

/// A body that yields these frames, and then breaks if it says so.
fn stream(frames: Vec<http_body::Frame<Bytes>>, breaks: bool) -> Stream {
    let mut frames: std::collections::VecDeque<_> = frames.into();
    let next = move |_: &mut std::task::Context<'_>| {
        let broken = || breaks.then(|| Err(std::io::Error::other("broken")));
        Poll::Ready(frames.pop_front().map(Ok).or_else(broken))
    };
    http_body_util::StreamBody::new(futures_stream::PollFn(next)).boxed_unsync()
}

/// The one stream that these tests need.
mod futures_stream {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    pub(super) struct PollFn<F>(pub(super) F);

    impl<T, F: FnMut(&mut Context<'_>) -> Poll<Option<T>> + Unpin> futures_core::Stream for PollFn<F> {
        type Item = T;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
            (self.0)(cx)
        }
    }
}

fn message(text: &'static str) -> http_body::Frame<Bytes> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    bytes.extend(text.bytes());
    http_body::Frame::data(bytes.into())
}

fn trailers(status: &'static str) -> http_body::Frame<Bytes> {
    let mut fields = http::HeaderMap::new();
    fields.insert("grpc-status", status.parse().unwrap());
    http_body::Frame::trailers(fields)
}

#[tokio::test]
async fn a_call_is_recorded_when_its_answer_is_over() {
    let (sink, _writer, log) = memory_log().await;
    let answers = [
        (
            vec![message("a"), message("b"), trailers("0")],
            false,
            "allowed",
            2,
        ),
        (vec![message("a"), trailers("13")], false, "failed", 1),
        (vec![message("a"), trailers("5")], false, "allowed", 1),
        (vec![message("a")], true, "failed", 1),
    ];
    for (number, (frames, breaks, kind, sent)) in answers.into_iter().enumerate() {
        let code = frames.last().unwrap().trailers_ref();
        let code = code.map(|fields| fields["grpc-status"].to_str().unwrap().to_owned());
        let answer = stream(frames, breaks);
        let answer = std::sync::Arc::new(std::sync::Mutex::new(Some(answer)));
        let handler = service_fn(move |request: Request<Stream>| {
            let answer = answer.lock().unwrap().take().unwrap();
            async {
                request.into_body().collect().await.unwrap();
                Ok::<_, Infallible>(Response::new(answer))
            }
        });
        let service = ServiceBuilder::new()
            .layer(AuditLayer::new(sink.clone()))
            .service(handler);
        let sent_body = stream(vec![message("1"), message("22"), message("")], false);
        let call = Request::post("/pay.v1.Payments/Create")
            .header("content-type", "application/grpc")
            .body(sent_body)
            .unwrap();
        let response = service.oneshot(call).await.unwrap();
        let before = lines(&sink, &log).await.len();
        let _ = response.into_body().collect().await;
        let lines = lines(&sink, &log).await;
        assert_eq!(
            lines.len(),
            before + 1,
            "not at the head of answer {number}"
        );
        let line = lines.last().unwrap();
        assert_eq!(
            line["type"],
            format!("external_api.request.{kind}"),
            "{number}"
        );
        assert_eq!(line["status"], 200);
        assert_eq!(line["metadata"]["messages_received"], 3);
        assert_eq!(line["metadata"]["messages_sent"], sent);
        let code = code
            .filter(|code| code != "0")
            .map(|code| code.parse::<u8>().unwrap());
        assert_eq!(
            line["metadata"].get("grpc_status"),
            code.map(Into::into).as_ref()
        );
        let cause = breaks.then(|| "answer_broke_off".into());
        assert_eq!(line["metadata"].get("cause"), cause.as_ref());
    }
}

#[tokio::test]
async fn a_caller_that_leaves_in_the_middle_of_a_stream_is_told_once() {
    let (sink, _writer, log) = memory_log().await;
    let handler = service_fn(|_: Request<Stream>| {
        let answer = stream(vec![message("a"), message("b"), trailers("0")], false);
        ready(Ok::<_, Infallible>(Response::new(answer)))
    });
    let service = ServiceBuilder::new()
        .layer(AuditLayer::new(sink.clone()))
        .service(handler);
    let call = Request::post("/pay.v1.Payments/Create")
        .header("content-type", "application/grpc")
        .body(stream(Vec::new(), false))
        .unwrap();
    let mut body = service.oneshot(call).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let line = lines(&sink, &log).await.pop().unwrap();
    assert_eq!(line["reason"], "client_disconnected");
    assert_eq!(line["type"], "external_api.request.failed");
    assert_eq!(line["status"], 200);
    assert_eq!(line["metadata"]["messages_sent"], 1);
}

fn web_text_call(body: Stream) -> Request<Stream> {
    Request::post("/pay.v1.Payments/Create")
        .header("content-type", "application/grpc-web-text")
        .body(body)
        .unwrap()
}

#[tokio::test]
async fn a_call_that_is_not_the_base64_it_says_breaks_off() {
    let (sink, _writer, log) = memory_log().await;
    let handler = service_fn(|request: Request<Stream>| async {
        let mut body = request.into_body();
        let passed = tokio::time::timeout(std::time::Duration::ZERO, body.frame()).await;
        assert!(passed.is_err(), "nothing passes and nothing ends");
        Ok::<_, Infallible>(Response::new(stream(vec![trailers("13")], false)))
    });
    let service = ServiceBuilder::new()
        .layer(AuditLayer::new(sink.clone()))
        .service(handler);
    let call = web_text_call(stream(vec![message("raw"), message("raw")], false));
    let response = service.oneshot(call).await.unwrap();
    let _ = response.into_body().collect().await;
    let line = lines(&sink, &log).await.pop().unwrap();
    assert_eq!(line["reason"], "malformed_request");
    assert_eq!(line["decision"], "denied");
}

/// In a frame that is known to be the last, and where the end comes by itself.
#[tokio::test]
async fn a_call_whose_base64_is_cut_off_is_malformed() {
    let (sink, _writer, log) = memory_log().await;
    let (cut, more) = (Bytes::from("AAAAAAA=\n"), Bytes::new());
    let whole = http_body_util::Full::new(cut.clone());
    let whole = whole
        .map_err(|never: Infallible| match never {})
        .boxed_unsync();
    let pieces = [cut, more].map(http_body::Frame::data);
    for (body, received) in [(whole, 0), (stream(pieces.into(), false), 1)] {
        let handler = service_fn(|request: Request<Stream>| async {
            let body = request.into_body().collect();
            let read = tokio::time::timeout(std::time::Duration::ZERO, body).await;
            assert!(read.is_err(), "nothing ends");
            Ok::<_, Infallible>(Response::new(stream(vec![trailers("13")], false)))
        });
        let service = ServiceBuilder::new()
            .layer(AuditLayer::new(sink.clone()))
            .service(handler);
        let response = service.oneshot(web_text_call(body)).await.unwrap();
        let _ = response.into_body().collect().await;
        let line = lines(&sink, &log).await.pop().unwrap();
        assert_eq!(line["reason"], "malformed_request");
        let counted = line["metadata"]["messages_received"].as_u64();
        assert_eq!(counted.unwrap_or(0), received);
    }
}

/// Else it goes on sending until the log is closed, and its messages are handled with no event to come.
#[tokio::test]
async fn a_call_that_goes_on_sending_ends_with_the_log_and_has_its_event() {
    let (sink, writer, log) = memory_log().await;
    let handler = service_fn(|request: Request<Stream>| async {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let service = ServiceBuilder::new()
        .layer(AuditLayer::new(sink.clone()))
        .service(handler);
    let sent = stream(vec![message("a"), message("b")], false);
    let call = Request::post("/pay.v1.Payments/Create")
        .header("content-type", "application/grpc")
        .body(sent)
        .unwrap();
    let mut body = service.oneshot(call).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    let shutdown = tokio::spawn(writer.shutdown(std::time::Duration::from_secs(20)));
    until("the gate to close", || !sink.health().accepting).await;
    let more = tokio::time::timeout(std::time::Duration::ZERO, body.frame()).await;
    assert!(more.is_err(), "nothing passes and nothing ends");
    drop(body);
    assert_eq!(shutdown.await.unwrap().lost, 0);
    let line = parse(&log.lines()).pop().unwrap();
    assert_eq!(line["reason"], "audit_unavailable");
    assert_eq!(line["metadata"]["broken_off"], true);
    assert_eq!(line["metadata"]["messages_received"], 1);
}
