use std::convert::Infallible;
use std::pin::pin;
use std::sync::Mutex;
use std::task::Waker;

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::Full;
use static_assertions::{assert_impl_all, assert_not_impl_any};

use super::*;
use crate::testing::{NeverAnswers, ReadinessProbe};
use crate::{RateLimitFields, Reason};

type Body = Full<Bytes>;
type Probed<F> = GuardedFuture<ReadinessProbe, F, Body, Body>;

assert_impl_all!(Guarded<ReadinessProbe, Scripted>: Clone, Send, Sync, fmt::Debug);
assert_impl_all!(Probed<std::future::Ready<()>>: Send, Unpin, fmt::Debug);
assert_not_impl_any!(Probed<std::marker::PhantomPinned>: Unpin);

/// Decides as it was told, and takes down that it was asked.
#[derive(Debug, Clone)]
struct Scripted {
    name: &'static str,
    script: Script,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

#[derive(Debug, Clone, Copy)]
enum Script {
    Pass,
    Refuse,
    PassLater,
    RefuseLater,
    Never,
}

impl<B: Send + 'static> Guard<B> for Scripted {
    fn check(&self, _: &Request<B>, context: &AccessContext) -> Verdict<B> {
        self.asked.lock().unwrap().push(self.name);
        let later = |decision: Result<(), Denial>| Verdict::Wait(Wait::until(async { decision }));
        let denial = || Reason::ScopeMissing.into();
        match self.script {
            Script::Pass => Verdict::Pass,
            Script::Refuse => {
                context.show_limits(RateLimitFields {
                    policy: HeaderValue::from_static("policy"),
                    limit: HeaderValue::from_static("limit"),
                    classic: None,
                });
                Verdict::Refuse(denial())
            }
            Script::PassLater => later(Ok(())),
            Script::RefuseLater => later(Err(denial())),
            Script::Never => Verdict::Wait(Wait::until(std::future::pending())),
        }
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What a stack of three guards answers, whom it asked, and how often it called.
fn through(scripts: [Script; 3]) -> (Option<Response<Body>>, Vec<&'static str>, usize) {
    let asked = Arc::default();
    let [first, second, third] = ["first", "second", "third"].map(|name| Scripted {
        name,
        script: scripts[["first", "second", "third"]
            .iter()
            .position(|n| *n == name)
            .unwrap()],
        asked: Arc::clone(&asked),
    });
    let probe = ReadinessProbe::default();
    let guards = Then(Then(first, second), third);
    let mut service = Guarded::new(probe.clone(), guards, Edge::default());
    let mut context = Context::from_waker(Waker::noop());
    let ready: Poll<Result<(), Infallible>> =
        Service::<Request<Body>>::poll_ready(&mut service, &mut context);
    assert!(ready.is_ready());
    let answer = {
        let mut future = pin!(service.call(Request::new(Body::default())));
        match poll(future.as_mut()) {
            Poll::Ready(Ok(response)) => Some(response),
            Poll::Pending => None,
        }
    };
    let asked = asked.lock().unwrap().clone();
    (answer, asked, probe.calls())
}

#[test]
fn guards_are_asked_in_their_order_and_the_ready_service_is_called() {
    use Script::{Pass, PassLater};
    for scripts in [
        [Pass, Pass, Pass],
        [PassLater, Pass, Pass],
        [Pass, PassLater, Pass],
        [Pass, Pass, PassLater],
        [PassLater, PassLater, PassLater],
    ] {
        let (answer, asked, calls) = through(scripts);
        assert_eq!(answer.unwrap().status(), 200);
        assert_eq!(asked, ["first", "second", "third"]);
        assert_eq!(calls, 1);
    }
}

#[test]
fn nobody_behind_a_refusal_is_asked_or_called() {
    use Script::{Pass, PassLater, Refuse, RefuseLater};
    for before in [Pass, PassLater] {
        for refusal in [Refuse, RefuseLater] {
            let (answer, asked, calls) = through([before, refusal, Pass]);
            assert_eq!(answer.unwrap().status(), 403);
            assert_eq!(asked, ["first", "second"]);
            assert_eq!(calls, 0);
        }
    }
}

#[test]
fn a_refusal_carries_the_fields_that_were_given() {
    let (answer, ..) = through([Script::Pass, Script::Refuse, Script::Pass]);
    let answer = answer.unwrap();
    assert_eq!(answer.headers()["ratelimit"], "limit");
    assert_eq!(answer.headers()["ratelimit-policy"], "policy");
    assert!(answer.headers().contains_key("x-request-id"));
}

#[test]
fn a_request_that_is_dropped_while_it_waits_is_never_handled() {
    let (answer, asked, calls) = through([Script::Pass, Script::Never, Script::Pass]);
    assert!(answer.is_none());
    assert_eq!(asked, ["first", "second"]);
    assert_eq!(calls, 0);
}

#[test]
fn a_request_that_is_dropped_while_it_is_handled_ends_there() {
    let asked = Arc::default();
    let guard = Scripted {
        name: "only",
        script: Script::PassLater,
        asked,
    };
    let mut service = Guarded::new(NeverAnswers, guard, Edge::default());
    let mut future = Box::pin(service.call(Request::new(Body::default())));
    assert!(poll(future.as_mut()).is_pending());
    assert!(format!("{future:?}").contains("running"));
}

/// Keeps something for the time of the request, and then decides as it was told.
#[derive(Debug)]
struct Keeps(Arc<()>, Scripted);

impl<B: Send + 'static> Guard<B> for Keeps {
    fn check(&self, request: &Request<B>, context: &AccessContext) -> Verdict<B> {
        context.hold(Arc::clone(&self.0));
        self.1.check(request, context)
    }
}

/// What is left of what was kept, after the first poll and after the future is dropped.
fn kept<S>(inner: S, script: Script) -> [usize; 2]
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let thing = Arc::new(());
    let scripted = Scripted {
        name: "only",
        script,
        asked: Arc::default(),
    };
    let mut request = Request::new(Body::default());
    // The record outlives the request.
    let _record = Edge::default()
        .enter(&mut request)
        .context(&request)
        .clone();
    let guard = Keeps(Arc::clone(&thing), scripted);
    let mut service = Guarded::new(inner, guard, Edge::default());
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(ready.is_ready());
    let mut future = Box::pin(service.call(request));
    let _ = poll(future.as_mut());
    // The guard has one of its own, and so has this function.
    let left = || Arc::strong_count(&thing) - 2;
    let first = left();
    drop(future);
    [first, left()]
}

#[test]
fn what_is_kept_goes_with_the_answer_the_refusal_or_whoever_waited() {
    use Script::{Never, Pass, PassLater, Refuse, RefuseLater};
    for script in [Pass, PassLater, Refuse, RefuseLater] {
        assert_eq!(
            kept(ReadinessProbe::default(), script),
            [0, 0],
            "{script:?}"
        );
    }
    assert_eq!(kept(ReadinessProbe::default(), Never), [1, 0]);
    assert_eq!(kept(NeverAnswers, Pass), [1, 0]);
    assert_eq!(kept(NeverAnswers, PassLater), [1, 0]);
}

type ProbeFuture = <ReadinessProbe as Service<Request<Body>>>::Future;
type ProbedCourse = Course<ReadinessProbe, ProbeFuture, Body, Body>;

#[test]
fn a_course_asks_once_and_calls_the_service_that_was_ready() {
    use Script::{Never, Pass, PassLater, Refuse, RefuseLater};
    for (script, status) in [
        (Pass, Some(200)),
        (PassLater, Some(200)),
        (Refuse, Some(403)),
        (RefuseLater, Some(403)),
        (Never, None),
    ] {
        let asked = Arc::default();
        let guard = Scripted {
            name: "guard",
            script,
            asked: Arc::clone(&asked),
        };
        let mut probe = ReadinessProbe::default();
        let calls = probe.clone();
        let cx = &mut Context::from_waker(Waker::noop());
        let ready: Poll<Result<(), Infallible>> =
            Service::<Request<Body>>::poll_ready(&mut probe, cx);
        assert!(ready.is_ready());
        let mut request = Request::new(Body::default());
        let context = Edge::default().begin(&mut request);
        let course = ProbedCourse::begin(&guard, &mut probe, request, &context);
        let mut course = pin!(course);
        let answer = match course.as_mut().poll_answer(&context, cx) {
            Poll::Ready(Ok(response)) => Some(response.status().as_u16()),
            Poll::Pending => None,
        };
        assert_eq!(answer, status);
        assert_eq!(asked.lock().unwrap().len(), 1);
        assert_eq!(calls.calls(), usize::from(status == Some(200)));
    }
}

#[test]
fn a_course_that_ends_with_an_answer_gives_it() {
    let response = Response::builder().status(418).body(Body::default());
    let course = pin!(ProbedCourse::ending(response.unwrap()));
    let Poll::Ready(Ok::<_, Infallible>(answer)) = course.poll_ending() else {
        panic!("it is ready at once");
    };
    assert_eq!(answer.status(), 418);
}
