//! Units that a process draws ahead.

mod book;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_core::{ConfigError, StoreError};
use countersign_rate_limit::{LimitDecision, LimitFuture, LimitRequest, LimitStore};

use self::book::Book;
use crate::RedisLimits;
use crate::draw::Draw;

/// How much a process draws ahead, and for how long.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Leases {
    age: Duration,
    /// Of each quota's burst, in millionths.
    share: u32,
}

/// [`RedisLimits`] of which this process leases units: where a counter is busy, one call to the
/// server draws units for requests to come, and those are then decided about here, at once, until
/// the units are spent or old. Made by [`RedisLimits::leased`]. A clone is a handle to the same.
///
/// A counter that is asked less often than once in a lease's age is never leased. Where it is busy,
/// the lease doubles as long as it is spent within half its age, up to the share.
///
/// **Over-admission** has two bounds, and the smaller one holds. Every unit is drawn from the server
/// before it is spent, so since a counter began, never more was admitted than its quota gives. But
/// a unit may be spent up to an [`age`](Leases::age) later than it was drawn: a period of length
/// `t` can see what the quota gives in `t + age`, which is at most `age ÷ interval` units too many.
/// And it is never more than the fleet can hold: processes × [`share`](Leases::share) × burst. For
/// 1 000 a second, a burst of 100, four processes, and leases of 5 % for 100 ms: 20 units.
///
/// **Under-admission.** Units that get old are lost to the caller, at most one lease of each process
/// whenever its traffic breaks off, and units that one process holds are not there for another.
///
/// **Numbers.** What a caller is shown counts the units held here, and what the server said when it
/// was last asked, at most an age ago. A refusal is remembered for as long as the server said it
/// lasts, but no longer than an age, so that a storm of retries does not reach the server.
///
/// **Order.** The requests of one company that need the server ask it one after another, so that the
/// second one finds what the first one drew.
///
/// While the server is gone, units that are held are spent; then the policy's
/// [`StoreFailure`](countersign_rate_limit::StoreFailure) decides.
#[derive(Debug, Clone)]
pub struct LeasedLimits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server: RedisLimits,
    book: Mutex<Book>,
    /// Who asks the server now, by company.
    turns: [tokio::sync::Mutex<()>; TURNS],
    hasher: RandomState,
}

impl Leases {
    /// Leases of at most 5 % of a burst, for 100 ms.
    pub const fn new() -> Self {
        Self {
            age: Duration::from_millis(100),
            share: 50_000,
        }
    }

    /// How long units may be held.
    ///
    /// # Errors
    /// When it is not from 1 ms to 10 s.
    pub fn age(mut self, age: Duration) -> Result<Self, ConfigError> {
        if !(Duration::from_millis(1)..=Duration::from_secs(10)).contains(&age) {
            return Err(ConfigError::new("leases", "an age is from 1 ms to 10 s"));
        }
        self.age = age;
        Ok(self)
    }

    /// Which share of a burst one process may hold: over 0, up to 1. A share that is less than one
    /// unit leases nothing.
    ///
    /// # Errors
    /// When it is not in that range.
    pub fn share(mut self, share: f64) -> Result<Self, ConfigError> {
        let millionths = (share * 1e6).round();
        if !(1.0..=1e6).contains(&millionths) {
            return Err(ConfigError::new(
                "leases",
                "a share is over 0 and at most 1",
            ));
        }
        // The range was checked above.
        self.share = millionths as u32;
        Ok(self)
    }
}

impl Default for Leases {
    fn default() -> Self {
        Self::new()
    }
}

impl LeasedLimits {
    pub(crate) fn new(server: RedisLimits, leases: Leases) -> Self {
        Self(Arc::new(Inner {
            server,
            book: Mutex::new(Book::new(leases)),
            turns: [const { tokio::sync::Mutex::const_new(()) }; TURNS],
            hasher: RandomState::new(),
        }))
    }

    /// The store that units are drawn from.
    #[must_use]
    pub fn server(&self) -> &RedisLimits {
        &self.0.server
    }
}

impl LimitStore for LeasedLimits {
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture {
        let draws = self.0.server.draws(request);
        if draws.is_empty() {
            return LimitFuture::Ready(LimitDecision::new([]));
        }
        let now = request.received().monotonic.as_nanos();
        if let Some(decision) = self.0.book().decide(&draws, now) {
            return LimitFuture::Ready(decision);
        }
        let inner = Arc::clone(&self.0);
        let company = self.0.hasher.hash_one(request.company());
        // Less than the number of turns.
        let turn = (company % TURNS as u64) as usize;
        LimitFuture::later(async move {
            let _turn = inner.turns[turn].lock().await;
            inner.ask(draws, now).await
        })
    }
}

impl Inner {
    async fn ask(&self, mut draws: Vec<Draw>, now: u64) -> Result<LimitDecision, StoreError> {
        {
            let mut book = self.book();
            // Somebody may have drawn meanwhile.
            if let Some(decision) = book.decide(&draws, now) {
                return decision;
            }
            book.prepare(&mut draws, now);
        }
        match self.server.ask(&draws).await {
            Ok(said) => self.book().learn(&draws, &said, now),
            Err(error) => {
                self.book().put_back(&draws);
                Err(error)
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const TURNS: usize = 256;
