//! The future of the service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use countersign_core::body::{DenialBody, ReplayBody};
use countersign_core::{AccessContext, Denial, Entered, Reason};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::place::{BodyPlan, OverLimit, Placed, Settings, note_claim};
use crate::read::{End, Reading};

pin_project! {
    /// The inner service's answer, perhaps after the request's body was read, or a refusal.
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<S, ReqBody>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        // Boxed, so that requests without a body to read don't carry its room around.
        Waiting { waiting: Option<Box<Waiting<S, ReqBody>>> },
        Forwarded { #[pin] inner: S::Future, entered: Entered },
        Refused { response: Option<S::Response> },
    }
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(crate) fn waiting(waiting: Waiting<S, ReqBody>) -> Self {
        Self {
            state: State::Waiting {
                waiting: Some(Box::new(waiting)),
            },
        }
    }

    pub(crate) fn forwarded(inner: S::Future, entered: Entered) -> Self {
        Self {
            state: State::Forwarded { inner, entered },
        }
    }

    pub(crate) fn refused(response: S::Response) -> Self {
        Self {
            state: State::Refused {
                response: Some(response),
            },
        }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: ReplayBody + Unpin,
    ResBody: DenialBody,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                Projected::Waiting { waiting } => {
                    let reading = waiting.as_mut().expect(POLLED_AGAIN);
                    let end = ready!(reading.reading.poll_end(cx));
                    let next = waiting.take().expect(POLLED_AGAIN).go_on(end);
                    state.set(next);
                }
                Projected::Forwarded { inner, entered } => {
                    let mut response = ready!(inner.poll(cx))?;
                    entered.settle(&mut response);
                    return Poll::Ready(Ok(response));
                }
                Projected::Refused { response } => {
                    return Poll::Ready(Ok(response.take().expect(POLLED_AGAIN)));
                }
            }
        }
    }
}

impl<S, ReqBody> fmt::Debug for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting { .. } => "waiting for the body",
            State::Forwarded { .. } => "forwarded",
            State::Refused { .. } => "refused",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// A request whose body is being read, and the ready service that it will go on to.
pub(crate) struct Waiting<S, ReqBody> {
    service: S,
    request: Request<()>,
    entered: Entered,
    placed: Placed,
    settings: Arc<Settings>,
    reading: Reading<ReqBody>,
}

impl<S, ReqBody> Waiting<S, ReqBody>
where
    ReqBody: ReplayBody + Unpin,
{
    pub(crate) fn new(
        service: S,
        request: Request<ReqBody>,
        entered: Entered,
        placed: Placed,
        settings: Arc<Settings>,
    ) -> Self {
        let (parts, body) = request.into_parts();
        let guesses = placed.body == BodyPlan::Guess;
        Self {
            service,
            request: Request::from_parts(parts, ()),
            entered,
            placed,
            reading: Reading::new(body, settings.body_limit, guesses),
            settings,
        }
    }

    fn go_on<ResBody>(mut self, end: End) -> State<S, ReqBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        ResBody: DenialBody,
    {
        let context = self.entered.context(&self.request);
        match self.judge(end, context) {
            Err(denial) => State::Refused {
                response: Some(context.refuse(denial)),
            },
            Ok(claimed) => {
                note_claim(context, self.placed.owner, self.placed.claimed || claimed);
                let request = self.request.map(|()| self.reading.into_body());
                State::Forwarded {
                    inner: self.service.call(request),
                    entered: self.entered,
                }
            }
        }
    }

    fn judge(&self, end: End, context: &AccessContext) -> Result<bool, Denial> {
        match (end, self.settings.over_limit) {
            (End::NoJson, _) | (End::OverLimit, OverLimit::Pass) => Ok(false),
            (End::Broken, _) | (End::OverLimit, OverLimit::Refuse) => {
                Err(Reason::MalformedRequest.into())
            }
            (End::Complete, _) => {
                let document = self.reading.document();
                if document.is_empty() {
                    return Ok(false);
                }
                let claims = &self.settings.claims;
                claims.check_document(&document, context, &self.placed.owner)
            }
        }
    }
}

const POLLED_AGAIN: &str = "a future is not polled after it was ready";
