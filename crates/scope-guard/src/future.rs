//! The future of both services.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use countersign_core::Entered;
use countersign_core::body::DenialBody;
use http::Response;
use pin_project_lite::pin_project;

pin_project! {
    /// The inner service's answer, or a refusal that is ready at once.
    pub struct ResponseFuture<F, ResBody> {
        #[pin]
        state: State<F, ResBody>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, ResBody> {
        Forwarded { #[pin] inner: F, entered: Entered },
        Refused { response: Option<Response<ResBody>> },
    }
}

impl<F, ResBody> ResponseFuture<F, ResBody> {
    pub(crate) fn forwarded(inner: F, entered: Entered) -> Self {
        Self {
            state: State::Forwarded { inner, entered },
        }
    }

    pub(crate) fn refused(response: Response<ResBody>) -> Self {
        Self {
            state: State::Refused {
                response: Some(response),
            },
        }
    }
}

impl<F, ResBody, E> Future for ResponseFuture<F, ResBody>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: DenialBody,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().state.project() {
            Projected::Forwarded { inner, entered } => {
                let mut response = ready!(inner.poll(cx))?;
                entered.settle(&mut response);
                Poll::Ready(Ok(response))
            }
            Projected::Refused { response } => Poll::Ready(Ok(response
                .take()
                .expect("a future is not polled after it was ready"))),
        }
    }
}

impl<F, ResBody> fmt::Debug for ResponseFuture<F, ResBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Forwarded { .. } => "forwarded",
            State::Refused { .. } => "refused",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
