//! Reading a body up to a bound, so that it can be handed on as it came.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use countersign_core::body::ReplayBody;
use http_body::Frame;

/// The most frames that are read, whatever their size: each one costs memory of its own, and an
/// empty one counts nothing against the bound in bytes.
pub(crate) const MAX_FRAMES: usize = 1024;

/// A body that is being read, and what was read of it.
#[derive(Debug)]
pub(crate) struct Reading<B> {
    body: B,
    read: Vec<Frame<Bytes>>,
    size: usize,
    limit: usize,
    guesses: bool,
}

/// Why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All of it was read.
    Complete,
    /// It doesn't begin like JSON, and nobody said that it is.
    NoJson,
    /// It is longer than the bound.
    OverLimit,
    /// It broke off.
    Broken,
}

impl<B: ReplayBody + Unpin> Reading<B> {
    /// Reads at most `limit` bytes of `body`; if it `guesses`, then only what begins like JSON.
    pub(crate) fn new(body: B, limit: usize, guesses: bool) -> Self {
        Self {
            body,
            read: Vec::new(),
            size: 0,
            limit,
            guesses,
        }
    }

    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let end = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                // All of it was blank: nothing that anybody could take for JSON.
                None if self.guesses => Some(End::NoJson),
                None => Some(End::Complete),
                Some(Err(_)) => Some(End::Broken),
                Some(Ok(frame)) => self.take(frame),
            };
            if let Some(end) = end {
                return Poll::Ready(end);
            }
        }
    }

    /// What was read, in one piece.
    pub(crate) fn document(&self) -> Cow<'_, [u8]> {
        let mut data = self.read.iter().filter_map(Frame::data_ref);
        match (data.next(), data.next()) {
            (None, _) => Cow::Borrowed(&[]),
            (Some(all), None) => Cow::Borrowed(all),
            (Some(_), Some(_)) => {
                let data = self.read.iter().filter_map(Frame::data_ref);
                Cow::Owned(data.fold(Vec::with_capacity(self.size), |mut all, data| {
                    all.extend_from_slice(data);
                    all
                }))
            }
        }
    }

    /// The body as it came: the same frames, then what was not read.
    pub(crate) fn into_body(self) -> B {
        B::replay(self.read, self.body)
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Option<End> {
        let data = frame.data_ref().map_or(&[][..], |data| &data[..]);
        self.size = self.size.saturating_add(data.len());
        let first = data.iter().find(|byte| !byte.is_ascii_whitespace());
        let no_json = self.guesses && first.is_some_and(|byte| !begins_json(*byte));
        self.guesses &= first.is_none();
        self.read.push(frame);
        if no_json {
            Some(End::NoJson)
        } else if self.size > self.limit || self.read.len() > MAX_FRAMES {
            Some(End::OverLimit)
        } else {
            None
        }
    }
}

const fn begins_json(byte: u8) -> bool {
    matches!(byte, b'{' | b'[')
}

#[cfg(test)]
mod tests;
