//! The future of an answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use countersign_core::body::DenialBody;
use countersign_core::{Denial, Entered};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// The answer of a [`KeyVerify`](crate::KeyVerify) service.
    pub struct ResponseFuture<S, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>>,
    {
        entered: Entered,
        #[pin]
        state: State<S, ReqBody, ResBody, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, ReqBody, ResBody, F> {
        // refused → done
        Refused { response: Option<Response<ResBody>> },
        // asking → refused, or calling
        Asking {
            answer: Answer,
            // Boxed, so that the usual case does not carry the room for it.
            held: Option<Box<(S, Request<ReqBody>)>>,
        },
        // calling → done
        Calling { #[pin] future: F },
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<(), Denial>> + Send>>;

impl<S, ReqBody, ResBody> ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(crate) const fn refused(entered: Entered, response: Response<ResBody>) -> Self {
        let response = Some(response);
        Self {
            entered,
            state: State::Refused { response },
        }
    }

    pub(crate) const fn calling(entered: Entered, future: S::Future) -> Self {
        Self {
            entered,
            state: State::Calling { future },
        }
    }

    pub(crate) fn asking(
        entered: Entered,
        answer: Answer,
        ready: S,
        request: Request<ReqBody>,
    ) -> Self {
        let held = Some(Box::new((ready, request)));
        Self {
            entered,
            state: State::Asking { answer, held },
        }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: DenialBody,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Refused { response } => {
                    let response = response
                        .take()
                        .expect("a future is not polled after its end");
                    return Poll::Ready(Ok(response));
                }
                StateProj::Calling { future } => {
                    let mut response = ready!(future.poll(cx))?;
                    this.entered.settle(&mut response);
                    return Poll::Ready(Ok(response));
                }
                StateProj::Asking { answer, held } => {
                    let answer = ready!(answer.as_mut().poll(cx));
                    let held = held.take().expect("a future is not polled after its end");
                    let (mut ready, request) = *held;
                    match answer {
                        Ok(()) => State::Calling {
                            future: ready.call(request),
                        },
                        Err(denial) => {
                            let response = this.entered.context(&request).refuse(denial);
                            State::Refused {
                                response: Some(response),
                            }
                        }
                    }
                }
            };
            this.state.set(next);
        }
    }
}

impl<S, ReqBody, ResBody> fmt::Debug for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
