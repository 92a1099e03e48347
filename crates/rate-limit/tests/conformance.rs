//! The local store passes the suite, and a store that only seems to limit does not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_core::{Clock, Monotonic, StoreError, SystemClock};
use countersign_rate_limit::gcra::{Verdict, decide};
use countersign_rate_limit::{
    Dimension, Limit, LimitDecision, LimitFuture, LimitOutcome, LimitRequest, LimitStore,
    LocalLimits, conformance,
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

/// A store that counts rightly but for one thing: all or nothing, in one step.
#[derive(Debug)]
struct Flawed {
    flaw: Flaw,
    latest: AtomicU64,
    counters: Mutex<HashMap<String, Counter>>,
}

/// The counter's time and when it was drawn on.
type Counter = (u64, Monotonic);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    None,
    /// Each request is decided at its own time.
    OwnTime,
    /// Counters expire after a third of a second, though their quota takes hours (a unit mistaken).
    Forgets,
    /// No unit ever comes back.
    Frozen,
    /// Units come back twice as fast.
    Hasty,
    /// Every counter is kept with the company, that of the platform too.
    PlatformOfCompany,
    /// All sources share a counter.
    OneSource,
    /// All scopes share a counter.
    OneScope,
    /// Writes that count apart draw on the counter of reads.
    NoClass,
}

impl Flawed {
    fn now(&self, request: &LimitRequest<'_>) -> u64 {
        let own = request.received().monotonic.as_nanos();
        let latest = self.latest.fetch_max(own, SeqCst).max(own);
        let day = 86_400_000_000_000;
        match self.flaw {
            Flaw::OwnTime => own,
            Flaw::Frozen => day,
            Flaw::Hasty => latest + latest.saturating_sub(day),
            _ => latest,
        }
    }

    fn name(&self, request: &LimitRequest<'_>, limit: &Limit<'_>) -> String {
        let name = request.key(limit).to_string();
        let policy = |name: &str| name.split('/').next().unwrap().to_owned();
        match (self.flaw, limit.dimension()) {
            (Flaw::PlatformOfCompany, _) => format!("{:?}/{name}", request.company()),
            (Flaw::OneSource, Dimension::Source) => policy(&name),
            (Flaw::OneScope, Dimension::Scope) => policy(&name),
            (Flaw::NoClass, _) => name.replace(":write", ""),
            _ => name,
        }
    }

    fn held(&self, counter: Option<&Counter>) -> u64 {
        let is_old = |at: Monotonic| {
            let age = SystemClock.now().monotonic.duration_since(at);
            self.flaw == Flaw::Forgets && age > Duration::from_millis(300)
        };
        counter.map_or(0, |(tat, at)| if is_old(*at) { 0 } else { *tat })
    }
}

impl LimitStore for Flawed {
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture {
        let now = self.now(request);
        let mut counters = self.counters.lock().unwrap();
        let draws = request.limits().map(|limit| {
            let name = self.name(request, &limit);
            let tat = self.held(counters.get(&name));
            let verdict = decide(tat, now, limit.quota(), limit.cost());
            (name, verdict, decide(tat, now, limit.quota(), 0))
        });
        let draws: Vec<(String, Verdict, Verdict)> = draws.collect();
        let allowed = draws.iter().all(|(_, verdict, _)| verdict.allowed);
        let outcomes = draws.iter().map(|(_, verdict, look)| {
            let is_told = allowed || !verdict.allowed;
            LimitOutcome::from(if is_told { *verdict } else { *look })
        });
        let decision = LimitDecision::new(outcomes);
        for (name, verdict, _) in draws.into_iter().filter(|_| allowed) {
            counters.insert(name, (verdict.new_tat, SystemClock.now().monotonic));
        }
        decision.into()
    }
}

async fn run_flawed(flaw: Flaw) {
    let store = Flawed {
        flaw,
        latest: AtomicU64::default(),
        counters: Mutex::default(),
    };
    conformance::run(Arc::new(store)).await;
}

/// [`decide`] at the latest [`LimitRequest::received`], under one lock: what the trait asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_does_what_the_trait_says_passes() {
    run_flawed(Flaw::None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "the latest time that the store has seen")]
async fn a_store_that_goes_back_in_time_fails() {
    run_flawed(Flaw::OwnTime).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "a spent quota was forgotten")]
async fn a_store_that_forgets_spent_quotas_fails() {
    run_flawed(Flaw::Forgets).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "after the wait a unit is back")]
async fn a_store_that_gives_nothing_back_fails() {
    run_flawed(Flaw::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "more than the quota")]
async fn a_store_that_gives_back_too_much_fails() {
    run_flawed(Flaw::Hasty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "sources and the platform count whichever company calls")]
async fn a_store_with_a_platform_for_each_company_fails() {
    run_flawed(Flaw::PlatformOfCompany).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "sources and the platform count whichever company calls")]
async fn a_store_with_one_counter_for_all_sources_fails() {
    run_flawed(Flaw::OneSource).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "each has its own")]
async fn a_store_with_one_counter_for_all_scopes_fails() {
    run_flawed(Flaw::OneScope).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "a read took from the writes' counter")]
async fn a_store_that_counts_reads_and_writes_together_fails() {
    run_flawed(Flaw::NoClass).await;
}
