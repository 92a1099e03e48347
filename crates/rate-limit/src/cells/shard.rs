//! One lock's worth of counters.

use hashbrown::HashTable;

use super::Name;

/// A counter: 16 bytes. Its name is the low half of its fingerprint; where it stands says eight bits
/// more or so of the high half. Of four million counters two meet once in a billion stores.
#[derive(Debug, Clone, Copy)]
struct Cell {
    name: Name,
    tat: u64,
}

/// Counters behind one lock, and the latest time at which one of them was looked at.
///
/// A counter that is whole again says the same as none, so it may leave. That holds only if the
/// clock never goes back behind the look that removed it: every decision is made at the latest
/// time that the shard has seen. A request that was held up on its way here is decided late, not
/// in the past.
#[derive(Debug)]
pub(crate) struct Shard {
    cells: HashTable<Cell>,
    latest: u64,
    cursor: usize,
    due: usize,
    /// The counter that newcomers share while there is no room; used by the throttle alone.
    pub(crate) overflow: u64,
}

/// Where a counter stands until the shard changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(usize);

impl Shard {
    pub(crate) const fn new() -> Self {
        Self {
            cells: HashTable::new(),
            latest: 0,
            cursor: 0,
            due: 0,
            overflow: 0,
        }
    }

    /// The time to decide at: `now`, or the latest that was seen.
    #[inline]
    pub(crate) fn advance(&mut self, now: u64) -> u64 {
        self.latest = self.latest.max(now);
        self.latest
    }

    #[inline]
    pub(crate) fn find(&self, name: impl Into<Name>) -> Option<Slot> {
        let name = name.into();
        let same = |cell: &Cell| cell.name == name;
        self.cells.find_bucket_index(name.0, same).map(Slot)
    }

    /// What the counter holds; 0 for one that is not there.
    #[inline]
    pub(crate) fn tat(&self, slot: Option<Slot>) -> u64 {
        let cell = slot.and_then(|slot| self.cells.get_bucket(slot.0));
        cell.map_or(0, |cell| cell.tat)
    }

    /// What the counter holds, if it is there.
    #[inline]
    pub(crate) fn find_mut(&mut self, name: impl Into<Name>) -> Option<&mut u64> {
        let name = name.into();
        let found = self.cells.find_mut(name.0, |cell| cell.name == name);
        found.map(|cell| &mut cell.tat)
    }

    #[inline]
    pub(crate) fn set(&mut self, slot: Slot, tat: u64) {
        let cell = self.cells.get_bucket_mut(slot.0);
        debug_assert!(cell.is_some(), "a slot outlived a change of its shard");
        if let Some(cell) = cell {
            cell.tat = tat;
        }
    }

    /// Adds a counter that is not there. All slots found before are void.
    pub(crate) fn insert(&mut self, name: impl Into<Name>, tat: u64) {
        let name = name.into();
        self.cells.insert_unique(name.0, Cell { name, tat }, rehash);
    }

    /// Looks at the next `slots` places and lets counters leave that are whole again. How many
    /// left. All slots found before are void.
    pub(crate) fn sweep(&mut self, slots: usize) -> usize {
        let before = self.cells.len();
        for _ in 0..slots.min(self.cells.num_buckets()) {
            if self.cursor >= self.cells.num_buckets() {
                self.cursor = 0;
                self.give_back();
            }
            if let Ok(entry) = self.cells.get_bucket_entry(self.cursor)
                && entry.get().tat <= self.latest
            {
                entry.remove();
            }
            self.cursor += 1;
        }
        before - self.cells.len()
    }

    /// Counts one decision and `inserted` new counters; whether a sweep of [`BATCH`] is due.
    #[inline]
    pub(crate) fn is_due(&mut self, inserted: usize) -> bool {
        // Eight places for each newcomer, so that a flood of them is swept faster than it grows.
        self.due += 1 + 8 * inserted;
        let due = self.due >= BATCH;
        if due {
            self.due = 0;
        }
        due
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.cells.allocation_size()
    }

    /// After a flood, the memory goes back too.
    fn give_back(&mut self) {
        if self.cells.capacity() > 64 && self.cells.len() * 8 < self.cells.capacity() {
            self.cells.shrink_to(self.cells.len() * 2, rehash);
        }
    }
}

fn rehash(cell: &Cell) -> u64 {
    cell.name.0
}

/// How many places one sweep looks at.
pub(crate) const BATCH: usize = 64;
