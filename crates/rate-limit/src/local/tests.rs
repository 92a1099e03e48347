use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use countersign_core::{Clock, Endpoint, LimitOverride, ManualClock, Moment, OperationType};
use proptest::prelude::*;

use super::*;
use crate::gcra::decide;
use crate::samples::{Caller, after};
use crate::{Dimension, LimitOutcome, Policies, Policy};

mod bounds;
mod model;
mod sources;

fn quota(burst: u32, interval: Duration) -> Quota {
    Quota::new(burst, interval).unwrap()
}

fn hourly(burst: u32) -> Quota {
    quota(burst, Duration::from_secs(3600))
}

fn noon() -> Moment {
    after(Duration::from_secs(43_200))
}

fn policies<const N: usize>(limits: [(&'static str, Dimension, u32); N]) -> Policies {
    let policy = |(name, dimension, burst)| Policy::new(name, dimension, hourly(burst));
    Policies::new(limits.map(policy)).unwrap()
}

fn ask(
    store: &LocalLimits,
    policies: &Policies,
    context: &countersign_core::AccessContext,
) -> LimitDecision {
    store.decide(&policies.request(context).unwrap()).unwrap()
}

fn remaining(
    store: &LocalLimits,
    policies: &Policies,
    context: &countersign_core::AccessContext,
) -> Vec<u32> {
    let look = policies.request(context).unwrap().with_cost(0);
    let decision = store.decide(&look).unwrap();
    decision
        .outcomes()
        .iter()
        .map(LimitOutcome::remaining)
        .collect()
}

/// Eight threads ask as often as `times` says; how many requests passed.
fn stampede(times: usize, ask: impl Fn(usize, usize) -> bool + Sync) -> u64 {
    let start = Barrier::new(8);
    let passed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (start, passed, ask) = (&start, &passed, &ask);
            scope.spawn(move || {
                start.wait();
                let mine = (0..times).filter(|i| ask(thread, *i)).count() as u64;
                passed.fetch_add(mine, Ordering::Relaxed);
            });
        }
    });
    passed.into_inner()
}

#[test]
fn a_refusal_takes_nothing_from_any_counter() {
    let store = LocalLimits::new();
    for spent in ["company", "platform"] {
        let caller = Caller::new();
        let policies = policies([
            ("key", Dimension::Key, 10),
            (
                "company",
                Dimension::Company,
                if spent == "company" { 2 } else { 10 },
            ),
            (
                "platform",
                Dimension::Platform,
                if spent == "platform" { 4 } else { 100 },
            ),
        ]);
        let context = caller.reads(noon());
        let results: Vec<bool> = (0..9)
            .map(|_| ask(&store, &policies, &context).is_allowed())
            .collect();
        let passed = results.iter().filter(|allowed| **allowed).count() as u32;
        assert_eq!(
            passed, 2,
            "{spent}: the platform's first two went to the first company"
        );
        assert_eq!(remaining(&store, &policies, &context)[..1], [8], "{spent}");
        let colleague = caller.colleague().reads(noon());
        let key_of_colleague = remaining(&store, &policies, &colleague)[0];
        assert!(!ask(&store, &policies, &colleague).is_allowed());
        assert_eq!(
            remaining(&store, &policies, &colleague)[0],
            key_of_colleague
        );
    }
}

#[test]
fn all_or_nothing_holds_under_eight_threads() {
    let store = LocalLimits::new();
    let policies = policies([
        ("key", Dimension::Key, 1000),
        ("company", Dimension::Company, 300),
        ("platform", Dimension::Platform, 200),
    ]);
    let callers: Vec<_> = (0..2)
        .flat_map(|_| {
            let caller = Caller::new();
            [caller.colleague(), caller]
        })
        .collect();
    let contexts: Vec<_> = callers.iter().map(|caller| caller.reads(noon())).collect();
    let passed = stampede(500, |thread, i| {
        ask(&store, &policies, &contexts[(thread + i) % 4]).is_allowed()
    });
    assert_eq!(passed, 200);
    let left: Vec<_> = contexts
        .iter()
        .map(|c| remaining(&store, &policies, c))
        .collect();
    let taken_by_keys: u32 = left.iter().map(|l| 1000 - l[0]).sum();
    let taken_by_companies = (300 - left[0][1]) + (300 - left[2][1]);
    assert_eq!(
        (taken_by_keys, taken_by_companies, left[0][2]),
        (200, 200, 0)
    );
}

#[test]
fn exactly_the_quota_passes_under_eight_threads() {
    let store = LocalLimits::new();
    let clock = ManualClock::default();
    let quota = quota(1000, Duration::from_secs(1));
    let check = || {
        let now = clock.monotonic();
        stampede(400, |_, _| {
            store.check_one("hot", quota, 1, now).unwrap().allowed
        })
    };
    assert_eq!(check(), 1000);
    clock.advance(Duration::from_millis(2_999));
    assert_eq!(check(), 2);
    clock.advance(Duration::from_millis(1));
    assert_eq!(check(), 1);
}

#[test]
fn the_wait_that_is_told_is_long_enough_for_all_limits() {
    let store = LocalLimits::new();
    let policies = Policies::new([
        Policy::new("fast", Dimension::Key, quota(1, Duration::from_secs(1))),
        Policy::new(
            "slow",
            Dimension::Company,
            quota(1, Duration::from_secs(60)),
        ),
    ])
    .unwrap();
    let caller = Caller::new();
    assert!(ask(&store, &policies, &caller.reads(noon())).is_allowed());
    let decision = ask(&store, &policies, &caller.reads(noon()));
    assert_eq!(decision.refused(), Some(1));
    let wait = decision.outcomes()[1].retry_after().unwrap();
    assert_eq!(wait, Duration::from_secs(60));
    let then = Moment {
        monotonic: Monotonic::from_nanos(noon().monotonic.as_nanos() + wait.as_nanos() as u64),
        ..noon()
    };
    assert!(ask(&store, &policies, &caller.reads(then)).is_allowed());
}

#[test]
fn each_dimension_counts_what_it_names() {
    let store = LocalLimits::new();
    let caller = Caller::new();
    let scoped =
        |template: &str, scope: &str| Endpoint::get(template).scope(scope.parse().unwrap());
    let first = scoped("/a", "a:read");
    let left = |dimension, caller: &Caller, endpoint: &Endpoint| {
        let policies = policies([("p", dimension, 5)]);
        let _ = ask(&store, &policies, &caller.asks(first.clone(), noon()));
        remaining(&store, &policies, &caller.asks(endpoint.clone(), noon()))[0]
    };
    let (sibling, other) = (scoped("/b", "a:read"), scoped("/c", "c:read"));
    let write = Endpoint::post("/a").scope("a:read".parse().unwrap());
    // Each call of `left` takes one unit for the first endpoint.
    assert_eq!(left(Dimension::Endpoint, &caller, &first), 4);
    assert_eq!(left(Dimension::Endpoint, &caller, &sibling), 5);
    assert_eq!(left(Dimension::Endpoint, &caller, &write), 5);
    assert_eq!(left(Dimension::Scope, &caller, &sibling), 4);
    assert_eq!(left(Dimension::Scope, &caller, &other), 5);
    assert_eq!(left(Dimension::Operation, &caller, &other), 4);
    assert_eq!(left(Dimension::Operation, &caller, &write), 5);
    assert_eq!(left(Dimension::Key, &caller, &write), 4);
    assert_eq!(left(Dimension::Key, &caller.colleague(), &first), 4);
    assert_eq!(left(Dimension::Company, &caller, &write), 4);
    assert_eq!(left(Dimension::Company, &caller.colleague(), &write), 3);
    assert_eq!(left(Dimension::Company, &Caller::new(), &write), 4);
    assert_eq!(left(Dimension::Platform, &caller, &write), 4);
    assert_eq!(left(Dimension::Platform, &Caller::new(), &write), 3);
}

#[test]
fn writes_that_count_apart_leave_the_reads_alone() {
    let store = LocalLimits::new();
    let policy = Policy::new("key", Dimension::Key, hourly(3))
        .for_operation(OperationType::Write, hourly(1));
    let policies = Policies::new([policy]).unwrap();
    let caller = Caller::new();
    let write = || caller.asks(Endpoint::post("/payments"), noon());
    assert!(ask(&store, &policies, &write()).is_allowed());
    assert!(!ask(&store, &policies, &write()).is_allowed());
    assert_eq!(remaining(&store, &policies, &caller.reads(noon())), [3]);
}

#[test]
fn a_keys_own_quota_takes_the_place_of_the_policys() {
    let store = LocalLimits::new();
    let policies = Policies::new([
        Policy::new("key", Dimension::Key, hourly(2))
            .for_operation(OperationType::Write, hourly(1)),
        Policy::new("company", Dimension::Company, hourly(100)),
    ])
    .unwrap();
    let own = |policy: &str, burst| LimitOverride {
        policy: policy.to_owned(),
        quota: hourly(burst),
    };
    let caller =
        Caller::new().with_limits([own("key", 7), own("company", 1000)].into_iter().collect());
    assert_eq!(
        remaining(&store, &policies, &caller.reads(noon())),
        [7, 100]
    );
    let write = |caller: &Caller| caller.asks(Endpoint::post("/"), noon());
    assert_eq!(
        remaining(&store, &policies, &write(&caller)),
        [1, 100],
        "writes stay as they were"
    );
    let caller = Caller::new().with_limits([own("key:write", 9)].into_iter().collect());
    assert_eq!(remaining(&store, &policies, &write(&caller)), [9, 100]);
    assert_eq!(
        remaining(&store, &policies, &caller.reads(noon())),
        [2, 100]
    );
}

#[test]
fn an_own_quota_below_the_cost_never_fits() {
    let store = LocalLimits::new();
    let policy = Policy::new("key", Dimension::Key, hourly(10)).cost(5);
    let policies = Policies::new([policy]).unwrap();
    let own = LimitOverride {
        policy: "key".to_owned(),
        quota: hourly(4),
    };
    let caller = Caller::new().with_limits([own].into_iter().collect());
    let decision = ask(&store, &policies, &caller.reads(noon()));
    assert_eq!(decision.refused(), Some(0));
    assert_eq!(decision.outcomes()[0].retry_after(), None);
    assert_eq!(decision.outcomes()[0].remaining(), 4);
}

#[test]
fn a_poisoned_lock_still_decides() {
    let store = Arc::new(LocalLimits::new());
    let minute = quota(1, Duration::from_secs(60));
    assert!(
        store
            .check_one("a", minute, 1, noon().monotonic)
            .unwrap()
            .allowed
    );
    let broken = Arc::clone(&store);
    let panicked = std::thread::spawn(move || {
        let mut hasher = broken.cells.hasher();
        "a".hash(&mut hasher);
        let _guard = broken.cells.lock(hasher.fingerprint());
        panic!("while the lock is held");
    });
    assert!(panicked.join().is_err());
    assert!(
        !store
            .check_one("a", minute, 1, noon().monotonic)
            .unwrap()
            .allowed
    );
}

proptest! {
    #[test]
    fn the_store_is_the_algorithm_and_a_map(
        draws in prop::collection::vec((0u8..20, 0u32..4, 0u64..2_000), 1..400),
    ) {
        let store = LocalLimits::new();
        let quota = quota(3, Duration::from_millis(700));
        let mut model: HashMap<u8, u64> = HashMap::new();
        let mut now = 1_000_000_000;
        for (key, cost, millis) in draws {
            now += millis * 1_000_000 / 5;
            let tat = model.entry(key).or_default();
            let expected = decide(*tat, now, quota, cost);
            let found = store.check_one(&key, quota, cost, Monotonic::from_nanos(now)).unwrap();
            *tat = expected.new_tat;
            // A counter that left because it was whole reads as 0, which means the same.
            let tat = |v: Verdict| v.new_tat.max(now);
            prop_assert_eq!(tat(found), tat(expected));
            let found = Verdict { new_tat: expected.new_tat, ..found };
            prop_assert_eq!(found, expected);
        }
    }
}
