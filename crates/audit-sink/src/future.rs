//! The future of [`Audit`](crate::Audit).

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_core::body::{DenialBody, WatchBody};
use http::Response;
use pin_project_lite::pin_project;

use crate::recording::Recording;

pin_project! {
    /// An answer that is recorded on its way out; that of a gRPC call when its body is over. Dropped
    /// before that, the request is recorded as failed, `client_disconnected`.
    pub struct ResponseFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B> {
        Running {
            #[pin]
            future: F,
            recording: Option<Recording>,
        },
        Refused { response: Option<Response<B>> },
    }
}

impl<F, B> ResponseFuture<F, B> {
    pub(crate) const fn running(future: F, recording: Recording) -> Self {
        Self {
            state: State::Running {
                future,
                recording: Some(recording),
            },
        }
    }

    pub(crate) const fn refused(response: Response<B>) -> Self {
        Self {
            state: State::Refused {
                response: Some(response),
            },
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: DenialBody + WatchBody,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Refused { response } => {
                Poll::Ready(Ok(response.take().expect(POLLED_AGAIN)))
            }
            StateProj::Running { future, recording } => {
                // A future that panicked is never polled again: its recording is gone then.
                let polled = catch_unwind(AssertUnwindSafe(|| future.poll(cx)));
                if matches!(polled, Ok(Poll::Pending)) {
                    return Poll::Pending;
                }
                let recording = recording.take().expect(POLLED_AGAIN);
                let mut response = match polled {
                    Ok(Poll::Ready(Ok(response))) => response,
                    Ok(Poll::Ready(Err(error))) => {
                        recording.service_failed();
                        return Poll::Ready(Err(error));
                    }
                    Ok(Poll::Pending) | Err(_) => recording.panicked(),
                };
                recording.context().settle(&mut response);
                Poll::Ready(Ok(recording.answered(response)))
            }
        }
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

const POLLED_AGAIN: &str = "a future is not polled after it was ready";
