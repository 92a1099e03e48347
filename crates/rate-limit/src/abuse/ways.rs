//! A table of fixed size that names find their place in.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cells::{Fingerprint, Seeds};

/// So many places in sets of [`WAYS`], each set behind a lock of its own. All of them are there
/// from the start: a flood of made-up names can't make the table grow. A newcomer to a full set
/// takes the place that is worth least. Which set a name belongs to, nobody outside can tell.
pub(super) struct Ways<T> {
    seeds: Seeds,
    sets: Box<[Mutex<Set<T>>]>,
}

/// What a place holds. The default is an empty place.
pub(super) trait Place: Copy + Default {
    /// How much would be lost with it; 0 for nothing.
    fn worth(&self) -> u64;
}

/// Names stand together, so that a name is looked for in two cache lines.
#[derive(Clone, Copy)]
struct Set<T> {
    names: [Fingerprint; WAYS],
    held: [T; WAYS],
}

impl<T: Place> Ways<T> {
    /// At least `capacity` places.
    pub(super) fn new(capacity: usize) -> Self {
        let sets = capacity.div_ceil(WAYS).max(1).next_power_of_two();
        let empty = Set {
            names: [Fingerprint { low: 0, high: 0 }; WAYS],
            held: [T::default(); WAYS],
        };
        Self {
            seeds: Seeds::random(),
            sets: (0..sets).map(|_| Mutex::new(empty)).collect(),
        }
    }

    #[inline]
    pub(super) fn name<K: Hash + ?Sized>(&self, key: &K) -> Fingerprint {
        let mut hasher = self.seeds.hasher();
        key.hash(&mut hasher);
        hasher.fingerprint()
    }

    /// Gives what stands under `name`, or what a newcomer starts with, to `change`.
    pub(super) fn with<R>(&self, name: Fingerprint, change: impl FnOnce(&mut T) -> R) -> R {
        let mut set = self.lock(name);
        if let Some(held) = set.find(name) {
            return change(held);
        }
        let least = (0..WAYS).min_by_key(|way| set.held[*way].worth());
        let way = least.expect("a set has places");
        set.names[way] = name;
        set.held[way] = T::default();
        change(&mut set.held[way])
    }

    /// Gives what stands under `name` to `look`, if it is there.
    pub(super) fn find<R>(&self, name: Fingerprint, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.lock(name).find(name).map(look)
    }

    /// Bytes of all places.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    fn lock(&self, name: Fingerprint) -> MutexGuard<'_, Set<T>> {
        let index = name.low as usize & (self.sets.len() - 1);
        // A panic can't leave a place half changed: nothing that can fail stands between two writes.
        let set = self.sets[index].lock();
        set.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Set<T> {
    fn find(&mut self, name: Fingerprint) -> Option<&mut T> {
        let way = self.names.iter().position(|other| *other == name)?;
        Some(&mut self.held[way])
    }
}

impl<T> std::fmt::Debug for Ways<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ways")
            .field("places", &(self.sets.len() * WAYS))
            .finish_non_exhaustive()
    }
}

const WAYS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Default)]
    struct Count(u64);

    impl Place for Count {
        fn worth(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn a_flood_of_newcomers_pushes_out_each_other_and_not_who_counts() {
        let table: Ways<Count> = Ways::new(64);
        let known = table.name("known");
        table.with(known, |count| count.0 = 5);
        for stranger in 0..10_000u32 {
            table.with(table.name(&stranger), |count| count.0 += 1);
        }
        assert_eq!(table.find(known, |count| count.0), Some(5));
        let held = (0..10_000u32).filter(|n| table.find(table.name(n), |_| ()).is_some());
        assert_eq!(held.count(), 63, "the table is as large as it was");
    }

    #[test]
    fn looking_takes_no_place() {
        let table: Ways<Count> = Ways::new(8);
        assert_eq!(table.find(table.name("a"), |count| count.0), None);
        assert_eq!(table.find(table.name("a"), |_| ()), None);
    }
}
