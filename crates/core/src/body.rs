//! What layers ask of bodies they don't know.

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Full};
use pin_project_lite::pin_project;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

pub use crate::watch::{Flow, WatchBody, Watched, Watcher};

/// A response body that can be made from the bytes of a denial. Implement it for a body of your
/// own with one line; layers never change a response's body type.
pub trait DenialBody {
    /// A body that is exactly `bytes`.
    fn from_denial(bytes: Bytes) -> Self;
}

impl DenialBody for Full<Bytes> {
    fn from_denial(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

impl<E> DenialBody for BoxBody<Bytes, E>
where
    E: 'static,
{
    fn from_denial(bytes: Bytes) -> Self {
        Full::new(bytes).map_err(|never| match never {}).boxed()
    }
}

impl<E> DenialBody for UnsyncBoxBody<Bytes, E>
where
    E: 'static,
{
    fn from_denial(bytes: Bytes) -> Self {
        Full::new(bytes)
            .map_err(|never| match never {})
            .boxed_unsync()
    }
}

#[cfg(feature = "axum")]
impl DenialBody for axum_core::body::Body {
    fn from_denial(bytes: Bytes) -> Self {
        Self::from(bytes)
    }
}

#[cfg(feature = "tonic")]
impl DenialBody for tonic::body::Body {
    fn from_denial(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes))
    }
}

/// A request body that can be put together again after its beginning was read: what was read
/// first, then the rest as it comes.
pub trait ReplayBody: Body<Data = Bytes> + Sized {
    /// A body that yields `read` and then whatever `rest` still yields.
    fn replay(read: Vec<Frame<Bytes>>, rest: Self) -> Self;
}

impl ReplayBody for Full<Bytes> {
    fn replay(read: Vec<Frame<Bytes>>, _rest: Self) -> Self {
        // A `Full` yields all it has as one frame, so after one frame there is no rest.
        let mut frames = read.into_iter().filter_map(|f| f.into_data().ok());
        let first = frames.next().unwrap_or_default();
        let more: Vec<Bytes> = frames.collect();
        if more.is_empty() {
            return Self::new(first);
        }
        let mut all = BytesMut::from(first);
        more.into_iter().for_each(|data| all.put(data));
        Self::new(all.freeze())
    }
}

impl<E: 'static> ReplayBody for BoxBody<Bytes, E> {
    fn replay(read: Vec<Frame<Bytes>>, rest: Self) -> Self {
        Replay::new(read, rest).boxed()
    }
}

impl<E: 'static> ReplayBody for UnsyncBoxBody<Bytes, E> {
    fn replay(read: Vec<Frame<Bytes>>, rest: Self) -> Self {
        Replay::new(read, rest).boxed_unsync()
    }
}

#[cfg(feature = "axum")]
impl ReplayBody for axum_core::body::Body {
    fn replay(mut read: Vec<Frame<Bytes>>, rest: Self) -> Self {
        if rest.is_end_stream() && read.len() <= 1 {
            match read.pop().map(Frame::into_data) {
                None => return Self::empty(),
                Some(Ok(data)) => return Self::from(data),
                Some(Err(trailers)) => read.push(trailers),
            }
        }
        Self::new(Replay::new(read, rest))
    }
}

#[cfg(feature = "tonic")]
impl ReplayBody for tonic::body::Body {
    fn replay(read: Vec<Frame<Bytes>>, rest: Self) -> Self {
        Self::new(Replay::new(read, rest))
    }
}

pin_project! {
    /// Frames that were read already, then the rest of the body they came from.
    #[derive(Debug)]
    pub struct Replay<B> {
        read: VecDeque<Frame<Bytes>>,
        #[pin]
        rest: B,
    }
}

impl<B> Replay<B> {
    /// `read` first, then `rest`.
    pub fn new(read: Vec<Frame<Bytes>>, rest: B) -> Self {
        Self {
            read: read.into(),
            rest,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for Replay<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        match this.read.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => this.rest.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().filter_map(Frame::data_ref);
        let read: u64 = read.map(|data| data.len() as u64).sum();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}
