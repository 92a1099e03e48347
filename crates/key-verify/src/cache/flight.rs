//! Look-ups under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use countersign_core::{KeyPrefix, StoreError, StoreErrorKind};
use dashmap::{DashMap, Entry};
use tokio::sync::watch;

use super::room::Part;
use super::{Inner, KeyCache, Outcome, fresh};
use crate::cached::{CachedKey, Slot};
use crate::store::FoundKey;

/// At most one look-up for each key. Whoever holds a key's place here may change its entry in the
/// cache: that keeps a look-up and an eviction apart.
#[derive(Default)]
pub(super) struct Flights {
    places: DashMap<KeyPrefix, Flight>,
    next: AtomicU64,
    /// Look-ups that ask the store now, those that won't be kept included.
    asking: Arc<AtomicUsize>,
}

struct Flight {
    id: u64,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Flights {
    /// A place among at most `limit` look-ups; none where all are taken.
    fn admit(&self, limit: usize) -> Option<Asking> {
        // Taken before it is counted, so that the guard gives back what was taken on every road.
        let asking = Asking(Arc::clone(&self.asking));
        let before = self.asking.fetch_add(1, Ordering::Relaxed);
        (before < limit).then_some(asking)
    }

    /// Does `meanwhile`; a look-up for this key that is under way won't be kept.
    pub(super) fn ground(&self, prefix: &KeyPrefix, meanwhile: impl FnOnce()) {
        let place = self.places.entry(*prefix);
        meanwhile();
        if let Entry::Occupied(flight) = place {
            flight.remove();
        }
    }

    /// No look-up that is under way will be kept.
    pub(super) fn ground_all(&self) {
        self.places.clear();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// One look-up that asks the store.
struct Asking(Arc<AtomicUsize>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl KeyCache {
    /// The look-up under way for this key, or a new one; none where too many are under way. It is
    /// a task of its own, so that a caller who leaves strands nobody.
    pub(super) fn join_flight(
        &self,
        prefix: KeyPrefix,
    ) -> Option<watch::Receiver<Option<Outcome>>> {
        let flights = &self.0.flights;
        let place = match flights.places.entry(prefix) {
            Entry::Occupied(flight) => return Some(flight.get().outcome.clone()),
            Entry::Vacant(place) => place,
        };
        let asking = self.0.admit()?;
        let (sender, outcome) = watch::channel(None);
        let landing = Landing {
            inner: Arc::clone(&self.0),
            prefix,
            id: flights.next.fetch_add(1, Ordering::Relaxed),
        };
        place.insert(Flight {
            id: landing.id,
            outcome: outcome.clone(),
        });
        tokio::spawn(async move {
            let _asking = asking;
            let found = landing.inner.fetch(&prefix).await;
            let found = landing.land(found);
            // Nobody may be waiting any more.
            let _ = sender.send(Some(found));
        });
        Some(outcome)
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
        match self.inner.flights.places.entry(self.prefix) {
            Entry::Occupied(flight) if flight.get().id == self.id => {
                let found = self.inner.keep(self.prefix, found);
                flight.remove();
                found
            }
            _ => found,
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let places = &self.inner.flights.places;
        places.remove_if(&self.prefix, |_, flight| flight.id == self.id);
    }
}

impl Inner {
    fn admit(&self) -> Option<Asking> {
        let admitted = self.flights.admit(self.settings.look_ups);
        if admitted.is_none() {
            self.failures.crowded(self.clock.monotonic());
        }
        admitted
    }

    /// A look-up for one request alone: nothing is kept of it.
    pub(super) async fn fetch_alone(&self, prefix: &KeyPrefix) -> Outcome {
        let Some(_asking) = self.admit() else {
            return Outcome::Unavailable;
        };
        self.fetch(prefix).await
    }

    async fn fetch(&self, prefix: &KeyPrefix) -> Outcome {
        // Read before the store is asked, so that an age is never understated.
        let asked = self.clock.monotonic();
        let deadline = self.settings.deadline;
        let answer = match tokio::time::timeout(deadline, self.store.find(prefix)).await {
            Ok(answer) => answer.and_then(|found| belongs(found, prefix)),
            Err(late) => Err(StoreError::with_source(StoreErrorKind::Unavailable, late)),
        };
        match answer {
            Ok(Some(found)) => {
                let (key, scopes) = (found.record.id, &found.record.scopes);
                let cell = self.uses.get().map(|uses| uses.cell(key, scopes));
                let found = CachedKey::new(found, asked).noting_uses(cell);
                Outcome::Found(Arc::new(found))
            }
            Ok(None) => Outcome::Found(Arc::new(CachedKey::unknown(&self.stand_in, asked))),
            Err(error) => {
                self.failures.failed(asked, &error);
                Outcome::Unavailable
            }
        }
    }

    /// Keeps what was found, and says what holds now. The caller holds the key's place among the
    /// look-ups.
    fn keep(&self, prefix: KeyPrefix, found: Outcome) -> Outcome {
        let Outcome::Found(key) = found else {
            return found;
        };
        // A replica that lags behind must not bring an older record back. What is past the
        // bound is no evidence of that: the store may have been restored.
        let now = self.clock.monotonic();
        let newer = self.room.read(&prefix, |held| {
            let fetched = held.key.fetched;
            let believed = fresh(fetched, now, self.bounds(now).of(fetched));
            let newer = key.known && held.key.version > key.version;
            (believed && newer).then(|| held.key.clone())
        });
        if let Some(newer) = newer {
            return Outcome::Found(Arc::new(newer));
        }
        let part = if key.known { Part::Known } else { Part::Absent };
        self.room.put(part, &prefix, Slot::new((*key).clone()));
        Outcome::Found(key)
    }
}

/// A store that compares prefixes loosely, for example without regard to case, would let one key
/// be used, cached and evicted under several names.
fn belongs(found: Option<FoundKey>, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
    match found {
        Some(found) if found.record.prefix != *prefix => Err(StoreError::with_source(
            StoreErrorKind::Corrupt,
            "the record of another key was found",
        )),
        found => Ok(found),
    }
}
