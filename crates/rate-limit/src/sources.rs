//! Counters of sources: anybody can make sources up, so their number must not matter.

use std::sync::MutexGuard;

use crate::cells::{Cells, NoRoom, Shard};
use crate::draws::{Draws, Home};

/// The counters of sources in the local store.
#[derive(Debug)]
pub(crate) struct Sources {
    cells: Cells,
}

/// A source's counters, locked and weighed.
pub(crate) struct Weighed<'a> {
    shard: MutexGuard<'a, Shard>,
    /// For how many counters room is held.
    reserved: usize,
}

impl Sources {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            cells: Cells::new(SHARDS, capacity),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Weighs the draws on the source's counters, or on those that newcomers share while there is no
    /// room.
    pub(crate) fn weigh(&self, draws: &mut Draws<'_>, now: u64) -> Weighed<'_> {
        let mut shard = self.cells.lock(draws.source());
        let now = shard.advance(now);
        draws.weigh(&shard, Home::Source, now);
        let mut newcomers = draws.newcomers(Home::Source);
        if newcomers > 0 && self.cells.reserve(newcomers).is_err() {
            self.cells.make_room(&mut shard);
            // What was found before may have moved.
            draws.weigh(&shard, Home::Source, now);
            if let Err(NoRoom) = self.cells.reserve(newcomers) {
                draws.share(self.cells.hasher(), &shard, now);
                newcomers = draws.newcomers(Home::Source);
                self.cells.reserve_beyond(newcomers);
            }
        }
        Weighed {
            shard,
            reserved: newcomers,
        }
    }

    /// Makes the draws, or leaves everything as it was.
    pub(crate) fn settle(&self, weighed: Weighed<'_>, draws: &Draws<'_>, made: bool) {
        let Weighed {
            mut shard,
            reserved,
        } = weighed;
        if made {
            draws.commit(&mut shard, Home::Source, reserved);
            self.cells.finish(shard, reserved);
        } else {
            self.cells.release(reserved);
            self.cells.finish(shard, 0);
        }
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.cells.bytes()
    }
}

const SHARDS: usize = 64;
