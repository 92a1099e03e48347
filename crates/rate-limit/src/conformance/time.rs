//! What time gives back, and what it does not.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Clock, Monotonic, Quota, SystemClock};

use super::case::{Case, DAY, FITS, WORKS};
use crate::samples::{Caller, after};
use crate::{Dimension, LimitDecision, LimitStore, Policies, Policy};

/// A spent quota stays spent for requests that come in with an earlier time: they are decided at the
/// latest time that the store has seen, and find the units that are left then.
pub async fn a_clock_that_goes_back_grants_nothing(store: &Arc<dyn LimitStore>) {
    let case = Case::new([("key", Dimension::Key, 2)]);
    for earlier in [0, 1, 3600, 7200] {
        let received = after(DAY - Duration::from_secs(earlier));
        let request = case.policies.request(&case.context).expect(FITS);
        let answer = store.check(&request.with_received(received));
        let decision = answer.resolve().await.expect(WORKS);
        assert_eq!(
            decision.is_allowed(),
            earlier < 2,
            "{earlier} s earlier: a request whose time is behind is decided at the latest time that \
             the store has seen"
        );
    }
    assert!(!case.ask(store).await.is_allowed());
}

/// A quota that takes hours to refill is as spent after a while as it was at once: no counter is
/// forgotten before it is whole.
pub async fn a_spent_quota_stays_spent(store: &Arc<dyn LimitStore>) {
    let limits = [
        ("key", Dimension::Key, 3),
        ("company", Dimension::Company, 4),
        ("endpoint", Dimension::Endpoint, 5),
    ];
    let course = Course::begin(Case::new(limits));
    for _ in 0..3 {
        assert!(course.ask(store).await.is_allowed());
    }
    tokio::time::sleep(A_WHILE).await;
    let refused = course.ask(store).await.refused();
    assert_eq!(refused, Some(0), "a spent quota was forgotten");
    let left = course.look(store).await;
    let left: Vec<u32> = left.outcomes().iter().map(|it| it.remaining()).collect();
    assert_eq!(left, [0, 1, 2], "a counter was forgotten");
}

/// A spent quota gives one unit back after each interval, no sooner and no later, and a refusal says
/// how long that takes.
pub async fn units_come_back_one_by_one(store: &Arc<dyn LimitStore>) {
    let quota = Quota::new(BURST, SHORT).expect("a quota of some hundred milliseconds");
    let policies = Policies::new([Policy::new("key", Dimension::Key, quota)]).expect(FITS);
    let context = Caller::new().reads(after(DAY));
    let course = Course::begin(Case { policies, context });
    assert!(course.ask(store).await.is_allowed(), "the first unit");
    let (late, mut passed) = (course.passed() + ROUNDING, 1);
    let refusal = course.spend(store, &mut passed).await;
    let wait = refusal.outcomes()[0].retry_after();
    tokio::time::sleep(wait.expect("a refusal that ends says when") + ROUNDING).await;
    let after_the_wait = course.ask(store).await;
    assert!(after_the_wait.is_allowed(), "after the wait a unit is back");
    passed += 1;
    tokio::time::sleep(SHORT * 3).await;
    // No more than the burst is kept for whoever comes late.
    let least = course.since(late).min(passed + BURST);
    course.spend(store, &mut passed).await;
    let most = course.since(Duration::ZERO);
    assert!(passed >= least, "{passed} of at least {least} units passed");
    assert!(passed <= most, "{passed} of at most {most} units passed");
}

/// A case whose requests come in as late as they are made.
struct Course {
    case: Case,
    start: Monotonic,
}

impl Course {
    fn begin(case: Case) -> Self {
        let start = SystemClock.now().monotonic;
        Self { case, start }
    }

    fn passed(&self) -> Duration {
        SystemClock.now().monotonic.duration_since(self.start)
    }

    /// How many units of the short quota there were in all, had it begun so late.
    fn since(&self, late: Duration) -> u32 {
        let intervals = self.passed().saturating_sub(late).as_nanos() / SHORT.as_nanos();
        BURST + u32::try_from(intervals).expect("the suite takes some seconds")
    }

    async fn ask(&self, store: &Arc<dyn LimitStore>) -> LimitDecision {
        self.ask_for(store, 1).await
    }

    async fn look(&self, store: &Arc<dyn LimitStore>) -> LimitDecision {
        self.ask_for(store, 0).await
    }

    async fn ask_for(&self, store: &Arc<dyn LimitStore>, units: u32) -> LimitDecision {
        let request = self.case.policies.request(&self.case.context).expect(FITS);
        // One course of time for everybody in this process: a store may serve several runs at once.
        let now = SystemClock.now().monotonic.as_nanos();
        let request = request.with_received(after(DAY + Duration::from_nanos(now)));
        let answer = store.check(&request.with_cost(units));
        answer.resolve().await.expect(WORKS)
    }

    /// Asks until a request is refused, and counts those that passed.
    async fn spend(&self, store: &Arc<dyn LimitStore>, passed: &mut u32) -> LimitDecision {
        loop {
            let decision = self.ask(store).await;
            if !decision.is_allowed() {
                return decision;
            }
            *passed += 1;
            assert!(*passed <= self.since(Duration::ZERO), "more than the quota");
        }
    }
}

/// Longer than a counter lives whose time was mistaken for milliseconds.
const A_WHILE: Duration = Duration::from_millis(1200);
const BURST: u32 = 10;
const SHORT: Duration = Duration::from_millis(400);
/// By how much clocks may differ over these few seconds.
const ROUNDING: Duration = Duration::from_millis(10);
