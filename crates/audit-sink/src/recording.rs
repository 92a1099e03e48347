//! One request's place in the log, from its entry to its one outcome event.

use countersign_core::body::DenialBody;
use countersign_core::respond::Format;
use countersign_core::{AccessContext, Reason};
use http::{HeaderName, Response};

use crate::event::{Arrival, Outcome};
use crate::queue::Permit;
use crate::{AuditEvent, metrics};

/// A request that is being recorded. Whatever becomes of it, exactly one outcome event is made:
/// by [`Recording::answered`] or [`Recording::service_failed`], or when it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Recording {
    context: AccessContext,
    arrival: Arrival,
    permit: Option<Permit>,
}

impl Recording {
    pub(crate) const fn new(context: AccessContext, arrival: Arrival, permit: Permit) -> Self {
        Self {
            context,
            arrival,
            permit: Some(permit),
        }
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

    pub(crate) fn answered<B>(mut self, response: &Response<B>) {
        let grpc = match self.context.format() {
            Format::Grpc => response.headers().get(GRPC_STATUS),
            _ => None,
        };
        let code = |value: &http::HeaderValue| value.to_str().ok()?.parse().ok();
        self.record(Outcome::Answered {
            status: response.status(),
            grpc: grpc.and_then(code),
        });
    }

    pub(crate) fn service_failed(mut self) {
        self.record(Outcome::ServiceError);
    }

    fn record(&mut self, outcome: Outcome) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let event = AuditEvent::outcome(&self.context, self.arrival, outcome);
        metrics::count(&event);
        permit.send(event);
        if let Some(observer) = self.context.edge().observer() {
            observer.finished(&self.context);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.record(Outcome::Dropped);
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

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
