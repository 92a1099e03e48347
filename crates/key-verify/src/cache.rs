//! Verified keys in memory, in front of the store.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_core::{Clock, CompanyId, KeyPrefix, Monotonic};
use dashmap::DashMap;
use tokio::sync::watch;

use crate::cached::{CachedKey, Slot};
use crate::store::KeyStore;

/// The keys that were found in the store lately. Reading takes no lock and counts no reference; a
/// clone is a handle to the same cache.
///
/// - An entry older than the staleness bound is never used, whatever the store does.
/// - Past half the bound the first use asks the store again in the background.
/// - Of many requests for one key that is not here, one asks the store.
/// - Known and unknown keys are bounded apart: made-up prefixes can't push out real keys. A full
///   cache drops keys that were not used since it last came by them.
/// - [`KeyCache::evict`] takes effect at once: a look-up that began before it answers those who
///   waited for it and is not kept.
#[derive(Clone)]
pub struct KeyCache(Arc<Inner>);

#[derive(Debug, Clone)]
pub(crate) struct CacheSettings {
    pub(crate) bound: Duration,
    pub(crate) absent_for: Duration,
    pub(crate) keys: usize,
    pub(crate) absent: usize,
    pub(crate) deadline: Duration,
}

struct Inner {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    settings: CacheSettings,
    keys: papaya::HashMap<KeyPrefix, Slot>,
    absent: papaya::HashMap<KeyPrefix, Monotonic>,
    key_order: Mutex<VecDeque<KeyPrefix>>,
    absent_order: Mutex<VecDeque<KeyPrefix>>,
    /// The look-ups under way. Whoever holds a prefix's place here may change its entry.
    flights: DashMap<KeyPrefix, Flight>,
    next_flight: AtomicU64,
}

struct Flight {
    id: u64,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What the store said.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Found(Arc<CachedKey>),
    Absent,
    Unavailable,
}

/// What the cache knows.
#[derive(Debug)]
pub(crate) enum Known<T> {
    Key(T),
    Absent,
    Nothing,
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
            settings,
            keys: papaya::HashMap::new(),
            absent: papaya::HashMap::new(),
            key_order: Mutex::default(),
            absent_order: Mutex::default(),
            flights: DashMap::new(),
            next_flight: AtomicU64::new(0),
        }))
    }

    /// Forgets a key. Whoever asks for it after this call is answered from the store.
    pub fn evict(&self, prefix: &KeyPrefix) {
        // Holding the key's place among the look-ups keeps one that is under way from putting an
        // old record back.
        let place = self.0.flights.entry(*prefix);
        self.0.keys.pin().remove(prefix);
        self.0.absent.pin().remove(prefix);
        if let dashmap::Entry::Occupied(flight) = place {
            flight.remove();
        }
    }

    /// Forgets all keys of a company.
    pub fn evict_company(&self, company: &CompanyId) {
        // Nobody knows yet whose key a look-up will find, so none that is under way is kept.
        self.0.flights.clear();
        let keys = self.0.keys.pin();
        keys.retain(|_, slot| slot.key.identity.company() != company);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.flights.clear();
        self.0.keys.pin().clear();
        self.0.absent.pin().clear();
    }

    /// How many keys are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.keys.len()
    }

    /// Whether no key is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known of `prefix` at `now`, without asking the store. `read` copies out what it
    /// needs.
    pub(crate) fn peek<T>(
        &self,
        prefix: &KeyPrefix,
        now: Monotonic,
        read: impl FnOnce(&CachedKey) -> T,
    ) -> Known<T> {
        let keys = self.0.keys.pin();
        if let Some(slot) = keys.get(prefix) {
            let age = now.duration_since(slot.key.fetched);
            if age < self.0.settings.bound {
                slot.touch();
                if age > self.0.settings.bound / 2 && slot.claim_refresh() {
                    self.refresh(*prefix);
                }
                return Known::Key(read(&slot.key));
            }
        }
        match self.0.absent.pin().get(prefix) {
            Some(until) if now < *until => Known::Absent,
            _ => Known::Nothing,
        }
    }

    /// Asks the store, together with everybody else who is asking for this key.
    pub(crate) async fn look_up(&self, prefix: KeyPrefix) -> Outcome {
        if self.0.settings.bound.is_zero() {
            return self.0.fetch(&prefix).await;
        }
        let mut outcome = self.join_flight(prefix);
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Outcome::Unavailable),
            // The look-up ended without an answer: the store panicked.
            Err(_) => Outcome::Unavailable,
        }
    }

    fn refresh(&self, prefix: KeyPrefix) {
        if tokio::runtime::Handle::try_current().is_ok() {
            drop(self.join_flight(prefix));
        }
    }

    /// The look-up under way for this key, or a new one. It is a task of its own, so that a caller
    /// who leaves strands nobody.
    fn join_flight(&self, prefix: KeyPrefix) -> watch::Receiver<Option<Outcome>> {
        match self.0.flights.entry(prefix) {
            dashmap::Entry::Occupied(flight) => flight.get().outcome.clone(),
            dashmap::Entry::Vacant(place) => {
                let (sender, outcome) = watch::channel(None);
                let id = self.0.next_flight.fetch_add(1, Ordering::Relaxed);
                place.insert(Flight {
                    id,
                    outcome: outcome.clone(),
                });
                let landing = Landing {
                    inner: Arc::clone(&self.0),
                    prefix,
                    id,
                };
                tokio::spawn(async move {
                    let found = landing.inner.fetch(&prefix).await;
                    let found = landing.land(found);
                    // Nobody may be waiting any more.
                    let _ = sender.send(Some(found));
                });
                outcome
            }
        }
    }
}

impl Inner {
    async fn fetch(&self, prefix: &KeyPrefix) -> Outcome {
        let asked = self.clock.monotonic();
        let answer = tokio::time::timeout(self.settings.deadline, self.store.find(prefix)).await;
        match answer {
            Ok(Ok(Some(found))) => Outcome::Found(Arc::new(CachedKey::new(found, asked))),
            Ok(Ok(None)) => Outcome::Absent,
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(target: "countersign", %error, cause, "the key store failed");
                Outcome::Unavailable
            }
            Err(_) => {
                tracing::error!(target: "countersign", "the key store did not answer in time");
                Outcome::Unavailable
            }
        }
    }

    /// Keeps what was found, and says what holds now. The caller holds the key's flight.
    fn keep(&self, prefix: KeyPrefix, found: Outcome) -> Outcome {
        match found {
            Outcome::Found(key) => {
                let keys = self.keys.pin();
                // A replica that lags behind must not bring an older record back.
                let newer = keys.get(&prefix).filter(|s| s.key.version > key.version);
                if let Some(newer) = newer {
                    return Outcome::Found(Arc::new(newer.key.clone()));
                }
                if keys.insert(prefix, Slot::new((*key).clone())).is_none() {
                    self.make_room(prefix);
                }
                Outcome::Found(key)
            }
            Outcome::Absent => {
                let until = self.clock.monotonic().as_nanos();
                let lifetime = u64::try_from(self.settings.absent_for.as_nanos());
                let until = until.saturating_add(lifetime.unwrap_or(u64::MAX));
                self.keys.pin().remove(&prefix);
                let absent = self.absent.pin();
                if absent
                    .insert(prefix, Monotonic::from_nanos(until))
                    .is_none()
                {
                    let mut order = lock(&self.absent_order);
                    order.push_back(prefix);
                    while order.len() > self.settings.absent {
                        order.pop_front().map(|oldest| absent.remove(&oldest));
                    }
                }
                Outcome::Absent
            }
            Outcome::Unavailable => Outcome::Unavailable,
        }
    }

    /// Second chance: a key that was used since the hand last came by stays once more.
    fn make_room(&self, newest: KeyPrefix) {
        let keys = self.keys.pin();
        let mut order = lock(&self.key_order);
        order.push_back(newest);
        let mut spared = 0;
        while order.len() > self.settings.keys {
            let Some(oldest) = order.pop_front() else {
                return;
            };
            let used = keys.get(&oldest).is_some_and(Slot::take_touched);
            if used && spared < MAX_SPARED {
                spared += 1;
                order.push_back(oldest);
            } else {
                keys.remove(&oldest);
            }
        }
    }
}

/// Brings a look-up to its end, even if the store panics half way.
struct Landing {
    inner: Arc<Inner>,
    prefix: KeyPrefix,
    id: u64,
}

impl Landing {
    /// Keeps what was found, unless the key was evicted since the look-up began.
    fn land(&self, found: Outcome) -> Outcome {
        let dashmap::Entry::Occupied(flight) = self.inner.flights.entry(self.prefix) else {
            return found;
        };
        if flight.get().id != self.id {
            return found;
        }
        let found = self.inner.keep(self.prefix, found);
        flight.remove();
        found
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let flights = &self.inner.flights;
        flights.remove_if(&self.prefix, |_, flight| flight.id == self.id);
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many used keys one insert passes over before it drops one all the same.
const MAX_SPARED: usize = 16;
