//! What all layers that decide on a request have in common: the decision, and the service that
//! acts on it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::DenialBody;
use crate::course::Course;
use crate::{AccessContext, Denial, Edge};

/// Decides whether a request may go on. It is asked with the request's record in hand, reads what
/// earlier guards filled in, and fills in its own part.
///
/// [`Guarded`] makes a service of it, and [`Then`] puts two of them into an order.
pub trait Guard<B> {
    /// Decides at once where that is possible: most requests are decided without waiting, and
    /// then nothing is boxed.
    fn check(&self, request: &Request<B>, context: &AccessContext) -> Verdict<B>;
}

/// What a [`Guard`] decided.
pub enum Verdict<B> {
    /// The request goes on.
    Pass,
    /// The request is refused.
    Refuse(Denial),
    /// Something must be waited for before there is a decision.
    Wait(Wait<B>),
}

/// A decision that takes time. It is given the request, and gives it back if it may go on.
pub struct Wait<B>(Box<dyn FnOnce(Request<B>) -> Waiting<B> + Send>);

/// A decision under way. Dropped before it is made, the request never goes on.
pub type Waiting<B> = Pin<Box<dyn Future<Output = Result<Request<B>, Denial>> + Send>>;

impl<B: Send + 'static> Wait<B> {
    /// A decision that needs the request's body.
    pub fn with_request<F>(decide: impl FnOnce(Request<B>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Request<B>, Denial>> + Send + 'static,
    {
        Self(Box::new(|request| Box::pin(decide(request))))
    }

    /// A decision that needs nothing more of the request.
    pub fn until(decision: impl Future<Output = Result<(), Denial>> + Send + 'static) -> Self {
        Self::with_request(|request| async {
            decision.await?;
            Ok(request)
        })
    }

    /// Begins to wait.
    #[must_use]
    pub fn begin(self, request: Request<B>) -> Waiting<B> {
        (self.0)(request)
    }
}

impl<B> From<Result<(), Denial>> for Verdict<B> {
    fn from(decided: Result<(), Denial>) -> Self {
        decided.map_or_else(Self::Refuse, |()| Self::Pass)
    }
}

/// No guard: every request passes.
impl<B> Guard<B> for () {
    #[inline]
    fn check(&self, _: &Request<B>, _: &AccessContext) -> Verdict<B> {
        Verdict::Pass
    }
}

/// A guard that may be left out: without one every request passes.
impl<B, G: Guard<B>> Guard<B> for Option<G> {
    #[inline]
    fn check(&self, request: &Request<B>, context: &AccessContext) -> Verdict<B> {
        match self {
            Some(guard) => guard.check(request, context),
            None => Verdict::Pass,
        }
    }
}

/// Two guards in their order: the second is asked about what the first lets through.
#[derive(Debug, Clone)]
pub struct Then<G, H>(pub G, pub H);

impl<B, G, H> Guard<B> for Then<G, H>
where
    B: Send + 'static,
    G: Guard<B>,
    H: Guard<B> + Clone + Send + Sync + 'static,
{
    #[inline]
    fn check(&self, request: &Request<B>, context: &AccessContext) -> Verdict<B> {
        match self.0.check(request, context) {
            Verdict::Pass => self.1.check(request, context),
            Verdict::Refuse(denial) => Verdict::Refuse(denial),
            Verdict::Wait(first) => self.later(first, context),
        }
    }
}

impl<G, H> Then<G, H> {
    fn later<B>(&self, first: Wait<B>, context: &AccessContext) -> Verdict<B>
    where
        B: Send + 'static,
        H: Guard<B> + Clone + Send + Sync + 'static,
    {
        let (second, context) = (self.1.clone(), context.clone());
        Verdict::Wait(Wait::with_request(|request| async move {
            let request = first.begin(request).await?;
            let next = match second.check(&request, &context) {
                Verdict::Pass => return Ok(request),
                Verdict::Refuse(denial) => return Err(denial),
                Verdict::Wait(next) => next.begin(request),
            };
            next.await
        }))
    }
}

/// A service behind a guard. The same for all layers: it enters the request, asks the guard, and
/// either calls the inner service or answers with the refusal.
#[derive(Debug)]
pub struct Guarded<S, G> {
    inner: S,
    /// A server clones its services for each request: one count, not one for each setting.
    shared: Arc<Shared<G>>,
}

#[derive(Debug)]
struct Shared<G> {
    guard: G,
    edge: Edge,
}

impl<S, G> Guarded<S, G> {
    /// `inner` behind `guard`; requests enter by `edge` where no layer saw them before.
    pub fn new(inner: S, guard: G, edge: Edge) -> Self {
        let shared = Arc::new(Shared { guard, edge });
        Self { inner, shared }
    }
}

impl<S: Clone, G> Clone for Guarded<S, G> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S, G, ReqBody, ResBody> Service<Request<ReqBody>> for Guarded<S, G>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    G: Guard<ReqBody>,
    ReqBody: Send + 'static,
    ResBody: DenialBody,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = GuardedFuture<S, S::Future, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let (context, is_first) = match AccessContext::of(&request) {
            Some(context) => (context.clone(), false),
            None => (self.shared.edge.begin(&mut request), true),
        };
        let ends = Ends {
            context,
            is_first,
            has_answered: false,
        };
        let guard = &self.shared.guard;
        GuardedFuture {
            course: Course::begin(guard, &mut self.inner, request, &ends.context),
            ends,
        }
    }
}

pin_project! {
    /// The inner service's answer, a refusal that is ready at once, or the wait for a decision and
    /// then one of the two. Dropped while it waits, it never calls the inner service.
    pub struct GuardedFuture<S, F, ReqBody, ResBody> {
        #[pin]
        course: Course<S, F, ReqBody, ResBody>,
        // After what it waits for, which is dropped first.
        ends: Ends,
    }
}

/// A request under way. What its record keeps goes with it, whether there was an answer or not.
struct Ends {
    context: AccessContext,
    is_first: bool,
    has_answered: bool,
}

impl Drop for Ends {
    fn drop(&mut self) {
        if !self.has_answered {
            self.context.let_go();
        }
    }
}

impl<S, ReqBody, ResBody> Future for GuardedFuture<S, S::Future, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: DenialBody,
{
    type Output = Result<Response<ResBody>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = this.course.poll_answer(&this.ends.context, cx);
        let mut response = ready!(answer)?;
        let ends = this.ends;
        if ends.is_first {
            ends.context.settle(&mut response);
        }
        ends.context.finish(&mut response);
        ends.has_answered = true;
        Poll::Ready(Ok(response))
    }
}

impl<S, F, ReqBody, ResBody> fmt::Debug for GuardedFuture<S, F, ReqBody, ResBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedFuture")
            .field("course", &self.course)
            .finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for Verdict<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("Pass"),
            Self::Refuse(denial) => f.debug_tuple("Refuse").field(denial).finish(),
            Self::Wait(_) => f.write_str("Wait"),
        }
    }
}

impl<B> fmt::Debug for Wait<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wait")
    }
}

#[cfg(test)]
mod tests;
