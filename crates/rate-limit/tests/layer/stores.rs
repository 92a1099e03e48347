//! Stores that answer late, wrongly, in part or never.

use super::*;

/// A store that answers later, and fails when it is told to.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    counters: LocalLimits,
    fails: Arc<AtomicBool>,
    asked: AtomicUsize,
}

impl LimitStore for Remote {
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return LimitFuture::later(async { Err(StoreError::new(StoreErrorKind::Unavailable)) });
        }
        let answer = self.counters.check(request);
        LimitFuture::later(async move {
            tokio::task::yield_now().await;
            answer.resolve().await
        })
    }
}

#[tokio::test]
async fn a_store_that_answers_later_is_waited_for() {
    let probe = ReadinessProbe::default();
    let store = Arc::new(Remote::default());
    let mut service = RateLimitLayer::new(policies(), Arc::clone(&store)).layer(probe.clone());
    for status in [200, 200, 429] {
        let (response, _) = call(&mut service, request(1)).await;
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("ratelimit"));
    }
    assert_eq!((probe.calls(), store.asked.load(Ordering::SeqCst)), (2, 3));
}

#[tokio::test]
async fn while_the_store_is_down_local_counters_decide_with_a_share() {
    let store = Remote::default();
    let fails = Arc::clone(&store.fails);
    let policies = Policies::new([Policy::new("key", Dimension::Key, hourly(6))]).unwrap();
    let layer = RateLimitLayer::new(policies, store);
    let mut service = layer.layer(ReadinessProbe::default());
    // A second service of the same layer shares the fallback's counters.
    let mut other = layer.clone().layer(ReadinessProbe::default());
    fails.store(true, Ordering::SeqCst);
    for i in 0..5 {
        let service = if i % 2 == 0 { &mut service } else { &mut other };
        let (response, context) = call(service, request(1)).await;
        assert_eq!(
            response.status(),
            if i < 3 { 200 } else { 429 },
            "request {i}"
        );
        assert!(context.limit().unwrap().fallback);
        let policy = context.limit().unwrap().policy.as_deref();
        assert_eq!(policy, (i >= 3).then_some("key"));
    }
    fails.store(false, Ordering::SeqCst);
    let (response, context) = call(&mut service, request(1)).await;
    assert_eq!((response.status().as_u16(), context.limit()), (200, None));
}

#[tokio::test]
async fn a_store_that_is_down_can_close_or_open_the_door() {
    let cases = [
        (StoreFailure::fail_closed(), 503, 0),
        (StoreFailure::insecure_fail_open(), 200, 1),
    ];
    for (setting, status, calls) in cases {
        let store = Remote::default();
        store.fails.store(true, Ordering::SeqCst);
        let probe = ReadinessProbe::default();
        let layer = RateLimitLayer::new(policies(), store).on_store_failure(setting);
        let (response, context) = call(&mut layer.layer(probe.clone()), request(1)).await;
        assert_eq!((response.status().as_u16(), probe.calls()), (status, calls));
        if status == 503 {
            assert_eq!(response.headers()["retry-after"], "1");
            let reason = context.denial().unwrap().reason();
            assert_eq!(reason, Reason::LimitStoreUnavailable);
        } else {
            assert!(context.limit().unwrap().fallback);
        }
    }
}

#[tokio::test]
async fn each_policy_says_what_happens_to_it_while_the_store_is_down() {
    let key = || Policy::new("key", Dimension::Key, hourly(6));
    let company = || Policy::new("company", Dimension::Company, hourly(2));
    let open = StoreFailure::insecure_fail_open();
    let closed = StoreFailure::fail_closed();
    let whole = StoreFailure::local(1.0).unwrap();
    // The policies, what the layer is set to, and how many of eight requests pass.
    let cases = [
        ([key(), company()], StoreFailure::default(), 1),
        (
            [key(), company().on_store_failure(open)],
            StoreFailure::default(),
            3,
        ),
        (
            [
                key().on_store_failure(whole),
                company().on_store_failure(open),
            ],
            closed,
            6,
        ),
        ([key(), company().on_store_failure(closed)], open, 0),
        ([key(), company()], open, 8),
    ];
    for (policies, otherwise, passing) in cases {
        let store = Remote::default();
        store.fails.store(true, Ordering::SeqCst);
        let probe = ReadinessProbe::default();
        let layer = RateLimitLayer::new(Policies::new(policies).unwrap(), store);
        let mut service = layer.on_store_failure(otherwise).layer(probe.clone());
        for i in 0..8 {
            let (response, context) = call(&mut service, request(1)).await;
            let refused = if passing == 0 { 503 } else { 429 };
            let expected = if i < passing { 200 } else { refused };
            assert_eq!(response.status(), expected, "request {i}, {otherwise:?}");
            if expected != 503 {
                assert!(context.limit().unwrap().fallback);
            }
        }
        assert_eq!(probe.calls(), passing);
    }
}

/// Answers about fewer limits than it was asked about.
#[derive(Debug)]
struct Forgetful;

impl LimitStore for Forgetful {
    fn check(&self, _: &LimitRequest<'_>) -> LimitFuture {
        countersign_rate_limit::LimitDecision::new([]).into()
    }
}

#[tokio::test]
async fn an_answer_about_some_of_the_limits_is_a_failure() {
    let probe = ReadinessProbe::default();
    let layer =
        RateLimitLayer::new(policies(), Forgetful).on_store_failure(StoreFailure::fail_closed());
    let (response, _) = call(&mut layer.layer(probe.clone()), request(1)).await;
    assert_eq!((response.status().as_u16(), probe.calls()), (503, 0));
}

#[tokio::test]
async fn a_full_store_refuses_whatever_is_set() {
    for setting in [StoreFailure::default(), StoreFailure::insecure_fail_open()] {
        let probe = ReadinessProbe::default();
        let layer = RateLimitLayer::new(policies(), LocalLimits::with_capacity(2))
            .on_store_failure(setting);
        let mut service = layer.layer(probe.clone());
        assert_eq!(call(&mut service, request(1)).await.0.status(), 200);
        let (response, context) = call(&mut service, request(2)).await;
        assert_eq!(response.status(), 503);
        assert_eq!(
            context.denial().unwrap().reason(),
            Reason::LimitStoreUnavailable
        );
        assert_eq!(
            call(&mut service, request(1)).await.0.status(),
            200,
            "who has counters stays"
        );
        assert_eq!(probe.calls(), 2);
    }
}

#[derive(Debug)]
struct Silent;

impl LimitStore for Silent {
    fn check(&self, _: &LimitRequest<'_>) -> LimitFuture {
        LimitFuture::later(std::future::pending())
    }
}

#[tokio::test]
async fn a_future_that_is_dropped_half_way_calls_nobody_and_breaks_nothing() {
    let once = |future: &mut (dyn Future<Output = _> + Unpin)| {
        let mut cx = Context::from_waker(Waker::noop());
        let poll: Poll<Result<Response<Body>, Infallible>> = Pin::new(future).poll(&mut cx);
        assert!(poll.is_pending());
    };
    let probe = ReadinessProbe::default();
    let mut service = RateLimitLayer::new(policies(), Silent).layer(probe.clone());
    let mut waiting = Box::pin(start(&mut service, request(1)).await);
    once(&mut waiting);
    drop(waiting);
    assert_eq!(probe.calls(), 0);
    // The service can still be called, once it was polled ready again.
    let waiting = start(&mut service, request(1)).await;
    drop(waiting);

    let mut service = RateLimitLayer::new(policies(), LocalLimits::new()).layer(NeverAnswers);
    let mut forwarded = Box::pin(start(&mut service, request(1)).await);
    once(&mut forwarded);
    drop(forwarded);
    let second = start(&mut service, request(1)).await;
    drop(second);
}
