//! A body whose frames are watched as they pass.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Full};
use pin_project_lite::pin_project;

/// Watches a body. Dropped without [`Watcher::ended`], the body was dropped before its end.
pub trait Watcher: Send + Sync + 'static {
    /// A frame passes, data or trailers. What it is changed to goes on in its place; a body in one
    /// piece goes on as it was.
    fn frame(&mut self, frame: &mut Frame<Bytes>);

    /// The body is over. Not `whole`, it broke off with an error.
    fn ended(&mut self, whole: bool);
}

/// A body that can be watched without becoming another type: layers never change a request's or a
/// response's body type. A body of your own wraps itself in [`Watched`].
pub trait WatchBody: Sized {
    /// The same body, of which `watcher` sees every frame. A body that is known to be empty ends
    /// at once.
    fn watch(self, watcher: Box<dyn Watcher>) -> Self;
}

/// No body: it ends at once.
impl WatchBody for () {
    fn watch(self, mut watcher: Box<dyn Watcher>) -> Self {
        watcher.ended(true);
    }
}

/// All of it is seen at once: it is in one piece already.
impl WatchBody for Full<Bytes> {
    fn watch(self, mut watcher: Box<dyn Watcher>) -> Self {
        // A `Full` yields what it holds when it is asked first, and needs no waker for it.
        let mut copy = self.clone();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if let Poll::Ready(Some(Ok(mut frame))) = Pin::new(&mut copy).poll_frame(&mut cx) {
            watcher.frame(&mut frame);
        }
        watcher.ended(true);
        self
    }
}

impl<E: 'static> WatchBody for BoxBody<Bytes, E> {
    fn watch(self, watcher: Box<dyn Watcher>) -> Self {
        Watched::new(self, watcher).boxed()
    }
}

impl<E: 'static> WatchBody for UnsyncBoxBody<Bytes, E> {
    fn watch(self, watcher: Box<dyn Watcher>) -> Self {
        Watched::new(self, watcher).boxed_unsync()
    }
}

#[cfg(feature = "axum")]
impl WatchBody for axum_core::body::Body {
    fn watch(self, watcher: Box<dyn Watcher>) -> Self {
        Self::new(Watched::new(self, watcher))
    }
}

#[cfg(feature = "tonic")]
impl WatchBody for tonic::body::Body {
    fn watch(self, watcher: Box<dyn Watcher>) -> Self {
        Self::new(Watched::new(self, watcher))
    }
}

pin_project! {
    /// A body and who watches it.
    pub struct Watched<B> {
        #[pin]
        inner: B,
        // Gone once the body is over.
        watcher: Option<Box<dyn Watcher>>,
    }
}

impl<B: Body<Data = Bytes>> Watched<B> {
    /// `inner`, watched by `watcher`.
    pub fn new(inner: B, watcher: Box<dyn Watcher>) -> Self {
        let mut watched = Self {
            watcher: Some(watcher),
            inner,
        };
        // Nobody polls a body that says that it is over.
        if watched.inner.is_end_stream() {
            end(&mut watched.watcher, true);
        }
        watched
    }
}

impl<B: Body<Data = Bytes>> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let mut polled = ready!(this.inner.as_mut().poll_frame(cx));
        match &mut polled {
            Some(Ok(frame)) => {
                if let Some(watcher) = this.watcher {
                    watcher.frame(frame);
                }
                // After trailers nothing comes, and a server may ask no further after its last data.
                if frame.is_trailers() || this.inner.is_end_stream() {
                    end(this.watcher, true);
                }
            }
            Some(Err(_)) => end(this.watcher, false),
            None => end(this.watcher, true),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> fmt::Debug for Watched<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

fn end(watcher: &mut Option<Box<dyn Watcher>>, whole: bool) {
    if let Some(mut watcher) = watcher.take() {
        watcher.ended(whole);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::HeaderMap;

    use super::*;

    type Seen = Arc<Mutex<Vec<String>>>;

    struct Notes(Seen);

    impl Notes {
        fn boxed() -> (Box<Self>, Seen) {
            let seen = Seen::default();
            (Box::new(Self(Arc::clone(&seen))), seen)
        }

        fn note(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    impl Watcher for Notes {
        fn frame(&mut self, frame: &mut Frame<Bytes>) {
            self.note(if frame.is_data() { "data" } else { "trailers" });
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
        let (watcher, seen) = Notes::boxed();
        let body = frames::<Infallible>(vec![
            Ok(Frame::data(Bytes::from_static(b"a"))),
            Ok(Frame::trailers(HeaderMap::new())),
        ]);
        drain(body.watch(watcher));
        assert_eq!(*seen.lock().unwrap(), ["data", "trailers", "whole", "gone"]);
    }

    #[test]
    fn a_body_that_breaks_and_one_that_is_dropped_are_told_apart() {
        let (watcher, seen) = Notes::boxed();
        drain(frames(vec![Ok(Frame::data(Bytes::new())), Err("broken")]).watch(watcher));
        assert_eq!(*seen.lock().unwrap(), ["data", "broken", "gone"]);
        let (watcher, seen) = Notes::boxed();
        drop(frames::<Infallible>(vec![Ok(Frame::data(Bytes::new()))]).watch(watcher));
        assert_eq!(*seen.lock().unwrap(), ["gone"]);
    }

    #[test]
    fn a_body_in_one_piece_is_seen_at_once() {
        for (body, expected) in [
            (Full::default(), &["whole", "gone"][..]),
            (Full::from("x"), &["data", "whole", "gone"]),
        ] {
            let (watcher, seen) = Notes::boxed();
            let _ = WatchBody::watch(body, watcher);
            assert_eq!(*seen.lock().unwrap(), expected);
        }
    }
}
