use std::convert::Infallible;
use std::time::Duration;

use countersign_core::respond::Format;
use countersign_core::{Quota, Reason};
use http_body::Body as _;
use http_body_util::Full;

use super::*;
use crate::samples::{Caller, after};
use crate::{Concurrency, Dimension, LimitFuture, LimitRequest, LocalLimits, Policy};

/// Answers only when it is asked once more.
#[derive(Debug)]
struct Later(Arc<LocalLimits>);

impl LimitStore for Later {
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture {
        let decided = match self.0.check(request) {
            LimitFuture::Ready(decided) => decided.unwrap(),
            LimitFuture::Later(_) => unreachable!("a local store"),
        };
        let mut asked = false;
        LimitFuture::later(std::future::poll_fn(move |cx| {
            if std::mem::replace(&mut asked, true) {
                return Poll::Ready(Ok(decided.clone()));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    }
}

fn layer(store: impl LimitStore) -> MessageLimitLayer {
    let quota = Quota::per_second(3, 1).unwrap();
    let policies = Policies::new([Policy::new("messages", Dimension::Key, quota)]).unwrap();
    MessageLimitLayer::new(policies, store, StoreFailure::default()).unwrap()
}

fn gate(store: impl LimitStore, context: &AccessContext) -> MessageGate {
    MessageGate {
        limiter: layer(store).limiter,
        context: context.clone(),
        messages: Messages::new(Format::Grpc),
        read: 0,
        begun: None,
        pending: None,
    }
}

/// Empty messages, in one frame.
fn messages(count: usize) -> Frame<Bytes> {
    Frame::data(vec![0; 5 * count].into())
}

/// What is decided, and how often that had to be waited for.
fn decide(gate: &mut MessageGate, frame: &Frame<Bytes>) -> (Result<(), Denial>, usize) {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut waits = 0;
    loop {
        match gate.poll_pass(frame.data_ref().unwrap(), &mut cx) {
            Poll::Ready(decided) => return (decided.map_err(|refused| refused.denial), waits),
            Poll::Pending => waits += 1,
        }
    }
}

fn call(caller: &Caller) -> AccessContext {
    caller.calls("/pay.v1.Payments/Create", after(Duration::from_secs(1)))
}

#[test]
fn each_message_draws_on_its_limits() {
    let caller = Caller::new();
    let context = call(&caller);
    let mut gate = gate(LocalLimits::new(), &context);
    assert_eq!(decide(&mut gate, &messages(1)).0, Ok(()));
    // A message whose rest comes later draws once, when it begins.
    assert_eq!(
        decide(&mut gate, &Frame::data(vec![0, 0, 0, 0, 2, 7].into())).0,
        Ok(())
    );
    assert_eq!(decide(&mut gate, &Frame::data(vec![7].into())).0, Ok(()));
    assert_eq!(decide(&mut gate, &messages(1)).0, Ok(()));
    let refused = decide(&mut gate, &messages(1)).0.unwrap_err();
    assert_eq!(refused.reason(), Reason::LimitKey);
    assert_eq!(refused.retry_after_seconds(), Some(1));
    let note = context.limit().unwrap();
    assert_eq!(note.policy.as_deref(), Some("messages"));
}

/// How many messages are said to have come, and how many of one frame pass.
fn passed(store: impl LimitStore, format: Format) -> (u32, u32) {
    let context = call(&Caller::new());
    let mut gate = gate(store, &context);
    gate.messages = Messages::new(format);
    // Nine empty messages, as base64 where it must be.
    let mut frame = Frame::data(match format {
        Format::GrpcWebText => "A".repeat(5 * 9 / 3 * 4).into(),
        _ => vec![0; 5 * 9].into(),
    });
    context.count_messages_received(9);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let flow = loop {
        if let Poll::Ready(flow) = gate.poll_frame(&mut frame, &mut cx) {
            break flow;
        }
    };
    assert!(matches!(flow, Flow::BreakOffNext(_)), "{flow:?}");
    let passed = Messages::new(format).read(frame.data_ref().unwrap());
    (context.messages_received(), passed.unwrap())
}

/// Else a caller whose client puts more messages into a frame than its quota ever holds gets none through.
#[test]
fn of_one_frame_as_many_messages_pass_as_their_limits_grant() {
    for format in [Format::Grpc, Format::GrpcWeb, Format::GrpcWebText] {
        assert_eq!(passed(LocalLimits::new(), format), (3, 3));
        let later = Later(Arc::new(LocalLimits::new()));
        assert_eq!(passed(later, format), (3, 3));
    }
}

#[test]
fn a_store_that_takes_its_time_is_asked_once_a_message() {
    let caller = Caller::new();
    let context = call(&caller);
    let mut gate = gate(Later(Arc::new(LocalLimits::new())), &context);
    assert_eq!(decide(&mut gate, &messages(2)), (Ok(()), 2));
    let (refused, waits) = decide(&mut gate, &messages(2));
    assert_eq!(
        (refused.unwrap_err().reason(), waits),
        (Reason::LimitKey, 2)
    );
}

#[test]
fn what_cannot_be_counted_does_not_pass() {
    let mut gate = gate(LocalLimits::new(), &call(&Caller::new()));
    gate.messages = Messages::new(Format::GrpcWebText);
    let text = Frame::data(Bytes::from_static(b"AAAAAAA="));
    assert_eq!(decide(&mut gate, &text).0, Ok(()));
    // A message as a server takes it that does not know gRPC-Web.
    let refused = decide(&mut gate, &messages(1)).0.unwrap_err();
    assert_eq!(refused.reason(), Reason::MalformedRequest);
}

/// What becomes of a request with so many messages in one piece.
fn in_one_piece(store: impl LimitStore, count: usize) -> Result<Request<Full<Bytes>>, Denial> {
    let context = call(&Caller::new());
    let layer = layer(store);
    let request = Request::new(Full::from(vec![0; 5 * count]));
    let Verdict::Wait(wait) = layer.check(&request, &context) else {
        panic!("its body must be watched");
    };
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match wait.begin(request).as_mut().poll(&mut cx) {
        Poll::Ready(decided) => decided,
        Poll::Pending => panic!("a body in one piece waits for nobody"),
    }
}

#[test]
fn messages_in_one_piece_are_decided_on_at_once_or_refused() {
    let passed = in_one_piece(LocalLimits::new(), 3).unwrap();
    assert_eq!(passed.body().size_hint().exact(), Some(15));
    let refused = in_one_piece(LocalLimits::new(), 4).unwrap_err();
    assert_eq!(refused.reason(), Reason::LimitKey);
    let later = in_one_piece(Later(Arc::new(LocalLimits::new())), 1);
    assert_eq!(later.unwrap_err().reason(), Reason::MisconfiguredStack);
}

#[test]
fn other_requests_pass_untouched() {
    let context = Caller::new().reads(after(Duration::from_secs(1)));
    let layer = layer(LocalLimits::new());
    type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;
    let request = Request::new(Body::default());
    assert!(matches!(layer.check(&request, &context), Verdict::Pass));
}

#[test]
fn what_is_not_for_messages_is_a_mistake() {
    let quota = Quota::per_second(10, 10).unwrap();
    let policy = || Policy::new("messages", Dimension::Key, quota);
    let at_once = Concurrency::new("streams", Dimension::Key, 1);
    let places = Policies::new([policy()])
        .unwrap()
        .with_concurrency([at_once])
        .unwrap();
    let function = Policies::new([policy().cost_by(|_| 1)]).unwrap();
    for (policies, name) in [(places, "policy streams"), (function, "policy messages")] {
        let layer = MessageLimitLayer::new(policies, LocalLimits::new(), StoreFailure::default());
        assert_eq!(layer.unwrap_err().subject(), name);
    }
}
