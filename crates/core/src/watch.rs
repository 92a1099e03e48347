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

    /// The body is over. Not `whole`, it broke off with an error.
    fn ended(&mut self, whole: bool) {
        let _ = whole;
    }
}

/// What becomes of a body.
#[derive(Debug)]
#[non_exhaustive]
pub enum Flow {
    /// The frame goes on, and others may follow.
    On,
    /// The frame goes on and is the last one, whatever would have followed.
    End,
    /// Nothing goes on any more, and the body does not look as if it had ended: it fails where its
    /// errors can be made, and otherwise yields nothing, until it is dropped. The refusal is taken
    /// down in the request's record.
    BreakOff(Box<(AccessContext, Denial)>),
}

impl Flow {
    /// Nothing goes on any more of the request that `context` is about.
    #[must_use]
    pub fn break_off(context: &AccessContext, denial: impl Into<Denial>) -> Self {
        Self::BreakOff(Box::new((context.clone(), denial.into())))
    }
}

/// A body that can be watched without becoming another type: layers never change a request's or a
/// response's body type. A body of your own wraps itself in [`Watched`].
pub trait WatchBody: Sized {
    /// The same body, of which `watcher` sees every frame. A body that is known to be empty ends
    /// at once.
    fn watch<W: Watcher>(self, watcher: W) -> Self;
}

/// No body: it ends at once.
impl WatchBody for () {
    fn watch<W: Watcher>(self, mut watcher: W) -> Self {
        watcher.ended(true);
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
                Poll::Ready(flow) => flow,
                Poll::Pending => watcher.unready(),
            };
            if let Flow::BreakOff(broken) = flow {
                broken.0.deny(broken.1);
                watcher.ended(false);
                return Self::default();
            }
        }
        watcher.ended(true);
        self
    }
}

impl<E: 'static> WatchBody for BoxBody<Bytes, E> {
    fn watch<W: Watcher>(self, watcher: W) -> Self {
        Watched::new(self, watcher, |_, _| None).boxed()
    }
}

impl<E: 'static> WatchBody for UnsyncBoxBody<Bytes, E> {
    fn watch<W: Watcher>(self, watcher: W) -> Self {
        Watched::new(self, watcher, |_, _| None).boxed_unsync()
    }
}

/// Broken off, it fails with the reason, with the feature `tonic` as a status.
#[cfg(feature = "axum")]
impl WatchBody for axum_core::body::Body {
    fn watch<W: Watcher>(self, watcher: W) -> Self {
        Self::new(Watched::new(self, watcher, axum_error))
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
}

pin_project! {
    /// A body and who watches it.
    pub struct Watched<B, W, E> {
        #[pin]
        inner: B,
        // Gone once the body is over: then nothing passes any more.
        watcher: Option<W>,
        break_off: BreakOff<E>,
        // This frame waits for its decision.
        asking: Option<Frame<Bytes>>,
        // The body was broken off, and has no error to say so.
        is_stuck: bool,
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
            is_stuck: false,
        }
    }
}

impl<B: Body<Data = Bytes>, W: Watcher> Body for Watched<B, W, B::Error> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let Some(watcher) = this.watcher.as_mut() else {
            let over = if *this.is_stuck {
                Poll::Pending
            } else {
                Poll::Ready(None)
            };
            return over;
        };
        let mut frame = match this.asking.take() {
            Some(frame) => frame,
            None => match ready!(this.inner.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                over => {
                    end(this.watcher, over.is_none());
                    return Poll::Ready(over);
                }
            },
        };
        let Poll::Ready(flow) = watcher.poll_frame(&mut frame, cx) else {
            *this.asking = Some(frame);
            return Poll::Pending;
        };
        match flow {
            // After trailers nothing comes, and a server may ask no further after its last data.
            Flow::On if !frame.is_trailers() && !this.inner.is_end_stream() => {}
            Flow::On | Flow::End => end(this.watcher, true),
            Flow::BreakOff(broken) => {
                let (context, denial) = *broken;
                let error = (this.break_off)(&context, &denial);
                context.deny(denial);
                end(this.watcher, false);
                *this.is_stuck = error.is_none();
                return error.map_or(Poll::Pending, |error| Poll::Ready(Some(Err(error))));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match self.watcher {
            Some(_) => self.asking.is_none() && self.inner.is_end_stream(),
            None => !self.is_stuck,
        }
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
