//! One request's place in the log, from its entry to its one outcome event.

use countersign_core::body::{DenialBody, WatchBody};
use countersign_core::respond::Format;
use countersign_core::{AccessContext, Reason, grpc};
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};

use crate::call::{Answer, Incoming};
use crate::event::{Arrival, Outcome};
use crate::queue::{Permit, Queued};
use crate::{AuditEvent, metrics};

/// A request that is being recorded. Whatever becomes of it, exactly one outcome event is made: by
/// [`Recording::answered`] or [`Recording::service_failed`], when a call's answer is over, or when
/// the recording is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Recording {
    context: AccessContext,
    arrival: Arrival,
    permit: Option<Permit>,
    /// The status that was sent before the answer's end.
    status: Option<StatusCode>,
    /// How many messages of a gRPC call's answer have begun to pass.
    sent: u32,
}

impl Recording {
    pub(crate) const fn new(context: AccessContext, arrival: Arrival, permit: Permit) -> Self {
        Self {
            context,
            arrival,
            permit: Some(permit),
            status: None,
            sent: 0,
        }
    }

    /// Whether the request is a gRPC call, whose messages are counted.
    pub(crate) fn is_call(&self) -> bool {
        self.context.format().is_grpc()
    }

    /// Looks after the caller while its request's body comes in, and counts the messages of a gRPC call.
    pub(crate) fn watch<B: WatchBody>(&self, request: Request<B>) -> Request<B> {
        self.context.await_body();
        let place = self.permit.as_ref().filter(|_| self.is_call());
        let place = place.and_then(Permit::place);
        request.map(|body| body.watch(Incoming::watching(&self.context, place)))
    }

    /// `count` more messages of a gRPC call's answer have begun to pass.
    pub(crate) const fn count_sent(&mut self, count: u32) {
        self.sent = self.sent.wrapping_add(count);
    }

    /// The answer for a handler, or a layer, that panicked.
    pub(crate) fn panicked<B: DenialBody>(&self) -> Response<B> {
        tracing::error!(
            target: "countersign",
            request_id = %self.context.request_id(),
            route = self.context.endpoint().map(|e| e.template()),
            "handler panicked"
        );
        self.context.refuse(Reason::HandlerPanicked.into())
    }

    /// Records the answer, or, where the head of a gRPC call's answer does not end the call, lets
    /// the answer's body record it at its end.
    pub(crate) fn answered<B: WatchBody>(mut self, response: Response<B>) -> Response<B> {
        let status = response.status();
        let is_call = self.is_call();
        let grpc = is_call.then(|| grpc::status(response.headers())).flatten();
        if !is_call || grpc.is_some() {
            self.record(Outcome::Answered { status, grpc });
            return response;
        }
        self.status = Some(status);
        let format = self.answer_format(&response);
        response.map(|body| body.watch(Answer::watching(self, format)))
    }

    pub(crate) const fn context(&self) -> &AccessContext {
        &self.context
    }

    /// Records a call whose answer is over. Not `whole`, it broke off.
    pub(crate) fn ended(&mut self, whole: bool, grpc: Option<u8>) {
        let outcome = match self.status {
            Some(status) if whole => Outcome::Answered {
                status,
                grpc: grpc.or_else(|| self.without_status()),
            },
            status => Outcome::BrokeOff { status },
        };
        self.record(outcome);
    }

    /// A gRPC method's answer without a status is one of an unknown status (2) to its caller.
    fn without_status(&self) -> Option<u8> {
        let endpoint = self.context.endpoint()?;
        endpoint.is_grpc().then_some(2)
    }

    /// A gRPC-Web caller may ask in one form and be answered in the other.
    fn answer_format<B>(&self, response: &Response<B>) -> Format {
        // Found by a walk: a look-up would hash the name.
        let mut fields = response.headers().iter();
        let content_type = fields.find(|(name, _)| **name == CONTENT_TYPE);
        content_type
            .and_then(|(_, value)| Format::of_grpc(value.as_bytes()))
            .unwrap_or(self.context.format())
    }

    pub(crate) fn service_failed(mut self) {
        self.context.let_go();
        self.record(Outcome::ServiceError);
    }

    fn record(&mut self, outcome: Outcome) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        if self.is_call() {
            self.context.let_go();
        }
        // Made where it goes to the queue from: an event is some hundred bytes long.
        let mut queued = Queued {
            event: AuditEvent::request(&self.context, self.arrival),
            waiter: None,
        };
        let event = &mut queued.event;
        event.conclude(&self.context, outcome);
        if self.is_call() {
            event.add_messages(self.context.messages_received(), self.sent);
        }
        metrics::count(event);
        permit.push(queued);
        if let Some(observer) = self.context.edge().observer() {
            observer.finished(&self.context);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.permit.is_none() {
            return;
        }
        self.context.let_go();
        // An answer's body that panics takes its recording along.
        if std::thread::panicking() {
            self.context.deny(Reason::HandlerPanicked.into());
        }
        let status = self.status;
        self.record(Outcome::Dropped { status });
    }
}

/// Counts the outcome of a request for which the log had no room.
pub(crate) fn count_unrecorded<B>(
    context: &AccessContext,
    arrival: Arrival,
    response: &Response<B>,
) {
    if metrics::ENABLED {
        let outcome = Outcome::Answered {
            status: response.status(),
            grpc: None,
        };
        metrics::count(&AuditEvent::outcome(context, arrival, outcome));
    }
}
