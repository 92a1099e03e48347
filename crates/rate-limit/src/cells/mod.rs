//! Counters by fingerprint, in shards: what the local store and the throttle are made of.

mod fingerprint;
mod shard;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

pub(crate) use fingerprint::{Fingerprint, Fingerprinter, Name, Namer, Seeds};
use shard::BATCH;
pub(crate) use shard::{Shard, Slot};

/// Counters in shards, never more than `capacity` of them.
#[derive(Debug)]
pub(crate) struct Cells {
    seeds: Seeds,
    shards: Box<[Padded]>,
    /// Which shard is swept next by a request that passes by.
    rotation: AtomicUsize,
    live: AtomicUsize,
    capacity: usize,
}

/// Two shards never share a cache line, nor the pair of lines that is fetched together.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

/// There is no room for another counter, and every one that is there counts something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Cells {
    /// `shards` is a power of two.
    pub(crate) fn new(shards: usize, capacity: usize) -> Self {
        debug_assert!(shards.is_power_of_two());
        let shard = |_| Padded(Mutex::new(Shard::new()));
        Self {
            seeds: Seeds::random(),
            shards: (0..shards).map(shard).collect(),
            rotation: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
            capacity,
        }
    }

    #[inline]
    pub(crate) fn hasher(&self) -> Fingerprinter {
        self.seeds.hasher()
    }

    /// The shard for `home`, locked.
    #[inline]
    pub(crate) fn lock(&self, home: Fingerprint) -> MutexGuard<'_, Shard> {
        // The low half chooses the place within a shard.
        let index = home.high as usize & (self.shards.len() - 1);
        lock(&self.shards[index].0)
    }

    /// How many counters there are.
    pub(crate) fn len(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// Takes room for `count` counters, if there is room for all of them.
    #[inline]
    pub(crate) fn reserve(&self, count: usize) -> Result<(), NoRoom> {
        if count == 0 {
            return Ok(());
        }
        let fits = |live: usize| {
            let then = live.checked_add(count)?;
            (then <= self.capacity).then_some(then)
        };
        let order = Ordering::Relaxed;
        match self.live.fetch_update(order, order, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(NoRoom),
        }
    }

    /// Takes room for `count` counters even where there is none: for the few that stand for all
    /// others.
    pub(crate) fn reserve_beyond(&self, count: usize) {
        if count > 0 {
            self.live.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Lets counters leave that are whole again, of `shard` and of another one: what is tried once
    /// before a newcomer is told that there is no room. All slots found before in `shard` are void.
    pub(crate) fn make_room(&self, shard: &mut Shard) {
        self.release(shard.sweep(BATCH));
        // It only tries the other's lock, so holding this one can't end in waiting for each other.
        self.sweep_elsewhere(shard.advance(0));
    }

    /// `count` counters are gone.
    pub(crate) fn release(&self, count: usize) {
        if count > 0 {
            self.live.fetch_sub(count, Ordering::Relaxed);
        }
    }

    /// Ends a decision that `inserted` counters: now and then it sweeps a bit of its own shard,
    /// and a bit of another, so that shards that nobody asks any more empty as well.
    #[inline]
    pub(crate) fn finish(&self, mut shard: MutexGuard<'_, Shard>, inserted: usize) {
        if shard.is_due(inserted) {
            self.sweep(shard);
        }
    }

    #[cold]
    fn sweep(&self, mut shard: MutexGuard<'_, Shard>) {
        self.release(shard.sweep(BATCH));
        let now = shard.advance(0);
        drop(shard);
        self.sweep_elsewhere(now);
    }

    /// Sweeps a bit of the next shard in turn, unless somebody is at work there.
    pub(crate) fn sweep_elsewhere(&self, now: u64) {
        let turn = self.rotation.fetch_add(1, Ordering::Relaxed);
        let mut shard = match self.shards[turn & (self.shards.len() - 1)].0.try_lock() {
            Ok(shard) => shard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        shard.advance(now);
        self.release(shard.sweep(BATCH));
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let tables: usize = self.shards.iter().map(|s| lock(&s.0).bytes()).sum();
        tables + size_of_val(&*self.shards)
    }
}

/// A panic can't leave a shard half changed: nothing that can fail stands between two writes.
#[inline]
pub(crate) fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
