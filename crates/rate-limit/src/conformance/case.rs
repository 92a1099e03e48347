//! Policies and requests of the suite.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{AccessContext, Endpoint, Quota};
use tokio::task::JoinSet;

use crate::samples::{Caller, after};
use crate::{Dimension, LimitDecision, LimitStore, Policies, Policy};

/// Policies, and a request that meets them.
pub(super) struct Case {
    pub(super) policies: Policies,
    pub(super) context: AccessContext,
}

impl Case {
    pub(super) fn new<const N: usize>(limits: [(&'static str, Dimension, u32); N]) -> Self {
        Self::of(limits, &Caller::new(), Endpoint::get("/accounts"))
    }

    /// As [`Case::new`], with names of policies that nobody else has: counters of sources and of the
    /// platform are of no company.
    pub(super) fn of_all<const N: usize>(
        run: &str,
        dimensions: [Dimension; N],
        burst: u32,
        context: AccessContext,
    ) -> Self {
        let policies = dimensions.map(|dimension| {
            let quota = Quota::new(burst, INTERVAL).expect("a burst of at least 1");
            let name = format!("{}-{run}", dimension.as_str());
            Policy::new(name, dimension, quota)
        });
        let policies = Policies::new(policies).expect(FITS);
        Self { policies, context }
    }

    pub(super) fn of<const N: usize>(
        limits: [(&'static str, Dimension, u32); N],
        caller: &Caller,
        endpoint: Endpoint,
    ) -> Self {
        let policies = limits.map(|(name, dimension, burst)| {
            let quota = Quota::new(burst, INTERVAL).expect("a burst of at least 1");
            Policy::new(name, dimension, quota)
        });
        Self {
            policies: Policies::new(policies).expect(FITS),
            context: caller.asks(endpoint, after(DAY)),
        }
    }

    pub(super) async fn ask(&self, store: &Arc<dyn LimitStore>) -> LimitDecision {
        self.ask_for(store, 1).await
    }

    pub(super) async fn ask_for(&self, store: &Arc<dyn LimitStore>, units: u32) -> LimitDecision {
        let request = self.policies.request(&self.context).expect(FITS);
        let answer = store.check(&request.with_cost(units));
        answer.resolve().await.expect(WORKS)
    }

    pub(super) async fn remaining(&self, store: &Arc<dyn LimitStore>) -> Vec<u32> {
        let decision = self.ask_for(store, 0).await;
        assert!(decision.is_allowed(), "looking is allowed");
        decision.outcomes().iter().map(|o| o.remaining()).collect()
    }
}

/// How many of `count` requests at once pass.
pub(super) async fn crowd(store: &Arc<dyn LimitStore>, case: &Arc<Case>, count: usize) -> usize {
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let (store, case) = (Arc::clone(store), Arc::clone(case));
        tasks.spawn(async move { case.ask(&store).await.is_allowed() });
    }
    let passed = tasks.join_all().await;
    passed.into_iter().filter(|allowed| *allowed).count()
}

/// A word that no other run has.
pub(super) fn run_name() -> String {
    let number = RandomState::new().hash_one("run");
    format!("{number:016x}")
}

/// So long that no unit comes back while the suite runs.
pub(super) const INTERVAL: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const FITS: &str = "the suite's own policies fit its requests";
pub(super) const WORKS: &str = "the store answers";
