//! A body whose frames are watched as they pass.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Full};
use pin_project_lite::pin_project;

use crate::{AccessContext, Denial};

/// Watches a body. Dropped without [`Watcher::ended`], the body was dropped before its end.
pub trait Watcher: Send + Sync + 'static {
    /// A frame is to pass, data or trailers. What it is changed to goes on in its place; a body in
    /// one piece goes on as it was. Pending, it is asked again with the same frame.
    fn poll_frame(&mut self, frame: &mut Frame<Bytes>, cx: &mut Context<'_>) -> Poll<Flow>;

    /// What becomes of a body in one piece, for which nobody can wait, where this is pending.
    fn unready(&mut self) -> Flow;

    /// The body came to its end, and whoever reads it is about to be told: [`Flow::BreakOff`] tells an
    /// error in place of the end. Where the last frame is known to be the last, [`Watcher::last_frame`]
    /// is asked instead.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Flow> {
        let _ = cx;
        Poll::Ready(Flow::On)
    }

    /// The frame that is about to pass is known to be the last: [`Flow::BreakOff`] tells an error in its
    /// place.
    fn last_frame(&mut self) -> Flow {
        Flow::On
    }

    /// The body is over. Not `whole`, it broke off with an error.
    fn ended(&mut self, whole: bool) {
        let _ = whole;
    }
}

/// The request that a body was broken off of, and why.
type Broken = Box<(AccessContext, Denial)>;

/// What becomes of a body.
#[derive(Debug)]
#[non_exhaustive]
pub enum Flow {
    /// The frame goes on, and others may follow.
    On,
    /// The frame goes on and is the last one, whatever would have followed.
    End,
    /// The frame goes on, and in the place of what follows the body breaks off, as by
    /// [`Flow::BreakOff`]. Where nothing follows, or the body is in one piece, it breaks off at once.
    BreakOffNext(Broken),
    /// Nothing goes on any more, and the body does not look as if it had ended: it fails where its
    /// errors can be made, and otherwise yields nothing, until it is dropped. The refusal is taken
    /// down in the request's record.
    BreakOff(Broken),
}

impl Flow {
    /// Nothing goes on any more of the request that `context` is about.
    #[must_use]
    pub fn break_off(context: &AccessContext, denial: impl Into<Denial>) -> Self {
        Self::BreakOff(Box::new((context.clone(), denial.into())))
    }

    /// Nothing goes on after this frame of the request that `context` is about.
    #[must_use]
    pub fn break_off_next(context: &AccessContext, denial: impl Into<Denial>) -> Self {
        Self::BreakOffNext(Box::new((context.clone(), denial.into())))
    }
}

/// A body that can be watched without becoming another type: layers never change a request's or a
/// response's body type. A body of your own wraps itself in [`Watched`].
pub trait WatchBody: Sized {
    /// The same body, of which `watcher` sees every frame. A body that is known to be empty ends
    /// at once.
    fn watch<W: Watcher>(self, watcher: W) -> Self;

    /// Whether nothing will come any more: a body of which this is known needs nobody to watch it.
    fn has_ended(&self) -> bool {
        false
    }
}

/// No body: it ends at once.
impl WatchBody for () {
    fn watch<W: Watcher>(self, mut watcher: W) -> Self {
        watcher.ended(true);
    }

    fn has_ended(&self) -> bool {
        true
    }
}

/// All of it is seen at once: it is in one piece already. Broken off, it is empty, which is no whole
/// message of gRPC.
impl WatchBody for Full<Bytes> {
    fn watch<W: Watcher>(self, mut watcher: W) -> Self {
        // A `Full` yields what it holds when it is asked first, and needs no waker for it.
        let mut copy = self.clone();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if let Poll::Ready(Some(Ok(mut frame))) = Pin::new(&mut copy).poll_frame(&mut cx) {
            let flow = match watcher.poll_frame(&mut frame, &mut cx) {
                Poll::Ready(Flow::On) => watcher.last_frame(),
                Poll::Ready(flow) => flow,
                Poll::Pending => watcher.unready(),
            };
            if let Flow::BreakOff(broken) | Flow::BreakOffNext(broken) = flow {
                broken.0.break_off(broken.1);
                watcher.ended(false);
                return Self::default();
            }
        }
        watcher.ended(true);
        self
    }

    fn has_ended(&self) -> bool {
        self.is_end_stream()
    }
}

impl<E: 'static> WatchBody for BoxBody<Bytes, E> {
    fn watch<W: Watcher>(self, watcher: W) -> Self {
        Watched::new(self, watcher, |_, _| None).boxed()
    }

    fn has_ended(&self) -> bool {
        self.is_end_stream()
    }
}

impl<E: 'static> WatchBody for UnsyncBoxBody<Bytes, E> {
    fn watch<W: Watcher>(self, watcher: W) -> Self {
        Watched::new(self, watcher, |_, _| None).boxed_unsync()
    }

    fn has_ended(&self) -> bool {
        self.is_end_stream()
    }
}

/// Broken off, it fails with the reason, with the feature `tonic` as a status.
#[cfg(feature = "axum")]
impl WatchBody for axum_core::body::Body {
    fn watch<W: Watcher>(self, watcher: W) -> Self {
        Self::new(Watched::new(self, watcher, axum_error))
    }

    fn has_ended(&self) -> bool {
        self.is_end_stream()
    }
}

#[cfg(feature = "axum")]
#[expect(clippy::unnecessary_wraps, reason = "not every body has such an error")]
fn axum_error(context: &AccessContext, denial: &Denial) -> Option<axum_core::Error> {
    #[cfg(feature = "tonic")]
    let error = context.status(denial);
    #[cfg(not(feature = "tonic"))]
    let error = format!("{}: {}", context.request_id(), denial.message());
    Some(axum_core::Error::new(error))
}

/// Broken off, it fails with a status that says why.
#[cfg(feature = "tonic")]
impl WatchBody for tonic::body::Body {
    fn watch<W: Watcher>(self, watcher: W) -> Self {
        Self::new(Watched::new(self, watcher, |context, denial| {
            Some(context.status(denial))
        }))
    }

    fn has_ended(&self) -> bool {
        self.is_end_stream()
    }
}

pin_project! {
    /// A body and who watches it.
    pub struct Watched<B, W, E> {
        #[pin]
        inner: B,
        // Gone once the body is over: then nothing passes any more.
        watcher: Option<W>,
        break_off: BreakOff<E>,
        // This waits for its decision.
        asking: Option<Came>,
        // Why the body breaks off when it is asked next.
        breaks: Option<Broken>,
        // The body was broken off, and has no error to say so.
        is_stuck: bool,
    }
}

/// What came of a body.
enum Came {
    Frame(Frame<Bytes>),
    End,
}

impl Came {
    fn poll_pass(&mut self, watcher: &mut impl Watcher, cx: &mut Context<'_>) -> Poll<Flow> {
        match self {
            Self::Frame(frame) => watcher.poll_frame(frame, cx),
            Self::End => watcher.poll_end(cx),
        }
    }

    /// Whether nothing comes after it: nothing does after trailers.
    fn is_last(&self) -> bool {
        match self {
            Self::Frame(frame) => frame.is_trailers(),
            Self::End => true,
        }
    }

    fn into_frame(self) -> Option<Frame<Bytes>> {
        match self {
            Self::Frame(frame) => Some(frame),
            Self::End => None,
        }
    }
}

/// How a body's error is made of a refusal, if it can be.
type BreakOff<E> = fn(&AccessContext, &Denial) -> Option<E>;

impl<B: Body<Data = Bytes>, W: Watcher> Watched<B, W, B::Error> {
    /// `inner`, watched by `watcher`; `break_off` makes its error of a refusal.
    pub fn new(inner: B, watcher: W, break_off: BreakOff<B::Error>) -> Self {
        let mut watcher = Some(watcher);
        // Nobody polls a body that says that it is over.
        if inner.is_end_stream() {
            end(&mut watcher, true);
        }
        Self {
            watcher,
            inner,
            break_off,
            asking: None,
            breaks: None,
            is_stuck: false,
        }
    }

    fn poll_broken(
        self: Pin<&mut Self>,
        (context, denial): (AccessContext, Denial),
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let error = (this.break_off)(&context, &denial);
        context.break_off(denial);
        end(this.watcher, false);
        *this.is_stuck = error.is_none();
        error.map_or(Poll::Pending, |error| Poll::Ready(Some(Err(error))))
    }
}

impl<B: Body<Data = Bytes>, W: Watcher> Body for Watched<B, W, B::Error> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.as_mut().project();
        if let Some(broken) = this.breaks.take() {
            return self.poll_broken(*broken);
        }
        let Some(watcher) = this.watcher.as_mut() else {
            let over = if *this.is_stuck {
                Poll::Pending
            } else {
                Poll::Ready(None)
            };
            return over;
        };
        let mut came = match this.asking.take() {
            Some(came) => came,
            None => match ready!(this.inner.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => Came::Frame(frame),
                None => Came::End,
                Some(Err(error)) => {
                    end(this.watcher, false);
                    return Poll::Ready(Some(Err(error)));
                }
            },
        };
        let Poll::Ready(mut flow) = came.poll_pass(watcher, cx) else {
            *this.asking = Some(came);
            return Poll::Pending;
        };
        // A server may ask no further after its last data.
        let is_last = came.is_last() || this.inner.is_end_stream();
        if is_last && let (Flow::On, Came::Frame(_)) = (&flow, &came) {
            flow = watcher.last_frame();
        }
        match flow {
            Flow::On if !is_last => {}
            Flow::On | Flow::End => end(this.watcher, true),
            Flow::BreakOffNext(broken) if !came.is_last() => *this.breaks = Some(broken),
            Flow::BreakOff(broken) | Flow::BreakOffNext(broken) => {
                return self.poll_broken(*broken);
            }
        }
        Poll::Ready(came.into_frame().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        // Where somebody watches, the end is still to be put to him.
        self.watcher.is_none() && !self.is_stuck
    }

    fn size_hint(&self) -> SizeHint {
        match self.watcher {
            None if !self.is_stuck => SizeHint::with_exact(0),
            // A watcher may change what passes, or break it off.
            _ => SizeHint::default(),
        }
    }
}

impl<B, W, E> fmt::Debug for Watched<B, W, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

fn end(watcher: &mut Option<impl Watcher>, whole: bool) {
    if let Some(mut watcher) = watcher.take() {
        watcher.ended(whole);
    }
}

#[cfg(test)]
mod tests;
