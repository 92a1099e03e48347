//! Limits that each message of a gRPC call draws on.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use countersign_core::body::{Flow, WatchBody, Watcher};
use countersign_core::grpc::Messages;
use countersign_core::{AccessContext, Denial, Edge, Guard, Guarded, Verdict, Wait};
use http::Request;
use http_body::Frame;
use tower_layer::Layer;

use crate::in_flight::InFlight;
use crate::limiter::{Limiter, MessageStep, Pending};
use crate::occasionally::Occasionally;
use crate::{LimitStore, Policies, StoreFailure};

/// Makes each message that a gRPC caller sends draw on limits of its own, when it comes. Behind the
/// layers that find the endpoint and verify the caller. Other requests pass.
///
/// A body that should be base64 (gRPC-Web's text form) and is not breaks off as `malformed_request`:
/// what can't be counted does not reach the handler.
///
/// A message that its limits refuse does not reach the handler, and the call's request breaks off
/// with the refusal; messages before it stay handled. The call is then audited as refused. Its
/// answer is the refusal unless the handler has begun to answer and does not end with its error.
///
/// The policies need names of their own where their store also counts calls. A message costs what a
/// policy says that a request costs; costs that a function says can't be told, and refuse.
#[derive(Debug, Clone)]
#[must_use]
pub struct MessageLimitLayer {
    limiter: Arc<Limiter>,
    edge: Edge,
}

/// What [`MessageLimitLayer`] makes of a service.
pub type MessageLimit<S> = Guarded<S, MessageLimitLayer>;

impl MessageLimitLayer {
    /// A layer that keeps `policies` with counters in `store`. While the store is down, `failure`
    /// says what happens.
    pub fn new(policies: Policies, store: impl LimitStore, failure: StoreFailure) -> Self {
        let limiter = Limiter {
            policies,
            store: Arc::new(store),
            on_failure: failure,
            classic_fields: false,
            // They tell of the call, and may be on their way already.
            shows_fields: false,
            in_flight: Arc::new(InFlight::new()),
            fallback: OnceLock::new(),
            failures: Occasionally::default(),
        };
        Self {
            limiter: Arc::new(limiter),
            edge: Edge::default(),
        }
    }

    /// Enters requests by `edge`, where this is the first layer of the stack.
    pub fn with_edge(mut self, edge: Edge) -> Self {
        self.edge = edge;
        self
    }
}

impl<B: WatchBody + Send + 'static> Guard<B> for MessageLimitLayer {
    #[inline]
    fn check(&self, _: &Request<B>, context: &AccessContext) -> Verdict<B> {
        if !context.format().is_grpc() {
            return Verdict::Pass;
        }
        let gate = MessageGate {
            limiter: Arc::clone(&self.limiter),
            context: context.clone(),
            messages: Messages::new(context.format()),
            owed: None,
            pending: None,
        };
        let context = context.clone();
        Verdict::Wait(Wait::with_request(async move |request: Request<B>| {
            let request = request.map(|body| body.watch(gate));
            // A body in one piece is decided on by now.
            context
                .denial()
                .map_or(Ok(request), |denial| Err(denial.clone()))
        }))
    }
}

impl<S> Layer<S> for MessageLimitLayer {
    type Service = MessageLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded::new(inner, self.clone(), self.edge.clone())
    }
}

struct MessageGate {
    limiter: Arc<Limiter>,
    context: AccessContext,
    messages: Messages,
    /// How many messages of the frame at hand are still to be drawn for.
    owed: Option<u32>,
    // Only ever reached by `&mut`: it makes a future that is `Send` alone `Sync` as well.
    pending: Option<Mutex<Pending>>,
}

impl Watcher for MessageGate {
    fn poll_frame(&mut self, frame: &mut Frame<Bytes>, cx: &mut Context<'_>) -> Poll<Flow> {
        let decided = ready!(self.poll_pass(frame, cx));
        Poll::Ready(decided.map_or_else(
            |denial| Flow::break_off(&self.context, denial),
            |()| Flow::On,
        ))
    }

    fn unready(&mut self) -> Flow {
        let denial = self.context.misconfigured("message limits", NO_WAITING);
        Flow::break_off(&self.context, denial)
    }
}

impl MessageGate {
    /// Draws for the messages that begin in `frame`.
    fn poll_pass(
        &mut self,
        frame: &Frame<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Denial>> {
        let data = frame.data_ref().map_or(&[][..], |data| &data[..]);
        let mut owed = match self.owed {
            Some(owed) => owed,
            None => match self.messages.read(data) {
                Ok(owed) => owed,
                Err(reason) => return Poll::Ready(Err(reason.into())),
            },
        };
        while owed > 0 {
            self.owed = Some(owed);
            if let Err(denial) = ready!(self.poll_draw(cx)) {
                return Poll::Ready(Err(denial));
            }
            owed -= 1;
        }
        self.owed = None;
        Poll::Ready(Ok(()))
    }

    fn poll_draw(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Denial>> {
        if self.pending.is_none() {
            let now = self.context.edge().now();
            match self.limiter.begin_message(&self.context, now) {
                MessageStep::Decided(decided) => return Poll::Ready(decided),
                MessageStep::Waiting(pending) => self.pending = Some(Mutex::new(pending)),
            }
        }
        let Some(pending) = &mut self.pending else {
            return Poll::Pending;
        };
        let pending = pending.get_mut().unwrap_or_else(PoisonError::into_inner);
        let checked = ready!(pending.as_mut().poll(cx));
        self.pending = None;
        let now = self.context.edge().now();
        Poll::Ready(self.limiter.end_message(&self.context, now, &checked))
    }
}

impl fmt::Debug for MessageGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageGate").finish_non_exhaustive()
    }
}

const NO_WAITING: &str = "a request body that can wait for the limits' store";

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use countersign_core::{Quota, Reason};
    use http_body::Body as _;
    use http_body_util::Full;

    use super::*;
    use crate::samples::{Caller, after};
    use crate::{Dimension, LimitFuture, LimitRequest, LocalLimits, Policy};

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
        MessageLimitLayer::new(policies, store, StoreFailure::default())
    }

    fn gate(store: impl LimitStore, context: &AccessContext) -> MessageGate {
        MessageGate {
            limiter: layer(store).limiter,
            context: context.clone(),
            messages: Messages::new(countersign_core::respond::Format::Grpc),
            owed: None,
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
            match gate.poll_pass(frame, &mut cx) {
                Poll::Ready(decided) => return (decided, waits),
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
        gate.messages = Messages::new(countersign_core::respond::Format::GrpcWebText);
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
}
