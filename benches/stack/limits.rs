//! One keyed limit check, alone, with one key that all threads use. `governor` reads its clock for
//! each check; ours is given the time at which the request came in, which is read once for all.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use countersign::{Clock, LocalLimits, Quota, SystemClock};
use governor::{DefaultKeyedRateLimiter, RateLimiter};

use crate::support::figures::{Effort, median, tell};
use crate::support::ours;
use crate::support::threads::{self, Work};

pub(crate) fn measure(effort: Effort) {
    let governor = Governor::new();
    let ours = Ours::new();
    for (threads, name) in [(1, "1 thread"), (2, "2 threads, one key")] {
        let rounds: Vec<_> = (0..effort.rounds)
            .map(|_| {
                let batches = effort.of(100);
                let governor = threads::rate(vec![governor.clone(); threads], batches);
                (
                    governor,
                    threads::rate(vec![ours.clone(); threads], batches),
                )
            })
            .collect();
        let nanos = |rate: f64| 1e9 * threads as f64 / rate / CHECKS as f64;
        let theirs = median(rounds.iter().map(|(governor, _)| nanos(*governor)));
        tell(
            &format!("keyed limit check, governor, {name}"),
            theirs,
            "ns",
        );
        let own = median(rounds.iter().map(|(_, ours)| nanos(*ours)));
        tell(&format!("keyed limit check, ours, {name}"), own, "ns");
        let ratio = median(rounds.iter().map(|(governor, ours)| governor / ours));
        tell(&format!("keyed limit check ÷ governor, {name}"), ratio, "");
    }
}

#[derive(Clone)]
struct Governor(Arc<DefaultKeyedRateLimiter<u64>>);

impl Governor {
    fn new() -> Self {
        let same = ours::generous();
        let interval = Duration::from_nanos(same.interval_nanos());
        let burst = NonZeroU32::new(same.burst()).expect("a quota allows something");
        let quota = governor::Quota::with_period(interval).expect("an interval above zero");
        Self(Arc::new(RateLimiter::keyed(quota.allow_burst(burst))))
    }
}

impl Work for Governor {
    type Batch = ();

    fn prepare(&mut self) {}

    fn run(&mut self, (): ()) {
        for _ in 0..CHECKS {
            assert!(self.0.check_key(black_box(&KEY)).is_ok());
        }
    }
}

#[derive(Clone)]
struct Ours {
    limits: Arc<LocalLimits>,
    quota: Quota,
}

impl Ours {
    fn new() -> Self {
        Self {
            limits: Arc::new(LocalLimits::new()),
            quota: ours::generous(),
        }
    }
}

impl Work for Ours {
    type Batch = ();

    fn prepare(&mut self) {}

    fn run(&mut self, (): ()) {
        let now = SystemClock.monotonic();
        for _ in 0..CHECKS {
            let verdict = self.limits.check_one(black_box(&KEY), self.quota, 1, now);
            assert!(verdict.is_ok_and(|it| it.allowed));
        }
    }
}

/// The checks of one batch.
const CHECKS: usize = 100_000;
const KEY: u64 = 0x5eed_5eed_5eed_5eed;
