use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vectors {
    redis_cell_published_table: Vec<CellRow>,
    sequences: Vec<Sequence>,
}

#[derive(Deserialize)]
struct CellRow {
    t_ms: u64,
    quantity: u32,
    remaining: u32,
    reset_after_ms: u64,
    retry_after_ms: i64,
    limited: bool,
}

#[derive(Deserialize)]
struct Sequence {
    name: String,
    #[serde(rename = "T_ns")]
    interval: u64,
    burst: u32,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    t_ns: u64,
    cost: u32,
    allowed: bool,
    limit: u32,
    remaining: u32,
    retry_after_ns: u64,
    reset_after_ns: u64,
    retry_after_header: Option<u64>,
    reset_header: u64,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../tests/vectors/gcra.json")).unwrap()
}

fn quota(burst: u32, interval: u64) -> Quota {
    Quota::new(burst, Duration::from_nanos(interval)).unwrap()
}

#[test]
fn replays_the_recorded_sequences() {
    for sequence in vectors().sequences {
        let quota = quota(sequence.burst, sequence.interval);
        let mut tat = 0;
        for (i, row) in sequence.rows.iter().enumerate() {
            let place = format!("{} row {i}", sequence.name);
            let verdict = decide(tat, row.t_ns, quota, row.cost);
            tat = verdict.new_tat;
            assert_eq!(verdict.allowed, row.allowed, "{place}");
            assert_eq!(quota.burst(), row.limit, "{place}");
            assert_eq!(verdict.remaining, row.remaining, "{place}");
            assert_eq!(verdict.retry_after_ns, row.retry_after_ns, "{place}");
            assert_eq!(verdict.reset_after_ns, row.reset_after_ns, "{place}");
            let seconds = |nanos: u64| nanos.div_ceil(1_000_000_000);
            let header = (!verdict.allowed).then(|| seconds(verdict.retry_after_ns));
            assert_eq!(header, row.retry_after_header, "{place}");
            assert_eq!(seconds(verdict.reset_after_ns), row.reset_header, "{place}");
        }
    }
}

#[test]
fn agrees_with_the_table_that_redis_cell_publishes() {
    const MS: u64 = 1_000_000;
    let quota = quota(5, 1000 * MS);
    let mut tat = 0;
    for (i, row) in vectors().redis_cell_published_table.iter().enumerate() {
        let verdict = decide(tat, row.t_ms * MS, quota, row.quantity);
        tat = verdict.new_tat;
        assert_eq!(!verdict.allowed, row.limited, "row {i}");
        assert_eq!(verdict.remaining, row.remaining, "row {i}");
        assert_eq!(verdict.reset_after_ns, row.reset_after_ms * MS, "row {i}");
        let retry = match (verdict.allowed, verdict.retry_after_ns) {
            (true, _) | (false, u64::MAX) => -1,
            (false, nanos) => i64::try_from(nanos / MS).unwrap(),
        };
        assert_eq!(retry, row.retry_after_ms, "row {i}");
    }
}

#[test]
fn the_far_end_of_the_clock_refuses_and_never_wraps() {
    let quota = quota(1000, 1_000_000);
    let now = u64::MAX - 10;
    assert!(!decide(0, now, quota, 1).allowed);
    assert!(!decide(u64::MAX, now, quota, 1).allowed);
    assert!(!decide(u64::MAX, 0, quota, u32::MAX).allowed);
    assert_eq!(decide(u64::MAX, 0, quota, 0).remaining, 0);
}

/// A bucket that is filled by one nanosecond of credit each nanosecond: another algorithm for
/// the same rule, in wider numbers.
struct Bucket {
    credit: u128,
    filled_at: u64,
    interval: u128,
    capacity: u128,
}

impl Bucket {
    fn new(quota: Quota) -> Self {
        let interval = u128::from(quota.interval_nanos());
        let capacity = interval * u128::from(quota.burst());
        Self {
            credit: capacity,
            filled_at: 0,
            interval,
            capacity,
        }
    }

    fn take(&mut self, now: u64, cost: u32) -> bool {
        let passed = u128::from(now - self.filled_at);
        self.credit = self.capacity.min(self.credit + passed);
        self.filled_at = now;
        let price = self.interval * u128::from(cost);
        let affordable = price <= self.credit;
        if affordable {
            self.credit -= price;
        }
        affordable
    }

    /// Waits until `cost` units are there; `None` when they never are.
    fn wait(&self, cost: u32) -> Option<u128> {
        let price = self.interval * u128::from(cost);
        (price <= self.capacity).then(|| price.saturating_sub(self.credit))
    }
}

prop_compose! {
    fn quotas()(burst in 1u32..50, interval in prop_oneof![1u64..20, 1u64..10_000_000_000])
        -> Quota { quota(burst, interval) }
}

proptest! {
    #[test]
    fn agrees_with_a_token_bucket(
        quota in quotas(),
        draws in prop::collection::vec((0u64..300, 0u32..60), 1..200),
    ) {
        let mut bucket = Bucket::new(quota);
        let (mut tat, mut now) = (0, 0);
        for (steps, cost) in draws {
            now += steps * quota.interval_nanos() / 7;
            let verdict = decide(tat, now, quota, cost);
            prop_assert_eq!(verdict.allowed, bucket.take(now, cost));
            prop_assert_eq!(
                u128::from(verdict.remaining),
                bucket.credit / bucket.interval
            );
            prop_assert_eq!(
                u128::from(verdict.reset_after_ns),
                bucket.capacity - bucket.credit
            );
            if !verdict.allowed {
                let wait = bucket.wait(cost).unwrap_or(u128::from(u64::MAX));
                prop_assert_eq!(u128::from(verdict.retry_after_ns), wait);
            }
            tat = verdict.new_tat;
        }
    }

    #[test]
    fn a_clock_in_any_order_never_grants_more_than_time_earned(
        quota in quotas(),
        draws in prop::collection::vec((0u64..100, 1u32..4), 1..200),
    ) {
        let at = |step: u64| step * quota.interval_nanos() / 3;
        let first = draws.iter().map(|(step, _)| at(*step)).min().unwrap();
        let last = draws.iter().map(|(step, _)| at(*step)).max().unwrap();
        let mut tat = 0;
        let mut taken = 0;
        for (step, cost) in draws {
            let verdict = decide(tat, at(step), quota, cost);
            tat = verdict.new_tat;
            taken += u64::from(verdict.allowed) * u64::from(cost);
        }
        let earned = (last - first) / quota.interval_nanos();
        prop_assert!(taken <= u64::from(quota.burst()) + earned);
    }

    #[test]
    fn the_announced_wait_is_enough_and_not_a_nanosecond_too_long(
        quota in quotas(), spent in 0u64..1_000_000_000_000, cost in 1u32..50,
    ) {
        let now = 5_000_000_000;
        let tat = now + spent;
        let verdict = decide(tat, now, quota, cost);
        prop_assume!(!verdict.allowed && cost <= quota.burst());
        let then = now + verdict.retry_after_ns;
        prop_assert!(decide(tat, then, quota, cost).allowed);
        prop_assert!(!decide(tat, then - 1, quota, cost).allowed);
    }
}
