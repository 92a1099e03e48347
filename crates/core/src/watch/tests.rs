use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request};

use super::*;
use crate::{Edge, Reason};

type Seen = Arc<Mutex<Vec<String>>>;

struct Notes(Seen);

impl Notes {
    fn new() -> (Self, Seen) {
        let seen = Seen::default();
        (Self(Arc::clone(&seen)), seen)
    }

    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

impl Watcher for Notes {
    fn poll_frame(&mut self, frame: &mut Frame<Bytes>, _: &mut Context<'_>) -> Poll<Flow> {
        self.note(if frame.is_data() { "data" } else { "trailers" });
        Poll::Ready(Flow::On)
    }

    fn unready(&mut self) -> Flow {
        Flow::On
    }

    fn ended(&mut self, whole: bool) {
        self.note(if whole { "whole" } else { "broken" });
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        self.note("gone");
    }
}

/// Yields these frames, each when it is asked.
struct Frames<E>(VecDeque<Result<Frame<Bytes>, E>>);

impl<E: Unpin> Body for Frames<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn frames<E: Send + Sync + Unpin + 'static>(
    frames: Vec<Result<Frame<Bytes>, E>>,
) -> BoxBody<Bytes, E> {
    Frames(frames.into()).boxed()
}

fn drain<E: 'static>(mut body: BoxBody<Bytes, E>) {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Some(Ok(_))) = Pin::new(&mut body).poll_frame(&mut cx) {}
}

#[test]
fn every_frame_and_the_end_are_seen_once() {
    let (watcher, seen) = Notes::new();
    let body = frames::<Infallible>(vec![
        Ok(Frame::data(Bytes::from_static(b"a"))),
        Ok(Frame::trailers(HeaderMap::new())),
    ]);
    drain(body.watch(watcher));
    assert_eq!(*seen.lock().unwrap(), ["data", "trailers", "whole", "gone"]);
}

#[test]
fn a_body_that_breaks_and_one_that_is_dropped_are_told_apart() {
    let (watcher, seen) = Notes::new();
    drain(frames(vec![Ok(Frame::data(Bytes::new())), Err("broken")]).watch(watcher));
    assert_eq!(*seen.lock().unwrap(), ["data", "broken", "gone"]);
    let (watcher, seen) = Notes::new();
    drop(frames::<Infallible>(vec![Ok(Frame::data(Bytes::new()))]).watch(watcher));
    assert_eq!(*seen.lock().unwrap(), ["gone"]);
}

/// A body that goes on after its end.
struct Endless(&'static str);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match self.0 {
            "trailers" => Frame::trailers(HeaderMap::new()),
            _ => Frame::data(Bytes::from_static(b"a")),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == "over"
    }
}

#[test]
fn nothing_passes_that_nobody_watches_any_more() {
    for (kind, frames) in [("over", 0), ("trailers", 1)] {
        let (watcher, seen) = Notes::new();
        let mut body = BoxBody::new(Endless(kind)).watch(watcher);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for number in 0..3 {
            let polled = Pin::new(&mut body).poll_frame(&mut cx);
            let passed = matches!(polled, Poll::Ready(Some(Ok(_))));
            assert_eq!(passed, number < frames, "{kind}");
        }
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert_eq!(seen.lock().unwrap().len(), frames + 2);
    }
}

#[test]
fn a_body_in_one_piece_is_seen_at_once() {
    for (body, expected) in [
        (Full::default(), &["whole", "gone"][..]),
        (Full::from("x"), &["data", "whole", "gone"]),
    ] {
        let (watcher, seen) = Notes::new();
        let _ = WatchBody::watch(body, watcher);
        assert_eq!(*seen.lock().unwrap(), expected);
    }
}

/// Lets this many frames pass, each after it was asked twice.
struct Count(u32, AccessContext, bool);

impl Count {
    fn new(count: u32) -> (Self, AccessContext) {
        let mut request = Request::new(());
        let context = Edge::default().begin(&mut request);
        (Self(count, context.clone(), false), context)
    }
}

impl Watcher for Count {
    fn poll_frame(&mut self, _: &mut Frame<Bytes>, cx: &mut Context<'_>) -> Poll<Flow> {
        self.2 = !self.2;
        if self.2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(left) = self.0.checked_sub(1) else {
            return Poll::Ready(Flow::break_off(&self.1, Reason::LimitKey));
        };
        self.0 = left;
        Poll::Ready(Flow::On)
    }

    fn unready(&mut self) -> Flow {
        match self.0 {
            0 => Flow::break_off(&self.1, Reason::LimitKey),
            _ => Flow::On,
        }
    }
}

fn poll<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Poll<Option<Result<Bytes, B::Error>>> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let polled = Pin::new(body).poll_frame(&mut cx);
    polled.map_ok(|frame| frame.into_data().unwrap())
}

fn boxed(data: &'static str) -> BoxBody<Bytes, Infallible> {
    Full::from(data).boxed()
}

#[test]
fn a_frame_waits_for_its_decision_and_passes_once() {
    let (watcher, context) = Count::new(1);
    let mut body = boxed("a").watch(watcher);
    assert!(poll(&mut body).is_pending());
    assert!(!body.is_end_stream(), "the frame is still to come");
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(data))) if data == "a"));
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
    assert!(context.denial().is_none());
}

#[test]
fn a_body_that_is_broken_off_never_looks_as_if_it_had_ended() {
    let (watcher, context) = Count::new(0);
    let mut body = boxed("a").watch(watcher);
    for _ in 0..4 {
        assert!(poll(&mut body).is_pending());
    }
    assert!(!body.is_end_stream());
    assert_eq!(context.denial().unwrap().reason(), Reason::LimitKey);
}

/// Lets the first byte of a frame pass.
struct Cuts(AccessContext);

impl Watcher for Cuts {
    fn poll_frame(&mut self, frame: &mut Frame<Bytes>, _: &mut Context<'_>) -> Poll<Flow> {
        frame.data_mut().unwrap().truncate(1);
        Poll::Ready(Flow::break_off_next(&self.0, Reason::LimitKey))
    }

    fn unready(&mut self) -> Flow {
        Flow::On
    }
}

#[test]
fn what_is_left_of_a_frame_passes_before_the_body_breaks_off() {
    let (_, context) = Count::new(0);
    let mut body = boxed("ab").watch(Cuts(context.clone()));
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(data))) if data == "a"));
    assert!(context.denial().is_none(), "nobody has asked for more");
    for _ in 0..3 {
        assert!(!body.is_end_stream());
        assert!(poll(&mut body).is_pending());
        assert!(context.is_broken_off());
    }
    let (_, context) = Count::new(0);
    let whole = WatchBody::watch(Full::<Bytes>::from("ab"), Cuts(context.clone()));
    assert_eq!(whole.size_hint().exact(), Some(0));
    assert!(context.is_broken_off());
}

#[cfg(feature = "tonic")]
#[test]
fn a_tonic_body_fails_with_the_refusal() {
    let body = tonic::body::Body::new(Full::<Bytes>::from("a"));
    let mut body = body.watch(Count::new(0).0);
    assert!(poll(&mut body).is_pending());
    let Poll::Ready(Some(Err(status))) = poll(&mut body) else {
        panic!("no error");
    };
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
}

#[test]
fn a_body_in_one_piece_is_whole_or_empty_and_waits_for_nobody() {
    for ready in [false, true] {
        for count in [0, 1] {
            let (mut watcher, context) = Count::new(count);
            watcher.2 = ready;
            let body = WatchBody::watch(Full::<Bytes>::from("a"), watcher);
            assert_eq!(body.size_hint().exact(), Some(count.into()));
            assert_eq!(context.denial().is_none(), count == 1);
        }
    }
}

/// Lets frames pass, and has to be asked for the end twice before it lets that pass, or not.
struct AtTheEnd {
    asked: usize,
    lets: Result<(), AccessContext>,
}

impl Watcher for AtTheEnd {
    fn poll_frame(&mut self, _: &mut Frame<Bytes>, _: &mut Context<'_>) -> Poll<Flow> {
        Poll::Ready(Flow::On)
    }

    fn unready(&mut self) -> Flow {
        Flow::On
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<Flow> {
        self.asked += 1;
        match (&self.lets, self.asked) {
            (_, 1) => Poll::Pending,
            (Ok(()), _) => Poll::Ready(Flow::On),
            (Err(context), _) => {
                Poll::Ready(Flow::break_off(context, Denial::new(Reason::RevokedApiKey)))
            }
        }
    }
}

/// Finds fault with whatever is the last frame.
struct AtTheLast(AccessContext);

impl Watcher for AtTheLast {
    fn poll_frame(&mut self, _: &mut Frame<Bytes>, _: &mut Context<'_>) -> Poll<Flow> {
        Poll::Ready(Flow::On)
    }

    fn last_frame(&mut self) -> Flow {
        Flow::break_off(&self.0, Reason::MalformedRequest)
    }

    fn unready(&mut self) -> Flow {
        Flow::On
    }
}

#[test]
fn a_frame_that_is_known_to_be_the_last_is_put_to_the_watcher_as_that() {
    let (_, context) = Count::new(0);
    let mut body = boxed("a").watch(AtTheLast(context.clone()));
    assert!(poll(&mut body).is_pending());
    assert!(context.is_broken_off() && !body.is_end_stream());
    let (_, context) = Count::new(0);
    let data = Frame::data(Bytes::from_static(b"a"));
    let mut body = frames::<Infallible>(vec![Ok(data)]).watch(AtTheLast(context.clone()));
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(data))) if data == "a"));
    assert!(!context.is_broken_off(), "more may follow");
    let (_, context) = Count::new(0);
    let whole = WatchBody::watch(Full::<Bytes>::from("a"), AtTheLast(context.clone()));
    assert_eq!(whole.size_hint().exact(), Some(0));
    assert!(context.is_broken_off());
}

#[test]
fn the_end_is_put_to_the_watcher() {
    let context = Edge::default().enter(&mut Request::new(()));
    let context = context.context(&Request::new(())).clone();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    for lets in [Ok(()), Err(context.clone())] {
        let ends = lets.is_ok();
        let data = Frame::data(Bytes::from_static(b"a"));
        let mut body = frames::<Infallible>(vec![Ok(data)]).watch(AtTheEnd { asked: 0, lets });
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_ready());
        assert!(!body.is_end_stream());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        assert!(!body.is_end_stream());
        let over = Pin::new(&mut body).poll_frame(&mut cx);
        assert_eq!(matches!(over, Poll::Ready(None)), ends);
        assert_eq!(body.is_end_stream(), ends);
    }
    assert!(context.is_broken_off());
}
