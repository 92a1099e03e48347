//! A request behind a guard, from the decision to the answer.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::DenialBody;
use crate::guard::{Guard, Verdict, Wait, Waiting};
use crate::{AccessContext, Denial};

pin_project! {
    /// A request's way past a [`Guard`]: the inner service's answer, a refusal that is ready at once,
    /// or the wait for a decision and then one of the two. Dropped while it waits, it never calls the
    /// inner service.
    ///
    /// It is the part of a guarded service that decides and answers; [`Guarded`](crate::Guarded) is
    /// made of it, and so is a service that does more around a request. Such a service makes the
    /// request's record ([`Edge::enter`](crate::Edge::enter)), and gives each answer what waits for it
    /// ([`AccessContext::finish`]).
    pub struct Course<S, F, ReqBody, ResBody> {
        #[pin]
        state: State<S, F, ReqBody, ResBody>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, F, ReqBody, ResBody> {
        Running { #[pin] future: F },
        Refused { response: Option<Response<ResBody>> },
        // Off the hot path, and boxed so that the hot path's future stays small.
        Waiting { held: Option<Box<Held<S, ReqBody>>> },
    }
}

/// A request that waits for its decision, and what it then needs.
struct Held<S, B> {
    waiting: Waiting<B>,
    /// Polled ready.
    inner: S,
}

impl<S, ReqBody> Held<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn go_on<ResBody: DenialBody>(
        mut self,
        context: &AccessContext,
        decided: Result<Request<ReqBody>, Denial>,
    ) -> State<S, S::Future, ReqBody, ResBody> {
        match decided {
            Ok(request) => State::Running {
                future: self.inner.call(request),
            },
            Err(denial) => State::Refused {
                response: Some(context.refuse(denial)),
            },
        }
    }
}

impl<S, F, ReqBody, ResBody> Course<S, F, ReqBody, ResBody> {
    /// A course that ends with this answer.
    #[inline]
    pub const fn ending(response: Response<ResBody>) -> Self {
        let response = Some(response);
        Self {
            state: State::Refused { response },
        }
    }
}

impl<S, ReqBody, ResBody> Course<S, S::Future, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: Send + 'static,
    ResBody: DenialBody,
{
    /// Asks `guard`, and calls `inner`, which was polled ready, where the request may go on at once.
    #[inline]
    pub fn begin<G>(
        guard: &G,
        inner: &mut S,
        request: Request<ReqBody>,
        context: &AccessContext,
    ) -> Self
    where
        S: Clone,
        G: Guard<ReqBody>,
    {
        let state = match guard.check(&request, context) {
            Verdict::Pass => State::Running {
                future: inner.call(request),
            },
            Verdict::Refuse(denial) => return Self::ending(context.refuse(denial)),
            Verdict::Wait(wait) => Self::wait(wait, inner, request),
        };
        Self { state }
    }

    #[cold]
    fn wait(
        wait: Wait<ReqBody>,
        inner: &mut S,
        request: Request<ReqBody>,
    ) -> State<S, S::Future, ReqBody, ResBody>
    where
        S: Clone,
    {
        // The service that was polled ready goes with the request; its clone, which is not ready,
        // stays here to be polled before the next call.
        let clone = inner.clone();
        let held = Held {
            inner: mem::replace(inner, clone),
            waiting: wait.begin(request),
        };
        State::Waiting {
            held: Some(Box::new(held)),
        }
    }
}

impl<S, ReqBody, ResBody> Course<S, S::Future, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: DenialBody,
{
    /// The answer, or the refusal. `context` is the one that the course began with.
    ///
    /// # Panics
    /// When it is polled again after it was ready.
    #[inline]
    pub fn poll_answer(
        self: Pin<&mut Self>,
        context: &AccessContext,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ResBody>, S::Error>> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                Projected::Running { future } => return future.poll(cx),
                Projected::Refused { response } => {
                    return Poll::Ready(Ok(response.take().expect(POLLED_AGAIN)));
                }
                Projected::Waiting { held } => {
                    let waiting = &mut held.as_mut().expect(POLLED_AGAIN).waiting;
                    let decided = ready!(waiting.as_mut().poll(cx));
                    let held = held.take().expect(POLLED_AGAIN);
                    state.set(held.go_on(context, decided));
                }
            }
        }
    }
}

impl<S, F, ReqBody, ResBody> Course<S, F, ReqBody, ResBody> {
    /// The answer that the course was made with ([`Course::ending`]).
    ///
    /// # Panics
    /// When it was made with a request, or polled before.
    pub fn poll_ending<E>(self: Pin<&mut Self>) -> Poll<Result<Response<ResBody>, E>> {
        match self.project().state.project() {
            Projected::Refused { response } => {
                Poll::Ready(Ok(response.take().expect(POLLED_AGAIN)))
            }
            _ => panic!("{POLLED_AGAIN}"),
        }
    }
}

impl<S, F, ReqBody, ResBody> fmt::Debug for Course<S, F, ReqBody, ResBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            State::Running { .. } => "running",
            State::Refused { .. } => "refused",
            State::Waiting { .. } => "waiting",
        })
    }
}

const POLLED_AGAIN: &str = "a future is not polled after it was ready";
