//! The suite that every [`LimitStore`] must pass.
//!
//! ```
//! use std::sync::Arc;
//! use countersign_rate_limit::{LocalLimits, conformance};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut runtime = tokio::runtime::Builder::new_multi_thread();
//! # runtime.worker_threads(2).enable_time().build()?.block_on(async {
//! conformance::run(Arc::new(LocalLimits::new())).await;
//! # });
//! # Ok(())
//! # }
//! ```
//!
//! Quotas refill in hours, but for two that show that they do, and counters are of companies, or of
//! policies, that nobody else has: the suite may run against a store that others use, and beside
//! itself. It leaves its counters behind.
//!
//! It takes a few seconds, in which requests come in as late as the clock on the wall says: a store
//! that decides by [`LimitRequest::received`](crate::LimitRequest::received) and one that decides by a
//! clock of its own see the same time pass.

mod apart;
mod case;
mod time;

use std::sync::Arc;

use countersign_core::Quota;

pub use self::apart::{
    counters_are_apart, operations_are_apart_where_a_policy_says_so, sources_and_the_platform_too,
};
use self::case::{Case, DAY, FITS, INTERVAL, crowd};
pub use self::time::{
    a_clock_that_goes_back_grants_nothing, a_spent_quota_stays_spent, units_come_back_one_by_one,
};
use crate::samples::{Caller, after};
use crate::{Dimension, LimitStore, Policies, Policy};

/// Runs the whole suite, in a Tokio runtime with its timer on, best one with several threads.
///
/// # Panics
/// When the store breaks one of the rules that stand on [`LimitStore::check`], or fails.
pub async fn run(store: Arc<dyn LimitStore>) {
    a_quota_admits_exactly_its_burst(&store).await;
    a_refusal_takes_nothing(&store).await;
    crowds_get_the_quota_and_no_more(&store).await;
    all_or_nothing_in_a_crowd(&store).await;
    a_clock_that_goes_back_grants_nothing(&store).await;
    a_cost_of_nothing_only_looks(&store).await;
    a_cost_over_the_burst_never_fits(&store).await;
    counters_are_apart(&store).await;
    sources_and_the_platform_too(&store).await;
    operations_are_apart_where_a_policy_says_so(&store).await;
    the_longest_wait_speaks(&store).await;
    answers_hold_no_more_than_they_must(&store).await;
    a_spent_quota_stays_spent(&store).await;
    units_come_back_one_by_one(&store).await;
}

/// `burst` units pass, the next one waits for an interval, and the numbers say so.
pub async fn a_quota_admits_exactly_its_burst(store: &Arc<dyn LimitStore>) {
    let case = Case::new([("key", Dimension::Key, 5)]);
    for left in (0..5).rev() {
        let decision = case.ask(store).await;
        assert!(decision.is_allowed(), "{left} units should be left");
        assert_eq!(decision.outcomes()[0].remaining(), left);
    }
    let decision = case.ask(store).await;
    assert_eq!(decision.refused(), Some(0), "the sixth of five");
    let wait = decision.outcomes()[0].retry_after();
    let wait = wait.expect("a refusal that ends says when");
    assert!(!wait.is_zero() && wait <= INTERVAL, "{wait:?}");
    let reset = decision.outcomes()[0].reset_after();
    assert!(reset > INTERVAL * 4 && reset <= INTERVAL * 5, "{reset:?}");
}

/// A spent company limit leaves the key's counter as it was, in whichever order they stand.
pub async fn a_refusal_takes_nothing(store: &Arc<dyn LimitStore>) {
    let orders = [
        [
            ("key", Dimension::Key, 10),
            ("company", Dimension::Company, 3),
        ],
        [
            ("company", Dimension::Company, 3),
            ("key", Dimension::Key, 10),
        ],
    ];
    for limits in orders {
        let case = Case::new(limits);
        let company = usize::from(limits[0].0 == "key");
        for i in 0..20 {
            let decision = case.ask(store).await;
            assert_eq!(decision.is_allowed(), i < 3, "request {i}");
            assert_eq!(decision.refused(), (i >= 3).then_some(company));
        }
        let left = case.remaining(store).await;
        assert_eq!((left[1 - company], left[company]), (7, 0));
    }
}

/// Of two hundred requests at once, as many pass as the quota holds.
pub async fn crowds_get_the_quota_and_no_more(store: &Arc<dyn LimitStore>) {
    let case = Arc::new(Case::new([("key", Dimension::Key, 50)]));
    assert_eq!(crowd(store, &case, 200).await, 50);
    assert_eq!(case.remaining(store).await, [0]);
}

/// What a crowd was refused was taken from no counter.
pub async fn all_or_nothing_in_a_crowd(store: &Arc<dyn LimitStore>) {
    let case = Arc::new(Case::new([
        ("key", Dimension::Key, 100),
        ("endpoint", Dimension::Endpoint, 100),
        ("company", Dimension::Company, 30),
    ]));
    assert_eq!(crowd(store, &case, 200).await, 30);
    assert_eq!(case.remaining(store).await, [70, 70, 0]);
}

/// Looking is always allowed and changes nothing.
pub async fn a_cost_of_nothing_only_looks(store: &Arc<dyn LimitStore>) {
    let case = Case::new([("key", Dimension::Key, 1)]);
    for _ in 0..10 {
        assert_eq!(case.remaining(store).await, [1]);
    }
    assert!(case.ask(store).await.is_allowed());
    assert_eq!(case.remaining(store).await, [0]);
    assert!(!case.ask(store).await.is_allowed());
}

/// A draw that never fits says so and takes nothing.
pub async fn a_cost_over_the_burst_never_fits(store: &Arc<dyn LimitStore>) {
    let case = Case::new([
        ("key", Dimension::Key, 5),
        ("company", Dimension::Company, 9),
    ]);
    let decision = case.ask_for(store, 6).await;
    assert_eq!(decision.refused(), Some(0));
    assert_eq!(decision.outcomes()[0].retry_after(), None);
    assert_eq!(case.remaining(store).await, [5, 9]);
    assert!(
        case.ask_for(store, 5).await.is_allowed(),
        "all at once fits"
    );
    assert_eq!(case.remaining(store).await, [0, 4]);
    let decision = case.ask_for(store, u32::MAX).await;
    assert!(!decision.is_allowed(), "the largest cost doesn't wrap");
}

/// Of several limits that refuse, the one with the longest wait is named.
pub async fn the_longest_wait_speaks(store: &Arc<dyn LimitStore>) {
    let caller = Caller::new();
    let limits = [("short", 1), ("long", 24), ("middle", 5)].map(|(name, hours)| {
        let quota = Quota::new(1, INTERVAL * hours).expect("a quota of some hours");
        Policy::new(name, Dimension::Key, quota)
    });
    let case = Case {
        policies: Policies::new(limits).expect(FITS),
        context: caller.reads(after(DAY)),
    };
    assert!(case.ask(store).await.is_allowed());
    assert_eq!(case.ask(store).await.refused(), Some(1));
}

/// One outcome for each limit, in their order; none for a request without limits, which passes.
pub async fn answers_hold_no_more_than_they_must(store: &Arc<dyn LimitStore>) {
    let none = Case::new([]);
    let decision = none.ask(store).await;
    assert!(decision.is_allowed() && decision.outcomes().is_empty());
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut burst = 0;
    let full = Case::new(names.map(|name| {
        burst += 1;
        (name, Dimension::Key, burst)
    }));
    assert_eq!(full.remaining(store).await, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(full.ask(store).await.is_allowed());
    assert_eq!(full.remaining(store).await, [0, 1, 2, 3, 4, 5, 6, 7]);
}
