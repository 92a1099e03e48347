//! Verified keys in memory, in front of the store.

mod failures;
mod flight;
mod room;
#[cfg(test)]
mod tests;
mod uses;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use countersign_core::{Clock, CompanyId, ConfigError, KeyPrefix, Monotonic};

use self::failures::FailureLog;
use self::flight::Flights;
use self::room::{Part, Room};
use crate::cached::{CachedKey, Slot, stand_in};
use crate::digest::SecretDigest;
use crate::follow::ChangeFollower;
use crate::store::{FoundKey, KeyStore};
use crate::uses::UseTracker;

/// The keys that were found in the store lately. Reading takes no lock and counts no reference; a
/// clone is a handle to the same cache.
///
/// - An entry older than the staleness bound is never used, whatever the store does. While a change
///   feed is followed and broken, the bound is the fallback bound; for entries read before the feed
///   was opened again it stays so.
/// - Past half the bound the first use asks the store again in the background. If that fails the
///   entry goes on until the bound.
/// - Of many requests for one key that is not here, one asks the store. No more than a set number of
///   keys is asked for at a time; requests beyond it are refused with 503.
/// - Known and unknown keys are bounded apart: made-up prefixes can't push out real keys. A full
///   cache drops keys that were not used since it last came by them.
/// - A prefix that the store doesn't know is held as a key that no secret opens, found and compared
///   like any other, so that the time of a refusal doesn't tell which prefixes are known.
/// - [`KeyCache::evict`] takes effect at once: a look-up that began before it answers those who
///   waited for it and is not kept.
/// - An older version of a record never replaces a newer one that is held and still believed.
///
/// What a key's own record says of time, its expiry and the end of its overlap, never depends on
/// the cache: it is compared with the clock on every request.
#[derive(Clone)]
pub struct KeyCache(Arc<Inner>);

#[derive(Debug, Clone)]
pub(crate) struct CacheSettings {
    pub(crate) bound: Duration,
    pub(crate) fallback: Duration,
    pub(crate) absent_for: Duration,
    pub(crate) keys: usize,
    pub(crate) absent: usize,
    pub(crate) deadline: Duration,
    pub(crate) look_ups: usize,
    /// What the secrets of unknown keys are compared with.
    pub(crate) nothing: SecretDigest,
}

struct Inner {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    settings: CacheSettings,
    lifetimes: Lifetimes,
    room: Room<Slot>,
    /// What is held in the place of a key that the store doesn't know.
    stand_in: FoundKey,
    flights: Flights,
    /// Until when, in nanoseconds of the clock, a change made elsewhere would have been heard of.
    trusted_until: AtomicU64,
    /// What was read before then, in nanoseconds of the clock, may be of a history that the feed does
    /// not know.
    doubted_until: AtomicU64,
    followed: AtomicBool,
    failures: FailureLog,
    /// Who counts the uses of keys, once somebody wants to know.
    uses: OnceLock<Arc<UseTracker>>,
}

/// Those of the settings that each request is compared with, in nanoseconds.
#[derive(Clone, Copy)]
struct Lifetimes {
    bound: u64,
    fallback: u64,
    absent_for: u64,
}

/// What the store said.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// A key, or what stands in the place of one that it doesn't know.
    Found(Arc<CachedKey>),
    Unavailable,
}

impl KeyCache {
    pub(crate) fn new(
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
        settings: CacheSettings,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            clock,
            room: Room::new(settings.keys, settings.absent),
            stand_in: stand_in(settings.nothing),
            flights: Flights::default(),
            // Nobody promised to tell of changes, so there is no promise to break.
            trusted_until: AtomicU64::new(u64::MAX),
            doubted_until: AtomicU64::new(0),
            followed: AtomicBool::new(false),
            failures: FailureLog::default(),
            uses: OnceLock::new(),
            lifetimes: Lifetimes {
                bound: nanos(settings.bound),
                fallback: nanos(settings.fallback),
                absent_for: nanos(settings.absent_for),
            },
            settings,
        }))
    }

    /// Follows the store's change feed: what another process changes is forgotten here at once,
    /// until the returned handle is shut down. From now on entries are believed for the staleness
    /// bound while the feed works, and for the fallback bound while it doesn't.
    ///
    /// # Errors
    /// When the store has no change feed, or it is followed already.
    ///
    /// # Panics
    /// When called outside a tokio runtime.
    pub fn follow_changes(&self) -> Result<ChangeFollower, ConfigError> {
        let refuse = |problem| Err(ConfigError::new("change feed", problem));
        let Some(feed) = self.0.store.change_feed() else {
            return refuse(
                "this key store has none; changes take effect within the staleness bound",
            );
        };
        if self.0.followed.swap(true, Ordering::Relaxed) {
            return refuse("it is followed already");
        }
        self.distrust();
        Ok(ChangeFollower::spawn(self.clone(), feed))
    }

    /// Forgets a key. Whoever asks for it after this call is answered from the store.
    pub fn evict(&self, prefix: &KeyPrefix) {
        self.0.flights.ground(prefix, || self.0.room.remove(prefix));
    }

    /// Forgets all keys of a company. Looks at every key that is held: for the suspension of a
    /// company, not for each request.
    pub fn evict_company(&self, company: &CompanyId) {
        // Nobody knows yet whose key a look-up will find, so none that is under way is kept.
        self.0.flights.ground_all();
        let others = |slot: &Slot| !slot.key.known || slot.key.identity.company() != company;
        self.0.room.retain(others);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.flights.ground_all();
        self.0.room.clear();
    }

    /// How many keys are held, those past the bound included. Looks at all of them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.room.len(Part::Known)
    }

    /// Whether no key is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known of `prefix` at `now`, without asking the store: a key, or what stands in the
    /// place of one that the store doesn't know. `read` copies out what it needs.
    pub(crate) fn peek<T>(
        &self,
        prefix: &KeyPrefix,
        now: Monotonic,
        read: impl FnOnce(&CachedKey) -> T,
    ) -> Option<T> {
        let bounds = self.0.bounds(now);
        let absent_for = self.0.lifetimes.absent_for;
        self.0.room.read(prefix, |slot| {
            let CachedKey { known, fetched, .. } = slot.key;
            let bound = bounds.of(fetched);
            let lifetime = if known { bound } else { absent_for };
            fresh(fetched, now, lifetime).then(|| {
                let age = now.as_nanos().saturating_sub(fetched.as_nanos());
                let ageing = age > bound / 2;
                if ageing && known && slot.claim_refresh() {
                    self.refresh(*prefix);
                }
                read(&slot.key)
            })
        })
    }

    /// Asks the store, together with everybody else who is asking for this key.
    pub(crate) async fn look_up(&self, prefix: KeyPrefix) -> Outcome {
        if self.0.settings.bound.is_zero() {
            return self.0.fetch_alone(&prefix).await;
        }
        let Some(mut outcome) = self.join_flight(prefix) else {
            return Outcome::Unavailable;
        };
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Outcome::Unavailable),
            // The look-up ended without an answer: the store panicked.
            Err(_) => Outcome::Unavailable,
        }
    }

    pub(crate) fn now(&self) -> Monotonic {
        self.0.clock.monotonic()
    }

    pub(crate) fn fallback(&self) -> Duration {
        self.0.settings.fallback
    }

    #[cfg(test)]
    pub(crate) fn bound_now(&self) -> Duration {
        Duration::from_nanos(self.0.bounds(self.now()).bound)
    }

    /// Everything that was committed before `asked` is known here.
    pub(crate) fn trust(&self, asked: Monotonic, lease: Duration) {
        let until = asked.as_nanos().saturating_add(nanos(lease));
        self.0.trusted_until.store(until, Ordering::Release);
    }

    /// The feed was opened again. Its server may be another one, which lost the last changes and has
    /// made others since: what was read up to now is believed for the fallback bound, trusted or not.
    pub(crate) fn doubt(&self) {
        let until = self.now().as_nanos().saturating_add(1);
        self.0.doubted_until.store(until, Ordering::Release);
    }

    /// Nobody follows the feed any more: it may be followed again.
    pub(crate) fn leave(&self) {
        self.distrust();
        self.0.followed.store(false, Ordering::Relaxed);
    }

    pub(crate) fn distrust(&self) {
        self.0.trusted_until.store(0, Ordering::Release);
    }

    fn refresh(&self, prefix: KeyPrefix) {
        // Outside a runtime the key simply lives to its bound.
        if tokio::runtime::Handle::try_current().is_ok() {
            drop(self.join_flight(prefix));
        }
    }
}

impl Inner {
    /// How old entries may be at `now`.
    fn bounds(&self, now: Monotonic) -> Bounds {
        let Lifetimes {
            bound, fallback, ..
        } = self.lifetimes;
        // Most caches have one bound, and those that have two read words that seldom change.
        let trusted =
            bound == fallback || now.as_nanos() < self.trusted_until.load(Ordering::Acquire);
        Bounds {
            bound: if trusted { bound } else { fallback },
            fallback,
            doubted_until: self.doubted_until.load(Ordering::Acquire),
        }
    }
}

/// How old entries may be at one moment, in nanoseconds.
#[derive(Clone, Copy)]
struct Bounds {
    bound: u64,
    fallback: u64,
    doubted_until: u64,
}

impl Bounds {
    /// How old an entry may be that was read at `fetched`.
    fn of(self, fetched: Monotonic) -> u64 {
        if fetched.as_nanos() < self.doubted_until {
            self.fallback
        } else {
            self.bound
        }
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache")
            .field("keys", &self.len())
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

/// Whether what was read at `asked` is believed at `now`. A request may have come in a little
/// before the store was asked; where it seems to have come long before, two clocks were mixed up,
/// and then nothing is believed.
fn fresh(asked: Monotonic, now: Monotonic, lifetime: u64) -> bool {
    now.as_nanos().abs_diff(asked.as_nanos()) < lifetime
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
