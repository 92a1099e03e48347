//! A gRPC call, watched to its end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use countersign_core::body::{Flow, Watcher};
use countersign_core::grpc::{self, Messages};
use countersign_core::respond::Format;
use countersign_core::{AccessContext, Asking, Denial, Monotonic, Standing};
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
    pub(crate) fn request(self: Arc<Self>, context: &AccessContext) -> Box<dyn Watcher> {
        Box::new(Incoming {
            messages: Messages::new(context.format()),
            call: self,
            caller: Caller::of(context),
            context: context.clone(),
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
    caller: Caller,
    context: AccessContext,
}

impl Watcher for Incoming {
    /// A message of a caller that may not go on does not reach the handler.
    fn poll_frame(&mut self, frame: &mut Frame<Bytes>, cx: &mut Context<'_>) -> Poll<Flow> {
        if let Err(denial) = ready!(self.caller.poll_standing(&self.context, cx)) {
            let broken = (self.context.clone(), denial);
            return Poll::Ready(Flow::BreakOff(Box::new(broken)));
        }
        count(&mut self.messages, &self.call.received, frame);
        Poll::Ready(Flow::On)
    }

    fn ended(&mut self, _whole: bool) {}
}

/// The answer of a call. Dropped before its end, its recording is dropped with it, and says so.
pub(crate) struct Answer {
    messages: Messages,
    format: Format,
    call: Arc<Call>,
    status: Option<u8>,
    caller: Caller,
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
            caller: Caller::of(recording.context()),
            recording,
        })
    }

    /// Ends the call with the refusal, in the place of a message.
    fn refuse(&mut self, frame: &mut Frame<Bytes>, denial: Denial) -> Flow {
        let context = self.recording.context();
        *frame = context.ending(&denial, self.format);
        self.status = u8::try_from(denial.error().grpc_code()).ok();
        context.deny(denial);
        Flow::End
    }
}

impl Watcher for Answer {
    fn poll_frame(&mut self, frame: &mut Frame<Bytes>, cx: &mut Context<'_>) -> Poll<Flow> {
        let context = self.recording.context();
        if let Some(piece) = frame.data_ref().filter(|_| self.messages.is_between()) {
            if let Some(ending) = context.web_ending(piece, self.format) {
                *frame = Frame::data(ending);
            } else if let Err(denial) = ready!(self.caller.poll_standing(context, cx)) {
                return Poll::Ready(self.refuse(frame, denial));
            }
        }
        count(&mut self.messages, &self.call.sent, frame);
        if let Some(trailers) = frame.trailers_ref() {
            self.status = grpc::status(trailers);
        }
        Poll::Ready(Flow::On)
    }

    fn ended(&mut self, whole: bool) {
        let status = self.status.or_else(|| self.messages.web_status());
        self.recording.ended(whole, status);
    }
}

/// The caller of a call that is under way.
struct Caller {
    /// When it was last known to stand.
    stood: Monotonic,
    // Only ever reached by `&mut`: it makes a future that is `Send` alone `Sync` as well.
    asking: Option<Mutex<Asking>>,
}

impl Caller {
    /// It was verified when its request came in.
    fn of(context: &AccessContext) -> Self {
        Self {
            stood: context.received().monotonic,
            asking: None,
        }
    }

    /// Whether it may go on. It is looked after again once a quarter of a second has passed.
    fn poll_standing(
        &mut self,
        context: &AccessContext,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Denial>> {
        let Some(standing) = context.standing() else {
            return Poll::Ready(Ok(()));
        };
        let now = context.edge().clock().monotonic();
        if self.asking.is_none() {
            if now.duration_since(self.stood) < PAUSE {
                return Poll::Ready(Ok(()));
            }
            match standing.check(context) {
                Standing::Good => {
                    self.stood = now;
                    return Poll::Ready(Ok(()));
                }
                Standing::Fallen(denial) => return Poll::Ready(Err(denial)),
                Standing::Ask(asking) => self.asking = Some(Mutex::new(asking)),
            }
        }
        let Some(asking) = &mut self.asking else {
            return Poll::Ready(Ok(()));
        };
        let asking = asking.get_mut().unwrap_or_else(PoisonError::into_inner);
        let stands = ready!(asking.as_mut().poll(cx));
        self.asking = None;
        self.stood = now;
        Poll::Ready(stands)
    }
}

fn count(messages: &mut Messages, counter: &AtomicU32, frame: &Frame<Bytes>) {
    if let Some(data) = frame.data_ref() {
        counter.fetch_add(messages.read(data), Ordering::Relaxed);
    }
}

const PAUSE: Duration = Duration::from_millis(250);
