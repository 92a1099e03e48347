//! Counters in this process.

use std::hash::Hash;
use std::sync::Mutex;

use countersign_core::{Monotonic, Quota, StoreError, StoreErrorKind};

use crate::cells::{self, Cells, NoRoom, Shard};
use crate::dimension::Home;
use crate::draws::Draws;
use crate::gcra::{Verdict, draw};
use crate::occasionally::Occasionally;
use crate::policies::Counts;
use crate::sources::Sources;
use crate::{LimitDecision, LimitFuture, LimitRequest, LimitStore, StoreFull};

/// Counters of this process alone, exact and without a server.
///
/// All counters of one company stand behind one lock. Those of a source and those of the platform
/// have locks of their own, which are taken after it in this order. So a decision about several
/// limits is one step: nobody sees half of it, and a refusal takes nothing. A request that its own
/// limits refuse never reaches the platform's lock. Deciding about counters that are there allocates
/// nothing and never awaits.
///
/// **Memory.** A counter is 16 bytes and has between 19 and 39 bytes of table: a key with a limit
/// of its own, its company's and an endpoint's has three counters, at most 117 bytes. A counter
/// that is whole again says the same as none and leaves by itself: each decision sweeps two places
/// on average, and each new counter sixteen more. There is no thread and no timer.
///
/// **Bound.** There are never more than [`LocalLimits::capacity`] counters of companies and their
/// keys (4 Mi unless said otherwise, up to 164 MB). When all of them count something, a request that
/// needs another one is refused with `limit_store_unavailable`, whatever
/// [`on_store_failure`](crate::RateLimitLayer::on_store_failure) says, and one log line a minute
/// says so. A counter that counts something is never dropped: that would give its caller a new
/// quota.
///
/// Sources can be made up, so their counters have tables and a bound of their own
/// ([`LocalLimits::SOURCES`] unless said otherwise, up to 10 MB): one table for callers that were
/// verified, another one for all others. A flood can neither grow memory nor take room from keys and
/// companies, and without a key none from the sources of those who have one. While a table is full,
/// sources without a counter share one for each policy and shard (64 of them): the flood throttles
/// newcomers, and never a source that is counted already.
///
/// **Time** is read from [`LimitRequest::received`]; all requests of one store need one clock. A
/// request that was held up on its way is decided at the latest time that the store has seen.
///
/// A key whose quota gets another interval begins with a whole quota; one that gets another burst
/// alone keeps what it took.
#[derive(Debug)]
pub struct LocalLimits {
    cells: Cells,
    sources: Sources,
    platform: Mutex<Shard>,
    full: Occasionally,
}

impl LocalLimits {
    /// How many counters of companies and their keys there can be unless said otherwise.
    pub const CAPACITY: usize = 4 << 20;
    /// How many counters of sources there can be unless said otherwise, in each of the two tables.
    pub const SOURCES: usize = 1 << 18;

    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(Self::CAPACITY)
    }

    /// An empty store that holds at most `counters`.
    #[must_use]
    pub fn with_capacity(counters: usize) -> Self {
        Self {
            cells: Cells::new(SHARDS, counters),
            sources: Sources::new(Self::SOURCES),
            platform: Mutex::new(Shard::new()),
            full: Occasionally::default(),
        }
    }

    /// Another bound for each table of sources; what they counted so far is forgotten.
    #[must_use]
    pub fn with_sources(mut self, counters: usize) -> Self {
        self.sources = Sources::new(counters);
        self
    }

    /// How many counters of sources there are now.
    #[must_use]
    pub fn tracked_sources(&self) -> usize {
        self.sources.len()
    }

    /// How many counters of companies and their keys there are now: those that count something, and
    /// those that are whole again and were not swept yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is no counter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many counters of companies and their keys there can be.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.cells.capacity()
    }

    /// Takes `cost` units of `quota` from the counter of `key` at `now`, or takes nothing: one
    /// limit without policies or a request, for uses outside the layer.
    ///
    /// # Errors
    /// `Unavailable` with [`StoreFull`] as its source when the key is new and there is no room.
    #[inline]
    pub fn check_one<K: Hash + ?Sized>(
        &self,
        key: &K,
        quota: Quota,
        cost: u32,
        now: Monotonic,
    ) -> Result<Verdict, StoreError> {
        let mut hasher = self.cells.hasher();
        key.hash(&mut hasher);
        let name = hasher.fingerprint();
        let mut shard = self.cells.lock(name);
        let now = shard.advance(now.as_nanos());
        let counter = shard.find_mut(name);
        let tat = counter.as_deref().copied().unwrap_or(0);
        let drawn = draw(tat, now, quota, cost);
        let mut inserted = 0;
        match (counter, drawn) {
            (Some(counter), Some(new_tat)) => *counter = new_tat,
            (None, Some(new_tat)) if new_tat > now => {
                self.reserve_one(&mut shard, now)?;
                shard.insert(name, new_tat);
                inserted = 1;
            }
            _ => {}
        }
        self.cells.finish(shard, inserted);
        Ok(match drawn {
            Some(new_tat) => Verdict::allowed(new_tat, now, quota),
            None => Verdict::refused(tat, now, quota, cost),
        })
    }

    pub(crate) fn decide(&self, request: &LimitRequest<'_>) -> Result<LimitDecision, StoreError> {
        let mut draws = Draws::new();
        draws.fill(self.cells.hasher(), request);
        let now = self.draw_all(&mut draws, request)?;
        Ok(draws.decision(now))
    }

    /// Makes all draws, or none if one is refused; the time at which they were decided.
    #[inline]
    fn draw_all(
        &self,
        draws: &mut Draws<'_>,
        request: &LimitRequest<'_>,
    ) -> Result<u64, StoreError> {
        let (counts, now) = (request.counts(), request.received().monotonic.as_nanos());
        if !counts.company {
            self.draw_shared(draws, counts, now);
            return Ok(now);
        }
        let mut home = self.cells.lock(draws.company());
        let now = home.advance(now);
        let inserted = match self.draw(draws, counts, &mut home, now) {
            Ok(inserted) => inserted,
            Err(NoRoom) => {
                self.cells.make_room(&mut home);
                let again = self.draw(draws, counts, &mut home, now);
                again.map_err(|NoRoom| self.full(now))?
            }
        };
        self.cells.finish(home, inserted);
        Ok(now)
    }

    /// Makes all draws, or none if one is refused or if there is no room for new counters. How many of
    /// the company's counters are new.
    #[inline]
    fn draw(
        &self,
        draws: &mut Draws<'_>,
        counts: Counts,
        home: &mut Shard,
        now: u64,
    ) -> Result<usize, NoRoom> {
        let newcomers = draws.make(home, Home::Company, now);
        let made = self.draw_others(draws, counts, newcomers, now);
        if let Ok(true) = made {
            draws.add(home, Home::Company, newcomers);
            return Ok(newcomers);
        }
        draws.undo(home, Home::Company);
        made.map(|_| 0)
    }

    /// What comes after the company's draws: room for its `newcomers`, and the draws on counters that
    /// companies share; whether all were made.
    #[inline]
    fn draw_others(
        &self,
        draws: &mut Draws<'_>,
        counts: Counts,
        newcomers: usize,
        now: u64,
    ) -> Result<bool, NoRoom> {
        if !draws.are_allowed() {
            return Ok(false);
        }
        self.cells.reserve(newcomers)?;
        let shares = counts.source || counts.platform;
        let made = !shares || self.draw_shared(draws, counts, now);
        if !made {
            self.cells.release(newcomers);
        }
        Ok(made)
    }

    /// Makes the draws on counters that companies share, or none of them if one is refused; whether
    /// they were made. Behind the company's lock, if the request has a company.
    fn draw_shared(&self, draws: &mut Draws<'_>, counts: Counts, now: u64) -> bool {
        let source = counts.source.then(|| self.sources.make(draws, now));
        let platform = |draws: &mut Draws<'_>| !counts.platform || self.draw_platform(draws, now);
        let allowed = draws.are_allowed() && platform(draws);
        if let Some(source) = source {
            Sources::settle(source, draws, allowed);
        }
        allowed
    }

    /// The last of the draws: all others are made, and the locks of the company and of the source are
    /// held.
    fn draw_platform(&self, draws: &mut Draws<'_>, now: u64) -> bool {
        let mut platform = cells::lock(&self.platform);
        let now = platform.advance(now);
        let newcomers = draws.make(&mut platform, Home::Platform, now);
        let allowed = draws.are_allowed();
        if allowed {
            draws.add(&mut platform, Home::Platform, newcomers);
        } else {
            draws.undo(&mut platform, Home::Platform);
        }
        allowed
    }

    fn reserve_one(&self, shard: &mut Shard, now: u64) -> Result<(), StoreError> {
        let room = self.cells.reserve(1).or_else(|NoRoom| {
            self.cells.make_room(shard);
            self.cells.reserve(1)
        });
        room.map_err(|NoRoom| self.full(now))
    }

    #[cold]
    fn full(&self, now: u64) -> StoreError {
        if self.full.is_due(now) {
            tracing::error!(
                target: "countersign",
                counters = self.cells.len(),
                "the limit store is full: callers without a counter are refused"
            );
        }
        StoreError::with_source(StoreErrorKind::Unavailable, StoreFull)
    }
}

impl Default for LocalLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl LimitStore for LocalLimits {
    #[inline]
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture {
        LimitFuture::Ready(self.decide(request))
    }
}

/// Enough that two companies rarely share a lock, and that the table of one shard stays small
/// enough to be moved when it grows.
const SHARDS: usize = 256;

#[cfg(test)]
mod tests;
