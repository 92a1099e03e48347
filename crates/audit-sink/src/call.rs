//! A request's body and a gRPC call's answer, watched to their ends.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use countersign_core::body::{Flow, Watcher};
use countersign_core::grpc::{self, Messages};
use countersign_core::respond::Format;
use countersign_core::{
    AccessContext, Asking, Denial, Monotonic, Reason, STANDING_PAUSE, Standing,
};
use http_body::Frame;

use crate::queue::Place;
use crate::recording::Recording;

/// The body of a request.
pub(crate) struct Incoming {
    /// Of a gRPC call.
    messages: Option<Messages>,
    /// How many of them began in the last frame.
    begun: u32,
    /// Of a gRPC call.
    place: Option<Place>,
    caller: Caller,
    context: AccessContext,
}

impl Incoming {
    /// Watches the body of the request that `context` is about.
    pub(crate) fn watching(context: &AccessContext, place: Option<Place>) -> Self {
        let format = context.format();
        Self {
            messages: format.is_grpc().then(|| Messages::new(format)),
            begun: 0,
            place,
            caller: Caller::of(context),
            context: context.clone(),
        }
    }

    fn poll_stands(&mut self, cx: &mut Context<'_>) -> Poll<Flow> {
        let stands = ready!(self.caller.poll_standing(&self.context, cx));
        Poll::Ready(stands.map_or_else(
            |denial| Flow::break_off(&self.context, denial),
            |()| Flow::On,
        ))
    }

    /// Base64 that is cut off is no more what it says than junk is.
    fn judge_end(&self) -> Flow {
        match &self.messages {
            Some(messages) if messages.lacks_digits() => {
                Flow::break_off(&self.context, Reason::MalformedRequest)
            }
            _ => Flow::On,
        }
    }
}

impl Watcher for Incoming {
    /// Nothing of a caller that may not go on reaches the handler.
    fn poll_frame(&mut self, frame: &mut Frame<Bytes>, cx: &mut Context<'_>) -> Poll<Flow> {
        let flow = ready!(self.poll_stands(cx));
        if let (Flow::On, Some(messages)) = (&flow, &mut self.messages) {
            match begun(messages, frame) {
                Ok(count) => self.begun = count,
                Err(reason) => return Poll::Ready(Flow::break_off(&self.context, reason)),
            }
            // The log is about to end: what begins now would be done with no event to come.
            if self.begun > 0 && self.place.as_ref().is_some_and(Place::is_closing) {
                let reason = Reason::AuditUnavailable;
                return Poll::Ready(Flow::break_off(&self.context, reason));
            }
            self.context.count_messages_received(self.begun);
        }
        Poll::Ready(flow)
    }

    fn last_frame(&mut self) -> Flow {
        let flow = self.judge_end();
        if let Flow::BreakOff(_) = flow {
            self.context.withhold_messages(self.begun);
        }
        flow
    }

    /// Nor does the end, before which a handler does not act on what it has.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Flow> {
        let flow = ready!(self.poll_stands(cx));
        Poll::Ready(match flow {
            Flow::On => self.judge_end(),
            flow => flow,
        })
    }

    /// A body that is there as a whole came with its caller, who has just been verified.
    fn unready(&mut self) -> Flow {
        Flow::On
    }
}

/// The answer of a call. Dropped before its end, its recording is dropped with it, and says so.
pub(crate) struct Answer {
    messages: Messages,
    format: Format,
    status: Option<u8>,
    caller: Caller,
    recording: Recording,
}

impl Answer {
    /// Watches the answer, in this form, of the call that `recording` is about.
    pub(crate) fn watching(recording: Recording, format: Format) -> Self {
        Self {
            messages: Messages::new(format),
            format,
            status: None,
            caller: Caller::of(recording.context()),
            recording,
        }
    }

    /// Ends the call with the refusal, in the place of a message.
    fn refuse(&mut self, frame: &mut Frame<Bytes>, denial: Denial) -> Flow {
        let context = self.recording.context();
        *frame = context.ending(&denial, self.format);
        self.status = u8::try_from(denial.error().grpc_code()).ok();
        context.break_off(denial);
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
            } else if let Some(ending) = context.finish_web_trailers(piece, self.format) {
                *frame = Frame::data(ending);
            }
        }
        // An answer that is not the base64 that it says goes on: it is the handler's.
        self.recording
            .count_sent(begun(&mut self.messages, frame).unwrap_or(0));
        if let Some(trailers) = frame.trailers_mut() {
            self.status = grpc::status(trailers);
            self.recording.context().finish_trailers(trailers);
        }
        Poll::Ready(Flow::On)
    }

    /// An answer that is there as a whole is the handler's, which ran for a caller who stood.
    fn unready(&mut self) -> Flow {
        Flow::On
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
            if now.duration_since(self.stood) < STANDING_PAUSE {
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

/// How many messages begin in `frame`.
fn begun(messages: &mut Messages, frame: &Frame<Bytes>) -> Result<u32, Reason> {
    frame.data_ref().map_or(Ok(0), |data| messages.read(data))
}
