//! The requests that are under way.

use std::hash::Hasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrayvec::ArrayVec;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::cells::{Fingerprint, Seeds};
use crate::concurrency::Places;
use crate::request::Subject;

/// How many limits on requests at once can apply to one request.
pub(crate) const MAX_PLACES: usize = 4;

/// How many requests are under way, by what is counted. There are never more entries than places that
/// are taken.
#[derive(Debug)]
pub(crate) struct InFlight {
    seeds: Seeds,
    shards: Box<[Padded]>,
}

/// As for counters: two shards never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(Mutex<HashTable<Taken>>);

#[derive(Debug)]
struct Taken {
    name: Fingerprint,
    count: u32,
}

/// The places that one request has. They are free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    in_flight: Arc<InFlight>,
    names: ArrayVec<Fingerprint, MAX_PLACES>,
}

/// How many places there are, and how many of them are free now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Free {
    pub(crate) most: u32,
    pub(crate) left: u32,
}

/// What each limit said, in their order, as far as they were asked.
pub(crate) type Told = ArrayVec<Free, MAX_PLACES>;

/// A request's places, and what there is to tell of them.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) told: Told,
    /// `None` where there was no place for it.
    pub(crate) permit: Option<Permit>,
}

impl InFlight {
    pub(crate) fn new() -> Self {
        Self {
            seeds: Seeds::random(),
            shards: (0..SHARDS).map(|_| Padded::default()).collect(),
        }
    }

    /// Takes a place of every limit, or of none: then the last one told is the one without a free place.
    pub(crate) fn enter(self: &Arc<Self>, limits: &[Places], subject: &Subject<'_>) -> Admission {
        let mut permit = Permit {
            in_flight: Arc::clone(self),
            names: ArrayVec::new(),
        };
        let mut told = Told::new();
        for limit in limits {
            let most = limit.most_for(subject.identity);
            let name = self.name(limit, subject);
            let left = self.take(name, most);
            told.push(Free {
                most,
                left: left.unwrap_or(0),
            });
            if left.is_none() {
                // What was taken so far goes back with the permit.
                return Admission { told, permit: None };
            }
            permit.names.push(name);
        }
        Admission {
            told,
            permit: Some(permit),
        }
    }

    /// Takes one of `most` places; how many are then left, or `None` when there was none.
    fn take(&self, name: Fingerprint, most: u32) -> Option<u32> {
        let mut shard = self.lock(name);
        match shard.entry(name.low, |taken| taken.name == name, rehash) {
            Entry::Occupied(mut entry) => {
                let count = &mut entry.get_mut().count;
                let left = most.checked_sub(*count)?.checked_sub(1)?;
                *count += 1;
                Some(left)
            }
            Entry::Vacant(entry) => {
                let left = most.checked_sub(1)?;
                entry.insert(Taken { name, count: 1 });
                Some(left)
            }
        }
    }

    fn give_back(&self, name: Fingerprint) {
        let mut shard = self.lock(name);
        if let Ok(mut entry) = shard.find_entry(name.low, |taken| taken.name == name) {
            entry.get_mut().count -= 1;
            if entry.get().count == 0 {
                entry.remove();
            }
        }
    }

    fn name(&self, limit: &Places, subject: &Subject<'_>) -> Fingerprint {
        let mut hasher = self.seeds.hasher();
        subject.write_to(&mut hasher, limit.dimension);
        hasher.write_u64(limit.tag);
        hasher.fingerprint()
    }

    fn lock(&self, name: Fingerprint) -> MutexGuard<'_, HashTable<Taken>> {
        let shard = &self.shards[name.high as usize & (SHARDS - 1)].0;
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let len = |shard: &Padded| shard.0.lock().unwrap().len();
        self.shards.iter().map(len).sum()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        for name in &self.names {
            self.in_flight.give_back(*name);
        }
    }
}

fn rehash(taken: &Taken) -> u64 {
    taken.name.low
}

/// A power of two.
const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::samples::{Caller, after};
    use crate::{Concurrency, Dimension, Policies};

    fn limits() -> Policies {
        let limit = |name: &str, dimension, most| Concurrency::new(name, dimension, most);
        let policies = Policies::new([]).unwrap().with_concurrency([
            limit("key", Dimension::Key, 5),
            limit("company", Dimension::Company, 3),
            limit("all", Dimension::Platform, 4),
        ]);
        policies.unwrap()
    }

    #[test]
    fn eight_threads_never_have_more_places_than_there_are() {
        let in_flight = Arc::new(InFlight::new());
        let policies = limits();
        let callers = [Caller::new(), Caller::new()];
        let contexts = callers.map(|caller| caller.reads(after(Duration::from_secs(1))));
        let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (in_flight, policies, contexts) = (&in_flight, &policies, &contexts);
                let (inside, most, start) = (&inside, &most, &start);
                scope.spawn(move || {
                    start.wait();
                    for i in 0..2_000 {
                        let context = &contexts[(thread + i) % 2];
                        let request = policies.request(context).unwrap();
                        let places = &request.plan().places;
                        let admission = in_flight.enter(places, request.subject());
                        if admission.permit.is_some() {
                            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            std::thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(most.into_inner() <= 4);
        assert_eq!(in_flight.len(), 0, "nothing stays");
    }

    #[test]
    fn a_refusal_takes_no_place_of_the_others() {
        let in_flight = Arc::new(InFlight::new());
        let policies = limits();
        let caller = Caller::new();
        let enter = |caller: &Caller| {
            let context = caller.reads(after(Duration::from_secs(1)));
            let request = policies.request(&context).unwrap();
            in_flight.enter(&request.plan().places, request.subject())
        };
        let left = |admission: &Admission| -> Vec<u32> {
            admission.told.iter().map(|free| free.left).collect()
        };
        let first = enter(&caller);
        let held = [enter(&caller), enter(&caller.colleague())];
        assert_eq!(left(&first), [4, 2, 3]);
        let refused = enter(&caller);
        assert_eq!(
            (left(&refused), refused.permit.is_none()),
            (vec![2, 0], true)
        );
        drop(first);
        // One of its own places is taken, and two of its company's: the refusal took none.
        assert_eq!(left(&enter(&caller)), [3, 0, 1]);
        drop(held);
        assert_eq!(in_flight.len(), 0);
    }
}
