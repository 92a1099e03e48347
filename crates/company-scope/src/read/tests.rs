use std::collections::VecDeque;
use std::task::Waker;

use countersign_core::body::Replay;
use http::HeaderMap;
use http_body::{Body, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;

use super::*;

type Boxed = UnsyncBoxBody<Bytes, &'static str>;

/// Yields the frames, then ends; `Err` breaks it off.
#[derive(Debug)]
struct Frames(VecDeque<Result<Frame<Bytes>, &'static str>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.0.pop_front())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn data(text: &[u8]) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::copy_from_slice(text)))
}

fn body(frames: impl IntoIterator<Item = Result<Frame<Bytes>, &'static str>>) -> Boxed {
    Frames(frames.into_iter().collect()).boxed_unsync()
}

fn poll(reading: &mut Reading<Boxed>) -> Poll<End> {
    reading.poll_end(&mut Context::from_waker(Waker::noop()))
}

fn drain(mut body: Boxed) -> Vec<Result<Frame<Bytes>, &'static str>> {
    let mut cx = Context::from_waker(Waker::noop());
    std::iter::from_fn(|| match Pin::new(&mut body).poll_frame(&mut cx) {
        Poll::Ready(frame) => frame,
        Poll::Pending => panic!("these bodies never wait"),
    })
    .collect()
}

fn plain(frame: &Result<Frame<Bytes>, &'static str>) -> Result<Vec<u8>, String> {
    match frame {
        Ok(frame) => match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Ok(data.to_vec()),
            (_, trailers) => Err(format!("{trailers:?}")),
        },
        Err(error) => Err((*error).to_owned()),
    }
}

#[test]
fn the_bound_is_inclusive() {
    let end = |limit| {
        let mut reading = Reading::new(body([data(b"{\"a\""), data(b":1}")]), limit, false);
        poll(&mut reading)
    };
    assert_eq!(end(7), Poll::Ready(End::Complete));
    assert_eq!(end(6), Poll::Ready(End::OverLimit));
    assert_eq!(end(0), Poll::Ready(End::OverLimit));
}

#[test]
fn a_body_over_the_bound_is_not_read_any_further() {
    let frames = (0..100).map(|_| data(&[b' '; 10]));
    let mut reading = Reading::new(body(frames), 35, false);
    assert_eq!(poll(&mut reading), Poll::Ready(End::OverLimit));
    assert_eq!(
        reading.read.len(),
        4,
        "the frame that passes the bound is the last one"
    );
    assert_eq!(drain(reading.into_body()).len(), 100);
}

#[test]
fn empty_frames_without_end_are_over_the_bound() {
    let mut reading = Reading::new(body((0..5000).map(|_| data(b""))), 10, false);
    assert_eq!(poll(&mut reading), Poll::Ready(End::OverLimit));
    assert_eq!(reading.read.len(), MAX_FRAMES + 1);
}

#[test]
fn a_broken_body_is_broken() {
    let mut reading = Reading::new(body([data(b"{"), Err("reset")]), 10, false);
    assert_eq!(poll(&mut reading), Poll::Ready(End::Broken));
}

#[test]
fn a_guess_ends_at_the_first_character_that_is_no_blank() {
    for (frames, end, read) in [
        (vec!["{}"], End::Complete, 1),
        (vec![" \n", "", "[", "]"], End::Complete, 4),
        (vec![" ", "x", "{"], End::NoJson, 2),
        (vec!["a=b", "c"], End::NoJson, 1),
        (vec!["", " "], End::NoJson, 2),
    ] {
        let frames = frames.into_iter().map(|text| data(text.as_bytes()));
        let mut reading = Reading::new(body(frames), 100, true);
        assert_eq!(poll(&mut reading), Poll::Ready(end));
        assert_eq!(reading.read.len(), read);
    }
}

#[test]
fn what_was_read_is_one_document() {
    let document = |frames: &[&str]| {
        let frames = frames.iter().map(|text| data(text.as_bytes()));
        let mut reading = Reading::new(body(frames), 100, false);
        assert_eq!(poll(&mut reading), Poll::Ready(End::Complete));
        String::from_utf8(reading.document().into_owned()).unwrap()
    };
    assert_eq!(document(&[]), "");
    assert_eq!(document(&["{}"]), "{}");
    assert_eq!(document(&["{", "", "}"]), "{}");
}

#[test]
fn a_full_body_comes_back_whole() {
    let mut reading = Reading::new(Full::new(Bytes::from_static(b"{}")), 10, false);
    let end = reading.poll_end(&mut Context::from_waker(Waker::noop()));
    assert_eq!(end, Poll::Ready(End::Complete));
    assert_eq!(reading.into_body().size_hint().exact(), Some(2));
}

proptest! {
    #[test]
    fn every_frame_comes_back_as_it_was(
        frames in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..20), 0..20),
        trailers in proptest::bool::ANY,
        breaks in proptest::bool::ANY,
        limit in 0usize..200,
        guesses in proptest::bool::ANY,
    ) {
        let make = || {
            let mut all: Vec<_> = frames.iter().map(|f| data(f)).collect();
            if breaks {
                all.push(Err("reset"));
            } else if trailers {
                let mut fields = HeaderMap::new();
                fields.insert("x-checksum", "abc".parse().unwrap());
                all.push(Ok(Frame::trailers(fields)));
            }
            body(all)
        };
        let mut reading = Reading::new(make(), limit, guesses);
        let Poll::Ready(end) = poll(&mut reading) else { panic!("these bodies never wait") };
        let largest = frames.iter().map(Vec::len).max().unwrap_or(0);
        let held: usize = reading.read.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        prop_assert!(held <= limit + largest);
        if end == End::Complete {
            prop_assert_eq!(reading.document().into_owned(), frames.concat());
        }
        if end != End::Broken {
            let before: Vec<_> = drain(make()).iter().map(plain).collect();
            let after: Vec<_> = drain(reading.into_body()).iter().map(plain).collect();
            prop_assert_eq!(before, after);
        }
    }
}

static_assertions::assert_impl_all!(Reading<Replay<Full<Bytes>>>: Send, Sync, Unpin);
