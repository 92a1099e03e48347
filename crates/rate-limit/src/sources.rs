//! Counters of sources: anybody can make sources up, so their number must not matter. Those of verified
//! callers have a table of their own: who has no key can't take room from who has one.

use std::sync::MutexGuard;

use crate::cells::{Cells, NoRoom, Shard};
use crate::dimension::Home;
use crate::draws::Draws;

/// The counters of sources in the local store.
#[derive(Debug)]
pub(crate) struct Sources {
    verified: Cells,
    unknown: Cells,
}

/// A source's counters, locked, and drawn on as far as they are there.
pub(crate) struct Made<'a> {
    cells: &'a Cells,
    shard: MutexGuard<'a, Shard>,
    /// For how many counters room is held.
    reserved: usize,
}

impl Sources {
    pub(crate) fn new(capacity: usize) -> Self {
        let table = || Cells::new(SHARDS, capacity);
        Self {
            verified: table(),
            unknown: table(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.verified.len() + self.unknown.len()
    }

    /// Makes the draws on the source's counters, or on those that newcomers share while there is no
    /// room.
    pub(crate) fn make(&self, draws: &mut Draws<'_>, now: u64) -> Made<'_> {
        let cells = if draws.is_verified() {
            &self.verified
        } else {
            &self.unknown
        };
        let mut shard = cells.lock(draws.source());
        let now = shard.advance(now);
        let mut newcomers = draws.make(&mut shard, Home::Source, now);
        if newcomers > 0 && cells.reserve(newcomers).is_err() {
            cells.make_room(&mut shard);
            if let Err(NoRoom) = cells.reserve(newcomers) {
                newcomers = draws.share(cells.hasher(), &mut shard, now);
                cells.reserve_beyond(newcomers);
            }
        }
        Made {
            cells,
            shard,
            reserved: newcomers,
        }
    }

    /// Adds the newcomers, or leaves everything as it was.
    pub(crate) fn settle(made: Made<'_>, draws: &Draws<'_>, allowed: bool) {
        let Made {
            cells,
            mut shard,
            reserved,
        } = made;
        if allowed {
            draws.add(&mut shard, Home::Source, reserved);
            cells.finish(shard, reserved);
        } else {
            draws.undo(&mut shard, Home::Source);
            cells.release(reserved);
            cells.finish(shard, 0);
        }
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.verified.bytes() + self.unknown.bytes()
    }
}

const SHARDS: usize = 64;
