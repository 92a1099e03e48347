//! What each thread remembers of the keys that it served last, so that a busy key costs no lock.

use std::cell::RefCell;

use countersign_core::KeyId;

use super::profile::Network;
use crate::cells::Fingerprint;

/// Uses of a key that its profile was not told of when they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Earlier {
    pub(super) uses: u32,
    /// About when they were, in nanoseconds: a second late at most.
    pub(super) at: u64,
}

/// What a profile is told besides this use.
#[derive(Debug)]
pub(super) struct Visit {
    /// Earlier uses of this key.
    pub(super) earlier: Earlier,
    /// Those of another key, by its name in the table, which had to make room.
    pub(super) displaced: Option<(Fingerprint, Earlier)>,
}

#[derive(Clone, Copy)]
struct Note {
    monitor: u32,
    key: u128,
    name: Fingerprint,
    network: Option<Network>,
    beat: u32,
    untold: u32,
}

/// Whether a use at `at` nanoseconds is to be told to the profiles: the first of a key on this
/// thread in about a second and from a network, and then every [`BATCH`]th. Otherwise it is only
/// counted here, and told with the next one: a profile knows of all uses but the last few, fewer
/// than [`BATCH`] on each thread.
///
/// `name` is asked for only when the use is told.
#[inline]
pub(super) fn use_of(
    monitor: u32,
    key: KeyId,
    network: Option<Network>,
    at: u64,
    name: impl FnOnce() -> Fingerprint,
) -> Option<(Fingerprint, Visit)> {
    let beat = (at >> BEAT) as u32;
    let key = key.as_u128();
    let place = (key ^ key >> 64) as usize % NOTES;
    MEMO.with_borrow_mut(|notes| {
        let note = &mut notes[place];
        let same = note.key == key && note.monitor == monitor;
        if same && note.beat == beat && note.network == network && note.untold + 1 < BATCH {
            note.untold += 1;
            return None;
        }
        let old = *note;
        *note = Note {
            monitor,
            key,
            name: if same { old.name } else { name() },
            network,
            beat,
            untold: 0,
        };
        Some((note.name, old.hand_over(monitor, same, at)))
    })
}

impl Note {
    /// What is untold of the key that stood here, to itself or to the key that takes its place.
    fn hand_over(self, monitor: u32, same: bool, at: u64) -> Visit {
        let end = (u64::from(self.beat) + 1) << BEAT;
        let earlier = Earlier {
            uses: self.untold,
            at: at.min(end - 1),
        };
        if same {
            return Visit {
                earlier,
                displaced: None,
            };
        }
        let other = self.untold > 0 && self.monitor == monitor;
        Visit {
            earlier: Earlier::default(),
            displaced: other.then_some((self.name, earlier)),
        }
    }
}

thread_local!(static MEMO: RefCell<[Note; NOTES]> = const { RefCell::new([NOTHING; NOTES]) });

const NOTHING: Note = Note {
    monitor: 0,
    key: 0,
    name: Fingerprint { low: 0, high: 0 },
    network: None,
    beat: 0,
    untold: 0,
};

/// About 5 KB on each thread that serves requests.
const NOTES: usize = 64;
const BATCH: u32 = 32;
/// 2^30 ns: 1.07 s.
const BEAT: u32 = 30;

#[cfg(test)]
mod tests {
    use countersign_core::source::SourceBucket;

    use super::*;

    const A: KeyId = KeyId::from_u128(1);
    /// In the same place as `A`.
    const B: KeyId = KeyId::from_u128(1 + NOTES as u128);

    fn seen(monitor: u32, key: KeyId, from: &str, at: u64) -> Option<(u64, u32, Option<u32>)> {
        let network = Network::of(SourceBucket::of(from.parse().unwrap()));
        let low = key.as_u128() as u64;
        let name = || Fingerprint { low, high: 0 };
        let (name, visit) = use_of(monitor, key, Some(network), at, name)?;
        let displaced = visit.displaced.map(|(_, earlier)| earlier.uses);
        Some((name.low, visit.earlier.uses, displaced))
    }

    #[test]
    fn every_use_is_told_once() {
        let uses = (0..100).filter_map(|_| seen(1, A, "192.0.2.1", 7 << 30));
        let earlier: Vec<_> = uses.map(|(_, uses, _)| uses).collect();
        assert_eq!(
            earlier,
            [0, 31, 31, 31],
            "four told and 93 of the other 96 with them"
        );
        let next = seen(1, A, "192.0.2.1", 80 << 30);
        assert_eq!(next, Some((1, 3, None)), "the rest comes with the next use");
        assert_eq!(seen(1, A, "192.0.2.1", 80 << 30), None);
    }

    #[test]
    fn it_is_told_when_they_were() {
        let name = || Fingerprint { low: 0, high: 0 };
        let use_at = |at| use_of(4, A, None, at, name).map(|(_, visit)| visit.earlier);
        use_at(7 << 30);
        assert_eq!(use_at((7 << 30) + 5), None);
        let later = use_at(90 << 30).unwrap();
        assert_eq!((later.uses, later.at), (1, (8 << 30) - 1));
        for _ in 0..31 {
            assert_eq!(use_at((90 << 30) + 8), None);
        }
        let batch = use_at((90 << 30) + 9).unwrap();
        assert_eq!((batch.uses, batch.at), (31, (90 << 30) + 9));
    }

    #[test]
    fn another_network_another_key_and_another_monitor_are_told_at_once() {
        assert_eq!(seen(2, A, "192.0.2.1", 7 << 30), Some((1, 0, None)));
        assert_eq!(seen(2, A, "192.0.2.1", 7 << 30), None);
        assert_eq!(seen(2, A, "198.51.100.1", 7 << 30), Some((1, 1, None)));
        assert_eq!(seen(2, A, "198.51.100.1", 7 << 30), None);
        let low = B.as_u128() as u64;
        assert_eq!(seen(2, B, "192.0.2.1", 7 << 30), Some((low, 0, Some(1))));
        assert_eq!(seen(2, B, "192.0.2.1", 7 << 30), None);
        assert_eq!(seen(3, B, "192.0.2.1", 7 << 30), Some((low, 0, None)));
    }
}
