//! The future of [`Audit`](crate::Audit).

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_core::body::{DenialBody, WatchBody};
use countersign_core::{Course, Guard};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::recording::Recording;

pin_project! {
    /// An answer that is recorded on its way out; that of a gRPC call when its body is over. Dropped
    /// before that, the request is recorded as failed, `client_disconnected`.
    pub struct ResponseFuture<S, F, ReqBody, ResBody> {
        #[pin]
        course: Course<S, F, ReqBody, ResBody>,
        // After the request itself, which is dropped first. None where the answer is recorded.
        recording: Option<Recording>,
    }
}

impl<S, ReqBody, ResBody> ResponseFuture<S, S::Future, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ReqBody: Send + 'static,
    ResBody: DenialBody + WatchBody,
{
    /// A request on its way to `inner`, past `guard`.
    #[inline]
    pub(crate) fn begin<G: Guard<ReqBody>>(
        guard: &G,
        inner: &mut S,
        request: Request<ReqBody>,
        recording: Recording,
    ) -> Self {
        let context = recording.context();
        let begin = || Course::begin(guard, inner, request, context);
        match catch_unwind(AssertUnwindSafe(begin)) {
            Ok(course) => Self {
                course,
                recording: Some(recording),
            },
            Err(_) => Self::panicked(recording),
        }
    }

    #[cold]
    fn panicked(recording: Recording) -> Self {
        let response = recording.panicked();
        Self::refused(leave(recording, response))
    }
}

/// Gives the answer what waits for it, and records it.
#[inline]
fn leave<B: DenialBody + WatchBody>(
    recording: Recording,
    mut response: Response<B>,
) -> Response<B> {
    recording.context().finish(&mut response);
    recording.context().settle(&mut response);
    recording.answered(response)
}

impl<S, F, ReqBody, ResBody> ResponseFuture<S, F, ReqBody, ResBody> {
    /// An answer that is recorded, or can't be.
    pub(crate) const fn refused(response: Response<ResBody>) -> Self {
        Self {
            course: Course::ending(response),
            recording: None,
        }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, S::Future, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: DenialBody + WatchBody,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (course, recording) = (this.course, this.recording);
        // A future that panicked is never polled again: its recording is gone then.
        let polled = match recording {
            Some(recording) => {
                let context = recording.context();
                catch_unwind(AssertUnwindSafe(|| course.poll_answer(context, cx)))
            }
            None => return course.poll_ending(),
        };
        if matches!(polled, Ok(Poll::Pending)) {
            return Poll::Pending;
        }
        let recording = recording.take().expect(POLLED_AGAIN);
        let response = match polled {
            Ok(Poll::Ready(Ok(response))) => response,
            Ok(Poll::Ready(Err(error))) => {
                recording.service_failed();
                return Poll::Ready(Err(error));
            }
            Ok(Poll::Pending) | Err(_) => recording.panicked(),
        };
        Poll::Ready(Ok(leave(recording, response)))
    }
}

impl<S, F, ReqBody, ResBody> fmt::Debug for ResponseFuture<S, F, ReqBody, ResBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

const POLLED_AGAIN: &str = "a future is not polled after it was ready";
