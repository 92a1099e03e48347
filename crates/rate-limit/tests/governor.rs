//! The same arrivals, decided by `governor` and by the local store.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU32;
use std::time::Duration;

use countersign_core::{Monotonic, Quota};
use countersign_rate_limit::LocalLimits;
use governor::clock::FakeRelativeClock;
use governor::{Quota as Theirs, RateLimiter};

/// Numbers that are the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % bound
    }
}

/// How many of so many arrivals of a thousand keys pass, decided in lock step.
fn replay(arrivals: u32, burst: u32, interval: Duration, longest_gap: u64) -> u32 {
    let clock = FakeRelativeClock::default();
    let theirs = Theirs::with_period(interval)
        .unwrap()
        .allow_burst(NonZeroU32::new(burst).unwrap());
    let theirs = RateLimiter::dashmap_with_clock(theirs, clock.clone());
    let ours = LocalLimits::new();
    let quota = Quota::new(burst, interval).unwrap();
    let mut random = Random(0x5eed);
    let mut now = 3_600_000_000_000;
    let mut passed = 0;
    for arrival in 0..arrivals {
        let gap = random.below(longest_gap);
        clock.advance(Duration::from_nanos(gap));
        now += gap;
        let key = random.below(1000);
        let units = 1 + random.below(u64::from(burst.min(3))) as u32;
        let weight = NonZeroU32::new(units).unwrap();
        let theirs = theirs.check_key_n(&key, weight).unwrap().is_ok();
        let verdict = ours.check_one(&key, quota, units, Monotonic::from_nanos(now));
        let ours = verdict.unwrap().allowed;
        assert_eq!(
            ours, theirs,
            "arrival {arrival} of key {key}, {units} units"
        );
        passed += u32::from(ours);
    }
    passed
}

#[test]
fn a_million_random_arrivals_are_decided_as_governor_decides_them() {
    let second = Duration::from_secs(1);
    let passed = replay(1_000_000, 5, second, 3_000_000);
    // Neither all of them nor none.
    assert!((200_000..900_000).contains(&passed), "{passed}");
}

#[test]
fn so_are_other_quotas() {
    let cases = [
        (1, 1_000_000_000, 2_000_000),
        (20, 100_000_000, 200_000),
        (7, 333_333_333, 1_000_000),
        (3, 7, 20_000),
        (1_000, 1_000_000, 2_000),
    ];
    for (burst, interval, longest_gap) in cases {
        let interval = Duration::from_nanos(interval);
        let passed = replay(100_000, burst, interval, longest_gap);
        assert!(passed > 10_000, "{passed}");
    }
}
