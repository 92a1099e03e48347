//! The throttle of failed authentications.

use std::hash::Hash;
use std::sync::MutexGuard;
use std::time::Duration;

use countersign_core::source::SourceBucket;
use countersign_core::{
    Attempt, ConfigError, FailureMeter, KeyPrefix, Monotonic, Quota, Throttled,
};

use crate::cells::{Cells, Fingerprint, NoRoom, Shard, Slot};
use crate::gcra::{Verdict, decide};

/// Counts failed authentications by source (an IPv4 address, or an IPv6 /64) and by key prefix,
/// and turns attempts away where too many failed: 100 a minute for each, unless said otherwise.
///
/// - Only failures count. Many callers behind one address (NAT) don't hurt each other as long as
///   their keys are right; one of them that keeps failing can slow down the others' *first*
///   requests, until their keys are known again.
/// - The limit for a prefix is for guessing from many sources, and it turns away failures alone: a
///   prefix is no secret, so nobody is kept from presenting a key by what others did with its prefix. Its
///   owner is not locked out, whether the key is in the cache of verified keys or there is none. A
///   guess that is turned away still counts for its source, which then is kept from the store.
/// - The layer that verifies asks the meter only for a key that it did not find in its cache. Without
///   a cache (a staleness bound of 0) every request is a first one: there a source that has spent its
///   failures keeps the right keys behind the same address out too.
/// - Test and count are one step under the locks of both counters, and a failure that the source's
///   limit turns away counts nothing.
///
/// **Bound.** At most 65 536 sources and, apart from them, 65 536 prefixes are counted by
/// themselves. A counter leaves by itself when all its failures are forgotten, and one failure is
/// forgotten after 0.6 s. While there is no room, unknown newcomers of one shard share one counter:
/// a flood of made-up sources throttles newcomers, never somebody who is counted already.
#[derive(Debug)]
pub struct SourceThrottle {
    sources: Table,
    prefixes: Table,
}

#[derive(Debug)]
struct Table {
    cells: Cells,
    quota: Quota,
}

/// One counter, locked and weighed for one failure.
struct Weighed<'a> {
    shard: MutexGuard<'a, Shard>,
    name: Fingerprint,
    place: Place,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Counted(Slot),
    /// A newcomer, with room reserved for it.
    New,
    Shared,
}

impl SourceThrottle {
    /// How many sources, and how many prefixes, are counted by themselves.
    pub const CAPACITY: usize = 65_536;

    /// A throttle with the default quotas.
    #[must_use]
    pub fn new() -> Self {
        let quota = Quota::new(100, Duration::from_millis(600))
            .expect("100 units at 0.6 s each are a valid quota");
        Self {
            sources: Table::new(quota, Self::CAPACITY),
            prefixes: Table::new(quota, Self::CAPACITY),
        }
    }

    /// Another quota of failures for each source.
    #[must_use]
    pub fn with_source_quota(mut self, quota: Quota) -> Self {
        self.sources.quota = quota;
        self
    }

    /// Another quota of failures for each key prefix.
    #[must_use]
    pub fn with_prefix_quota(mut self, quota: Quota) -> Self {
        self.prefixes.quota = quota;
        self
    }

    /// Another bound for sources and for prefixes; what was counted so far is forgotten.
    ///
    /// # Errors
    /// When a bound is 0.
    pub fn with_capacity(mut self, sources: usize, prefixes: usize) -> Result<Self, ConfigError> {
        if sources == 0 || prefixes == 0 {
            let problem = "it must be able to count at least one source and one prefix";
            return Err(ConfigError::new("source throttle", problem));
        }
        self.sources = Table::new(self.sources.quota, sources);
        self.prefixes = Table::new(self.prefixes.quota, prefixes);
        Ok(self)
    }

    /// How many sources are counted by themselves now.
    #[must_use]
    pub fn tracked_sources(&self) -> usize {
        self.sources.cells.len()
    }

    /// How many prefixes are counted by themselves now.
    #[must_use]
    pub fn tracked_prefixes(&self) -> usize {
        self.prefixes.cells.len()
    }

    /// [`FailureMeter::record_failure`] for an attempt that has nothing to do with what others do from
    /// its source or with its prefix: the two together are counted by themselves, by the source's
    /// quota.
    pub(crate) fn record_apart(&self, attempt: &Attempt<'_>) -> Result<(), Throttled> {
        let both = self.sources.weigh(&both(attempt), attempt.at);
        let wait = both.wait();
        self.sources.settle(both, wait.is_none());
        wait.map_or(Ok(()), |wait| Err(Throttled::failures(wait)))
    }
}

fn both<'a>(attempt: &Attempt<'a>) -> (SourceBucket, Option<&'a str>) {
    (attempt.source, attempt.prefix.map(KeyPrefix::as_str))
}

impl Default for SourceThrottle {
    fn default() -> Self {
        Self::new()
    }
}

impl FailureMeter for SourceThrottle {
    fn admit(&self, attempt: &Attempt<'_>) -> Result<(), Throttled> {
        self.sources.admit(&attempt.source, attempt.at)
    }

    fn record_failure(&self, attempt: &Attempt<'_>) -> Result<(), Throttled> {
        // Sources are always locked before prefixes.
        let source = self.sources.weigh(&attempt.source, attempt.at);
        let prefix = attempt
            .prefix
            .map(|prefix| self.prefixes.weigh(prefix.as_str(), attempt.at));
        let prefix_wait = prefix.as_ref().and_then(Weighed::wait);
        let source_wait = source.wait();
        let wait = source_wait.max(prefix_wait);
        self.sources.settle(source, source_wait.is_none());
        if let Some(prefix) = prefix {
            self.prefixes.settle(prefix, wait.is_none());
        }
        match wait {
            None => Ok(()),
            Some(retry_after) => Err(Throttled::failures(retry_after)),
        }
    }
}

impl Table {
    fn new(quota: Quota, capacity: usize) -> Self {
        Self {
            cells: Cells::new(SHARDS, capacity),
            quota,
        }
    }

    fn admit<K: Hash + ?Sized>(&self, key: &K, at: Monotonic) -> Result<(), Throttled> {
        let name = self.name(key);
        let mut shard = self.cells.lock(name);
        let now = shard.advance(at.as_nanos());
        let tat = match shard.find(name) {
            None if self.cells.is_full() => shard.overflow,
            slot => shard.tat(slot),
        };
        let verdict = decide(tat, now, self.quota, 1);
        self.cells.finish(shard, 0);
        if verdict.allowed {
            return Ok(());
        }
        let wait = Duration::from_nanos(verdict.retry_after_ns);
        Err(Throttled::failures(wait))
    }

    fn weigh<K: Hash + ?Sized>(&self, key: &K, at: Monotonic) -> Weighed<'_> {
        let name = self.name(key);
        let mut shard = self.cells.lock(name);
        let now = shard.advance(at.as_nanos());
        let (place, tat) = match shard.find(name) {
            Some(slot) => (Place::Counted(slot), shard.tat(Some(slot))),
            None if self.has_room(&mut shard) => (Place::New, 0),
            None => (Place::Shared, shard.overflow),
        };
        Weighed {
            verdict: decide(tat, now, self.quota, 1),
            shard,
            name,
            place,
        }
    }

    /// Counts the failure, or leaves everything as it was.
    fn settle(&self, weighed: Weighed<'_>, counts: bool) {
        let Weighed {
            mut shard,
            name,
            place,
            verdict,
        } = weighed;
        let mut inserted = 0;
        match (place, counts) {
            (Place::Counted(slot), true) => shard.set(slot, verdict.new_tat),
            (Place::New, true) => {
                shard.insert(name, verdict.new_tat);
                inserted = 1;
            }
            (Place::Shared, true) => shard.overflow = verdict.new_tat,
            (Place::New, false) => self.cells.release(1),
            (Place::Counted(_) | Place::Shared, false) => {}
        }
        self.cells.finish(shard, inserted);
    }

    fn has_room(&self, shard: &mut Shard) -> bool {
        let reserved = self.cells.reserve(1).or_else(|NoRoom| {
            self.cells.make_room(shard);
            self.cells.reserve(1)
        });
        reserved.is_ok()
    }

    fn name<K: Hash + ?Sized>(&self, key: &K) -> Fingerprint {
        let mut hasher = self.cells.hasher();
        key.hash(&mut hasher);
        hasher.fingerprint()
    }
}

impl Weighed<'_> {
    fn wait(&self) -> Option<Duration> {
        (!self.verdict.allowed).then(|| Duration::from_nanos(self.verdict.retry_after_ns))
    }
}

const SHARDS: usize = 64;

#[cfg(test)]
mod tests;
