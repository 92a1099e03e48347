//! The local store passes the suite, and a store that only seems to limit does not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_core::StoreError;
use countersign_rate_limit::gcra::{Verdict, decide};
use countersign_rate_limit::{
    LimitDecision, LimitFuture, LimitOutcome, LimitRequest, LimitStore, LocalLimits, conformance,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_local_store_passes() {
    conformance::run(Arc::new(LocalLimits::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_answers_later_passes() {
    conformance::run(Arc::new(Later(Arc::new(LocalLimits::new())))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_counts_limit_by_limit_fails() {
    let store: Arc<dyn LimitStore> = Arc::new(OneByOne::default());
    conformance::a_quota_admits_exactly_its_burst(&store).await;
    let suite = tokio::spawn(async move { conformance::a_refusal_takes_nothing(&store).await });
    assert!(suite.await.unwrap_err().is_panic());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_counts_limit_by_limit_fails_in_a_crowd() {
    let store: Arc<dyn LimitStore> = Arc::new(OneByOne::default());
    let suite = tokio::spawn(async move { conformance::all_or_nothing_in_a_crowd(&store).await });
    assert!(suite.await.unwrap_err().is_panic());
}

/// All limits are looked at before anything is taken, so one request at a time is decided rightly:
/// only a crowd shows that looking and taking are two steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_looks_and_then_takes_fails_in_a_crowd_alone() {
    let store: Arc<dyn LimitStore> = Arc::new(LooksFirst(Arc::default()));
    conformance::a_refusal_takes_nothing(&store).await;
    conformance::a_quota_admits_exactly_its_burst(&store).await;
    let suite = tokio::spawn(async move { conformance::all_or_nothing_in_a_crowd(&store).await });
    assert!(suite.await.unwrap_err().is_panic());
}

/// A store behind a network, as far as the caller can tell.
#[derive(Debug)]
struct Later(Arc<LocalLimits>);

impl LimitStore for Later {
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture {
        let answer = self.0.check(request);
        LimitFuture::later(async move {
            tokio::task::yield_now().await;
            answer.resolve().await
        })
    }
}

/// Looks at all counters, waits as for a network, and takes.
#[derive(Debug)]
struct LooksFirst(Arc<Mutex<HashMap<String, u64>>>);

impl LimitStore for LooksFirst {
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture {
        let now = request.received().monotonic.as_nanos();
        let names = request.limits().map(|it| request.key(&it).to_string());
        let draws: Vec<_> = names.zip(request.limits()).collect();
        let tat = |name: &String| self.0.lock().unwrap().get(name).copied().unwrap_or(0);
        let verdicts = draws
            .iter()
            .map(|(name, limit)| decide(tat(name), now, limit.quota(), limit.cost()));
        let verdicts: Vec<Verdict> = verdicts.collect();
        let allowed = verdicts.iter().all(|verdict| verdict.allowed);
        let increments = draws.iter().map(|(name, limit)| {
            let nanos = limit.quota().interval_nanos() * u64::from(limit.cost());
            (name.clone(), nanos)
        });
        let increments: Vec<_> = increments.filter(|_| allowed).collect();
        let counters = Arc::clone(&self.0);
        LimitFuture::later(async move {
            tokio::task::yield_now().await;
            let mut counters = counters.lock().unwrap();
            for (name, nanos) in increments {
                let tat = counters.entry(name).or_default();
                *tat = now.max(*tat) + nanos;
            }
            LimitDecision::new(verdicts.into_iter().map(LimitOutcome::from))
        })
    }
}

/// Takes from one counter after the other, and keeps what it took.
#[derive(Debug, Default)]
struct OneByOne(Mutex<HashMap<String, u64>>);

impl LimitStore for OneByOne {
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture {
        let now = request.received().monotonic.as_nanos();
        let draw = |limit: countersign_rate_limit::Limit<'_>| {
            let mut counters = self.0.lock().unwrap();
            let tat = counters.entry(request.key(&limit).to_string()).or_default();
            let verdict = decide(*tat, now, limit.quota(), limit.cost());
            *tat = verdict.new_tat;
            let reset = Duration::from_nanos(verdict.reset_after_ns);
            if verdict.allowed {
                LimitOutcome::allowed(verdict.remaining, reset)
            } else {
                let wait = Duration::from_nanos(verdict.retry_after_ns);
                LimitOutcome::refused(verdict.remaining, reset, Some(wait))
            }
        };
        let decision: Result<LimitDecision, StoreError> =
            LimitDecision::new(request.limits().map(draw));
        decision.into()
    }
}
