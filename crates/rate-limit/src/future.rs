//! The future of the service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use countersign_core::body::DenialBody;
use countersign_core::{AccessContext, Denial, Entered};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::fields::Fields;
use crate::limiter::{Limiter, Pending};

pin_project! {
    /// The inner service's answer, a refusal that is ready at once, or the wait for a store and
    /// then one of the two. Dropped while it waits, it never calls the inner service; what the
    /// store took by then stays taken.
    pub struct ResponseFuture<S, F, ReqBody, ResBody> {
        #[pin]
        state: State<S, F, ReqBody, ResBody>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, F, ReqBody, ResBody> {
        Forwarded { #[pin] inner: F, entered: Entered, fields: Option<Fields> },
        Refused { response: Option<Response<ResBody>> },
        // Off the hot path, and boxed so that the hot path's future stays small.
        Waiting { waiting: Option<Box<Waiting<S, ReqBody>>> },
    }
}

/// A request whose store must be waited for.
pub(crate) struct Waiting<S, ReqBody> {
    pub(crate) pending: Pending,
    pub(crate) inner: S,
    pub(crate) request: Request<ReqBody>,
    pub(crate) entered: Entered,
    pub(crate) limiter: Arc<Limiter>,
}

impl<S, F, ReqBody, ResBody> ResponseFuture<S, F, ReqBody, ResBody> {
    pub(crate) const fn forwarded(inner: F, entered: Entered, fields: Option<Fields>) -> Self {
        Self {
            state: State::Forwarded {
                inner,
                entered,
                fields,
            },
        }
    }

    pub(crate) fn waiting(waiting: Waiting<S, ReqBody>) -> Self {
        Self {
            state: State::Waiting {
                waiting: Some(Box::new(waiting)),
            },
        }
    }
}

impl<S, F, ReqBody, ResBody: DenialBody> ResponseFuture<S, F, ReqBody, ResBody> {
    pub(crate) fn refused(context: &AccessContext, denial: Denial, fields: Option<Fields>) -> Self {
        let mut response = context.refuse(denial);
        if let Some(fields) = fields {
            fields.write(response.headers_mut());
        }
        Self {
            state: State::Refused {
                response: Some(response),
            },
        }
    }
}

impl<S, ReqBody> Waiting<S, ReqBody> {
    /// Goes on with the request now that the store has spoken.
    fn resume<ResBody>(
        mut self,
        checked: crate::limiter::Checked,
    ) -> ResponseFuture<S, S::Future, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        ResBody: DenialBody,
    {
        let context = self.entered.context(&self.request);
        let answer = self.limiter.end(context, checked);
        match answer.denial {
            None => {
                let inner = self.inner.call(self.request);
                ResponseFuture::forwarded(inner, self.entered, answer.fields)
            }
            Some(denial) => ResponseFuture::refused(context, denial, answer.fields),
        }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, S::Future, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: DenialBody,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project().state.project() {
                Projected::Forwarded {
                    inner,
                    entered,
                    fields,
                } => {
                    let mut response = ready!(inner.poll(cx))?;
                    entered.settle(&mut response);
                    if let Some(fields) = fields.take() {
                        fields.write(response.headers_mut());
                    }
                    return Poll::Ready(Ok(response));
                }
                Projected::Refused { response } => {
                    return Poll::Ready(Ok(response.take().expect(AFTER_READY)));
                }
                Projected::Waiting { waiting } => {
                    let pending = &mut waiting.as_mut().expect(AFTER_READY).pending;
                    let checked = ready!(pending.as_mut().poll(cx));
                    let waiting = waiting.take().expect(AFTER_READY);
                    self.set(waiting.resume(checked));
                }
            }
        }
    }
}

impl<S, F, ReqBody, ResBody> fmt::Debug for ResponseFuture<S, F, ReqBody, ResBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Forwarded { .. } => "forwarded",
            State::Refused { .. } => "refused",
            State::Waiting { .. } => "waiting",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

const AFTER_READY: &str = "a future is not polled after it was ready";
