//! One keyed limit check, alone.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::threads::Work;

/// `governor`'s check of one key that every thread uses.
#[derive(Debug, Clone)]
pub(crate) struct Governor(Arc<DefaultKeyedRateLimiter<u64>>);

impl Governor {
    pub(crate) fn new() -> Self {
        let quota = Quota::per_second(NonZeroU32::MAX).allow_burst(NonZeroU32::MAX);
        Self(Arc::new(RateLimiter::keyed(quota)))
    }
}

impl Work for Governor {
    type Batch = ();

    fn prepare(&mut self) {}

    fn run(&mut self, (): ()) {
        for _ in 0..CHECKS {
            let allowed = self.0.check_key(black_box(&KEY)).is_ok();
            assert!(black_box(allowed));
        }
    }
}

/// The checks of one batch.
pub(crate) const CHECKS: usize = 100_000;
const KEY: u64 = 0x5eed_5eed_5eed_5eed;
