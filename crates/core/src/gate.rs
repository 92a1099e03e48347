//! A body that is let on piece by piece, while its request is served.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Full};
use pin_project_lite::pin_project;

use crate::{AccessContext, Denial};

/// Decides about a body as it passes.
pub trait Gate: Send + Sync + 'static {
    /// Whether `frame` may go on. It is asked again with the same frame while it is pending, and
    /// never again once it refused.
    ///
    /// # Errors
    /// The refusal: nothing of the body goes on any more.
    fn poll_pass(&mut self, frame: &Frame<Bytes>, cx: &mut Context<'_>)
    -> Poll<Result<(), Denial>>;
}

/// A request body that can be broken off by a [`Gate`] without becoming another type. A body that
/// was broken off never looks as if it had ended: it fails where its errors can be made, and
/// otherwise yields nothing any more, until it is dropped.
pub trait GateBody: Sized {
    /// The same body behind `gate`. A refusal is taken down in `context`.
    fn gate<G: Gate>(self, gate: G, context: &AccessContext) -> Self;
}

/// No body: nothing is ever asked.
impl GateBody for () {
    fn gate<G: Gate>(self, _: G, _: &AccessContext) -> Self {}
}

/// In one piece it can be asked about only before it is handed on, and not waited for: refused, or
/// not decided at once, it is empty, which is no whole message of gRPC.
impl GateBody for Full<Bytes> {
    fn gate<G: Gate>(self, mut gate: G, context: &AccessContext) -> Self {
        let mut copy = self.clone();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut copy).poll_frame(&mut cx) else {
            return self;
        };
        match gate.poll_pass(&frame, &mut cx) {
            Poll::Ready(Ok(())) => self,
            Poll::Ready(Err(denial)) => {
                context.deny(denial);
                Self::default()
            }
            Poll::Pending => Self::default(),
        }
    }
}

impl<E: 'static> GateBody for BoxBody<Bytes, E> {
    fn gate<G: Gate>(self, gate: G, context: &AccessContext) -> Self {
        Gated::new(self, gate, context, |_, _| None).boxed()
    }
}

impl<E: 'static> GateBody for UnsyncBoxBody<Bytes, E> {
    fn gate<G: Gate>(self, gate: G, context: &AccessContext) -> Self {
        Gated::new(self, gate, context, |_, _| None).boxed_unsync()
    }
}

/// It fails with the reason, with the feature `tonic` as a status.
#[cfg(feature = "axum")]
impl GateBody for axum_core::body::Body {
    fn gate<G: Gate>(self, gate: G, context: &AccessContext) -> Self {
        Self::new(Gated::new(self, gate, context, axum_error))
    }
}

#[cfg(feature = "axum")]
#[expect(clippy::unnecessary_wraps, reason = "not every body has such an error")]
pub(crate) fn axum_error(context: &AccessContext, denial: &Denial) -> Option<axum_core::Error> {
    #[cfg(feature = "tonic")]
    let error = context.status(denial);
    #[cfg(not(feature = "tonic"))]
    let error = format!("{}: {}", context.request_id(), denial.message());
    Some(axum_core::Error::new(error))
}

/// It fails with a status that says why.
#[cfg(feature = "tonic")]
impl GateBody for tonic::body::Body {
    fn gate<G: Gate>(self, gate: G, context: &AccessContext) -> Self {
        Self::new(Gated::new(self, gate, context, |context, denial| {
            Some(context.status(denial))
        }))
    }
}

/// How a body's error is made of a refusal, if it can be.
type BreakOff<E> = fn(&AccessContext, &Denial) -> Option<E>;

pin_project! {
    /// A body behind a gate.
    pub struct Gated<B, G, E> {
        #[pin]
        inner: B,
        gate: G,
        context: AccessContext,
        break_off: BreakOff<E>,
        state: State,
    }
}

#[derive(Debug)]
enum State {
    Open,
    /// This frame waits for its decision.
    Asking(Frame<Bytes>),
    /// The body failed with the refusal.
    Failed,
    /// The body was refused, and has no error to say so.
    Stuck,
}

impl<B: Body<Data = Bytes>, G: Gate> Gated<B, G, B::Error> {
    /// `inner` behind `gate`; `break_off` makes its error of a refusal.
    pub fn new(inner: B, gate: G, context: &AccessContext, break_off: BreakOff<B::Error>) -> Self {
        Self {
            inner,
            gate,
            context: context.clone(),
            break_off,
            state: State::Open,
        }
    }
}

impl<B: Body<Data = Bytes>, G: Gate> Body for Gated<B, G, B::Error> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let frame = match std::mem::replace(this.state, State::Open) {
            State::Failed => {
                *this.state = State::Failed;
                return Poll::Ready(None);
            }
            State::Stuck => {
                *this.state = State::Stuck;
                return Poll::Pending;
            }
            State::Asking(frame) => frame,
            State::Open => match ready!(this.inner.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            },
        };
        match this.gate.poll_pass(&frame, cx) {
            Poll::Pending => {
                *this.state = State::Asking(frame);
                Poll::Pending
            }
            Poll::Ready(Ok(())) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Err(denial)) => {
                let error = (this.break_off)(this.context, &denial);
                this.context.deny(denial);
                match error {
                    Some(error) => {
                        *this.state = State::Failed;
                        Poll::Ready(Some(Err(error)))
                    }
                    None => {
                        *this.state = State::Stuck;
                        Poll::Pending
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Open) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Open => self.inner.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

impl<B, G, E> fmt::Debug for Gated<B, G, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gated")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Request;

    use super::*;
    use crate::{Edge, Reason};

    /// Lets this many frames pass, each after it was asked twice.
    struct Count(u32, bool);

    impl Gate for Count {
        fn poll_pass(
            &mut self,
            _: &Frame<Bytes>,
            cx: &mut Context<'_>,
        ) -> Poll<Result<(), Denial>> {
            self.1 = !self.1;
            if self.1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(left) = self.0.checked_sub(1) else {
                return Poll::Ready(Err(Reason::LimitKey.into()));
            };
            self.0 = left;
            Poll::Ready(Ok(()))
        }
    }

    fn context() -> AccessContext {
        let mut request = Request::new(());
        let entered = Edge::default().enter(&mut request);
        entered.context(&request).clone()
    }

    fn poll<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Poll<Option<Result<Bytes, B::Error>>> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let polled = Pin::new(body).poll_frame(&mut cx);
        polled.map_ok(|frame| frame.into_data().unwrap())
    }

    #[test]
    fn a_frame_waits_for_its_decision_and_passes_once() {
        let context = context();
        let body: BoxBody<Bytes, Infallible> = Full::from("a").boxed();
        let mut body = body.gate(Count(1, false), &context);
        assert!(poll(&mut body).is_pending());
        assert!(!body.is_end_stream(), "the frame is still to come");
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(data))) if data == "a"));
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
        assert!(context.denial().is_none());
    }

    #[test]
    fn a_refused_body_never_looks_as_if_it_had_ended() {
        let context = context();
        let body: BoxBody<Bytes, Infallible> = Full::from("a").boxed();
        let mut body = body.gate(Count(0, false), &context);
        for _ in 0..4 {
            assert!(poll(&mut body).is_pending());
        }
        assert!(!body.is_end_stream());
        assert_eq!(context.denial().unwrap().reason(), Reason::LimitKey);
    }

    #[cfg(feature = "tonic")]
    #[test]
    fn a_tonic_body_fails_with_the_refusal() {
        let context = context();
        let body = tonic::body::Body::new(Full::<Bytes>::from("a"));
        let mut body = body.gate(Count(0, false), &context);
        assert!(poll(&mut body).is_pending());
        let Poll::Ready(Some(Err(status))) = poll(&mut body) else {
            panic!("no error");
        };
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    }

    #[test]
    fn a_body_in_one_piece_is_whole_or_empty() {
        for (count, length) in [(1, 1), (0, 0)] {
            let gate = Count(count, true);
            let body = GateBody::gate(Full::<Bytes>::from("a"), gate, &context());
            assert_eq!(body.size_hint().exact(), Some(length));
        }
    }
}
