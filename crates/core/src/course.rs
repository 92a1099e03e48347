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
        Asked { request: Option<Request<ReqBody>> },
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
    /// The course of a request that nobody has decided on. It moves once, into its future: whatever
    /// holds a course begins it there.
    #[inline]
    pub const fn of(request: Request<ReqBody>) -> Self {
        let request = Some(request);
        Self {
            state: State::Asked { request },
        }
    }

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
    /// A course that has begun stays as it is.
    #[inline]
    pub fn begin<G>(&mut self, guard: &G, inner: &mut S, context: &AccessContext)
    where
        S: Clone,
        G: Guard<ReqBody>,
    {
        let State::Asked { request: place } = &mut self.state else {
            return;
        };
        let Some(request) = place else { return };
        let verdict = guard.check(request, context);
        let Some(request) = place.take() else { return };
        match verdict {
            Verdict::Pass => {
                let future = inner.call(request);
                self.state = State::Running { future };
            }
            Verdict::Refuse(denial) => *self = Self::ending(context.refuse(denial)),
            Verdict::Wait(wait) => self.state = Self::wait(wait, inner, request),
        }
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
    /// When it is polled before it began, or again after it was ready.
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
                Projected::Asked { .. } => panic!("a course is begun before it is polled"),
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
            State::Asked { .. } => "asked",
            State::Running { .. } => "running",
            State::Refused { .. } => "refused",
            State::Waiting { .. } => "waiting",
        })
    }
}

const POLLED_AGAIN: &str = "a future is not polled after it was ready";
