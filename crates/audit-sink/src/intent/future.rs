//! The future of [`Intent`](super::Intent).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use countersign_core::body::DenialBody;
use countersign_core::{AccessContext, Reason};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::Durable;

pin_project! {
    /// The inner answer, once the intent is durable; a refusal if it can't be made so.
    pub struct IntentFuture<S, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<S, ReqBody, ResBody>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>>,
    {
        Running { #[pin] future: S::Future },
        // Boxed, because few calls are sensitive and all would carry its room.
        Waiting { waiting: Option<Box<Waiting<S, ReqBody>>> },
        Refused { response: Option<Response<ResBody>> },
    }
}

/// A call that goes on once its intent is durable.
pub(super) struct Waiting<S, ReqBody> {
    pub(super) durable: Durable,
    pub(super) context: AccessContext,
    /// Polled ready.
    pub(super) inner: S,
    pub(super) request: Request<ReqBody>,
}

impl<S, ReqBody, ResBody> IntentFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) const fn running(future: S::Future) -> Self {
        Self {
            state: State::Running { future },
        }
    }

    pub(super) fn waiting(waiting: Waiting<S, ReqBody>) -> Self {
        Self {
            state: State::Waiting {
                waiting: Some(Box::new(waiting)),
            },
        }
    }

    pub(super) const fn refused(response: Response<ResBody>) -> Self {
        Self {
            state: State::Refused {
                response: Some(response),
            },
        }
    }
}

impl<S, ReqBody, ResBody> Future for IntentFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: DenialBody,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut state = self.as_mut().project().state;
            let next = match state.as_mut().project() {
                StateProj::Running { future } => return future.poll(cx),
                StateProj::Refused { response } => {
                    return Poll::Ready(Ok(response.take().expect(POLLED_AGAIN)));
                }
                StateProj::Waiting { waiting } => {
                    let call = waiting.as_mut().expect(POLLED_AGAIN);
                    let durable = ready!(Pin::new(&mut call.durable).poll(cx));
                    let call = waiting.take().expect(POLLED_AGAIN);
                    match durable {
                        Ok(()) => call.go_on(),
                        Err(_) => return Poll::Ready(Ok(call.refuse())),
                    }
                }
            };
            state.set(next);
        }
    }
}

impl<S, ReqBody> Waiting<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn go_on<ResBody>(self) -> State<S, ReqBody, ResBody> {
        let Self {
            mut inner, request, ..
        } = self;
        State::Running {
            future: inner.call(request),
        }
    }

    fn refuse<ResBody: DenialBody>(&self) -> Response<ResBody> {
        self.context.refuse(Reason::AuditUnavailable.into())
    }
}

impl<S, ReqBody, ResBody> fmt::Debug for IntentFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntentFuture").finish_non_exhaustive()
    }
}

const POLLED_AGAIN: &str = "a future is not polled after it was ready";
