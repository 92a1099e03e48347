//! A gRPC call, watched to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use countersign_core::body::Watcher;
use countersign_core::grpc::{self, Messages};
use countersign_core::respond::Format;
use http_body::Frame;

use crate::recording::Recording;

/// How many messages have begun to pass, each way.
#[derive(Debug, Default)]
pub(crate) struct Call {
    received: AtomicU32,
    sent: AtomicU32,
}

impl Call {
    /// Watches the call's request.
    pub(crate) fn request(self: Arc<Self>, format: Format) -> Box<dyn Watcher> {
        Box::new(Incoming {
            messages: Messages::new(format),
            call: self,
        })
    }

    pub(crate) fn received(&self) -> u32 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn sent(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }
}

struct Incoming {
    messages: Messages,
    call: Arc<Call>,
}

impl Watcher for Incoming {
    fn frame(&mut self, frame: &mut Frame<Bytes>) {
        count(&mut self.messages, &self.call.received, frame);
    }

    fn ended(&mut self, _whole: bool) {}
}

/// The answer of a call. Dropped before its end, its recording is dropped with it, and says so.
pub(crate) struct Answer {
    messages: Messages,
    format: Format,
    call: Arc<Call>,
    status: Option<u8>,
    recording: Recording,
}

impl Answer {
    /// Watches the answer, in this form, of the call that `recording` is about.
    pub(crate) fn watching(
        recording: Recording,
        call: &Arc<Call>,
        format: Format,
    ) -> Box<dyn Watcher> {
        Box::new(Self {
            messages: Messages::new(format),
            format,
            call: Arc::clone(call),
            status: None,
            recording,
        })
    }
}

impl Watcher for Answer {
    fn frame(&mut self, frame: &mut Frame<Bytes>) {
        if let Some(piece) = frame.data_ref().filter(|_| self.messages.is_between())
            && let Some(ending) = self.recording.web_ending(piece, self.format)
        {
            *frame = Frame::data(ending);
        }
        count(&mut self.messages, &self.call.sent, frame);
        if let Some(trailers) = frame.trailers_ref() {
            self.status = grpc::status(trailers);
        }
    }

    fn ended(&mut self, whole: bool) {
        let status = self.status.or_else(|| self.messages.web_status());
        self.recording.ended(whole, status);
    }
}

fn count(messages: &mut Messages, counter: &AtomicU32, frame: &Frame<Bytes>) {
    if let Some(data) = frame.data_ref() {
        counter.fetch_add(messages.read(data), Ordering::Relaxed);
    }
}
