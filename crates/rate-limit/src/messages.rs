//! Limits that each message of a gRPC call draws on.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use countersign_core::body::{Flow, WatchBody, Watcher};
use countersign_core::grpc::{Begun, Messages};
use countersign_core::{
    AccessContext, ConfigError, Denial, Edge, Guard, Guarded, Reason, Verdict, Wait,
};
use http::Request;
use http_body::Frame;
use tower_layer::Layer;

use crate::in_flight::InFlight;
use crate::limiter::{Limiter, MessageStep, Pending};
use crate::occasionally::Occasionally;
use crate::{LimitStore, Policies, StoreFailure};

/// Makes each message that a gRPC caller sends draw on limits of its own, when it comes. Behind the
/// layers that find the endpoint and verify the caller. Other requests pass.
///
/// A body that should be base64 (gRPC-Web's text form) and is not breaks off as `malformed_request`:
/// what can't be counted does not reach the handler.
///
/// A message that its limits refuse does not reach the handler, and the call's request breaks off
/// with the refusal; messages before it reach the handler, also where they came in one piece with it,
/// but for a body that is in one piece as a whole. The call is then audited as refused. Its
/// answer is the refusal unless the handler has begun to answer and does not end with its error.
///
/// The policies need names of their own where their store also counts calls. A message costs what a
/// policy says that a request costs, as many times as its endpoint says: [`Policies::check_messages`] says
/// whether a contract's can be counted.
#[derive(Debug, Clone)]
#[must_use]
pub struct MessageLimitLayer {
    limiter: Arc<Limiter>,
    edge: Edge,
}

/// What [`MessageLimitLayer`] makes of a service.
pub type MessageLimit<S> = Guarded<S, MessageLimitLayer>;

impl MessageLimitLayer {
    /// A layer that keeps `policies` with counters in `store`. While the store is down, `failure`
    /// says what happens.
    ///
    /// # Errors
    /// When there is a limit on requests at once among the policies, or a function that says what a
    /// request costs: neither is for messages. The error's subject names the policy.
    pub fn new(
        policies: Policies,
        store: impl LimitStore,
        failure: StoreFailure,
    ) -> Result<Self, ConfigError> {
        policies.check_for_messages()?;
        let limiter = Limiter {
            policies,
            store: Arc::new(store),
            on_failure: failure,
            classic_fields: false,
            // They tell of the call, and may be on their way already.
            shows_fields: false,
            in_flight: Arc::new(InFlight::new()),
            fallback: OnceLock::new(),
            failures: Occasionally::default(),
        };
        Ok(Self {
            limiter: Arc::new(limiter),
            edge: Edge::default(),
        })
    }

    /// Enters requests by `edge`, where this is the first layer of the stack.
    pub fn with_edge(mut self, edge: Edge) -> Self {
        self.edge = edge;
        self
    }
}

impl<B: WatchBody + Send + 'static> Guard<B> for MessageLimitLayer {
    #[inline]
    fn check(&self, _: &Request<B>, context: &AccessContext) -> Verdict<B> {
        if !context.format().is_grpc() {
            return Verdict::Pass;
        }
        let gate = MessageGate {
            limiter: Arc::clone(&self.limiter),
            context: context.clone(),
            messages: Messages::new(context.format()),
            read: 0,
            begun: None,
            pending: None,
        };
        let context = context.clone();
        Verdict::Wait(Wait::with_request(async move |request: Request<B>| {
            let request = request.map(|body| body.watch(gate));
            // A body in one piece is decided on by now.
            context
                .denial()
                .map_or(Ok(request), |denial| Err(denial.clone()))
        }))
    }
}

impl<S> Layer<S> for MessageLimitLayer {
    type Service = MessageLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded::new(inner, self.clone(), self.edge.clone())
    }
}

struct MessageGate {
    limiter: Arc<Limiter>,
    context: AccessContext,
    messages: Messages,
    /// How much of the frame at hand was read.
    read: usize,
    /// The message of that frame that is being drawn for; its place counts from where was read to.
    begun: Option<Begun>,
    // Only ever reached by `&mut`: it makes a future that is `Send` alone `Sync` as well.
    pending: Option<Mutex<Pending>>,
}

impl Watcher for MessageGate {
    fn poll_frame(&mut self, frame: &mut Frame<Bytes>, cx: &mut Context<'_>) -> Poll<Flow> {
        let data = frame.data_ref().map_or(&[][..], |data| &data[..]);
        let Err(Refused { denial, before }) = ready!(self.poll_pass(data, cx)) else {
            return Poll::Ready(Flow::On);
        };
        let context = &self.context;
        Poll::Ready(match frame.data_mut() {
            Some(data) if before > 0 => {
                data.truncate(before);
                Flow::break_off_next(context, denial)
            }
            _ => Flow::break_off(context, denial),
        })
    }

    fn unready(&mut self) -> Flow {
        let denial = self.context.misconfigured("message limits", NO_WAITING);
        Flow::break_off(&self.context, denial)
    }
}

/// A frame with a message that may not pass.
#[derive(Debug, PartialEq)]
struct Refused {
    denial: Denial,
    /// So much of the frame goes on without it.
    before: usize,
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        let denial = reason.into();
        Self { denial, before: 0 }
    }
}

impl MessageGate {
    /// Draws for the messages that begin in a frame's `data`.
    fn poll_pass(&mut self, data: &[u8], cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        loop {
            let rest = &data[self.read..];
            self.begun = match self.begun {
                Some(begun) => Some(begun),
                None => self.messages.read_to_next(rest)?,
            };
            let Some(begun) = self.begun else {
                self.read = 0;
                return Poll::Ready(Ok(()));
            };
            let drawn = ready!(self.poll_draw(cx));
            self.begun = None;
            if let Err(denial) = drawn {
                self.withhold(&rest[begun.through..]);
                let before = self.read + begun.before;
                return Poll::Ready(Err(Refused { denial, before }));
            }
            self.read += begun.through;
        }
    }

    /// The message at hand does not reach the handler, nor does any of `rest`.
    fn withhold(&mut self, rest: &[u8]) {
        let others = self.messages.read(rest).unwrap_or(0);
        self.context.withhold_messages(others + 1);
    }

    fn poll_draw(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Denial>> {
        if self.pending.is_none() {
            let now = self.context.edge().now();
            match self.limiter.begin_message(&self.context, now) {
                MessageStep::Decided(decided) => return Poll::Ready(decided),
                MessageStep::Waiting(pending) => self.pending = Some(Mutex::new(pending)),
            }
        }
        let Some(pending) = &mut self.pending else {
            return Poll::Pending;
        };
        let pending = pending.get_mut().unwrap_or_else(PoisonError::into_inner);
        let checked = ready!(pending.as_mut().poll(cx));
        self.pending = None;
        let now = self.context.edge().now();
        Poll::Ready(self.limiter.end_message(&self.context, now, &checked))
    }
}

impl fmt::Debug for MessageGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageGate").finish_non_exhaustive()
    }
}

const NO_WAITING: &str = "a request body that can wait for the limits' store";

#[cfg(test)]
mod tests;
