//! What the cache holds, bounded.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_core::KeyPrefix;
use foldhash::quality::RandomState;

/// Values by prefix, in two parts that are bounded apart. Reading takes no lock; writing takes one,
/// and makes room by second chance: a value that was read since the hand last came by stays once
/// more.
///
/// The parts share one table, so that to find a value takes the same steps whichever it is in.
/// Prefixes are chosen by callers, so they are hashed with a random seed.
pub(super) struct Room<V> {
    entries: papaya::HashMap<Name, Entry<V>, RandomState>,
    order: Mutex<Order>,
    capacities: [usize; 2],
}

/// A prefix as the table compares it, in a fixed number of words: its first and its last 16 bytes.
/// They hold all of its bytes, and where its parts begin, so no two prefixes have one name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Name(u128, u128);

/// What a value is counted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Keys that the store knows.
    Known = 0,
    /// Prefixes that it doesn't.
    Absent = 1,
}

struct Entry<V> {
    value: V,
    part: Part,
    ticket: u64,
    touched: AtomicBool,
}

/// Every entry stands here exactly once, in the queue of its part and under its ticket; a ticket
/// whose entry is gone is passed over when the hand comes to it.
#[derive(Default)]
struct Order {
    queues: [VecDeque<(Name, u64)>; 2],
    next_ticket: u64,
}

impl<V> Room<V> {
    /// Room for so many known and so many absent ones.
    pub(super) fn new(known: usize, absent: usize) -> Self {
        Self {
            entries: papaya::HashMap::with_hasher(RandomState::default()),
            order: Mutex::default(),
            capacities: [known, absent],
        }
    }

    /// What `read` makes of the value; `None` from it counts as not used.
    pub(super) fn read<T>(
        &self,
        prefix: &KeyPrefix,
        read: impl FnOnce(&V) -> Option<T>,
    ) -> Option<T> {
        let entries = self.entries.pin();
        let entry = entries.get(&Name::of(prefix))?;
        let read = read(&entry.value)?;
        entry.touch();
        Some(read)
    }

    pub(super) fn put(&self, part: Part, prefix: &KeyPrefix, value: V) {
        let name = Name::of(prefix);
        let mut order = self.lock();
        let entries = self.entries.pin();
        let held = entries.get(&name).filter(|entry| entry.part == part);
        let held = held.map(|entry| entry.ticket);
        let ticket = held.unwrap_or_else(|| order.enter(part, name));
        entries.insert(name, Entry::new(value, part, ticket));
        self.make_room(&mut order, part);
    }

    pub(super) fn remove(&self, prefix: &KeyPrefix) {
        self.entries.pin().remove(&Name::of(prefix));
    }

    pub(super) fn retain(&self, mut keep: impl FnMut(&V) -> bool) {
        self.entries.pin().retain(|_, entry| keep(&entry.value));
    }

    pub(super) fn clear(&self) {
        let mut order = self.lock();
        order.queues.iter_mut().for_each(VecDeque::clear);
        self.entries.pin().clear();
    }

    /// How many are in a part. Looks at all.
    pub(super) fn len(&self, part: Part) -> usize {
        let entries = self.entries.pin();
        entries.values().filter(|entry| entry.part == part).count()
    }

    fn make_room(&self, order: &mut Order, part: Part) {
        let (queue, capacity) = (
            &mut order.queues[part as usize],
            self.capacities[part as usize],
        );
        let entries = self.entries.pin();
        let mut spared = 0;
        while queue.len() > capacity {
            let Some((name, ticket)) = queue.pop_front() else {
                return;
            };
            let held = entries.get(&name).filter(|held| held.ticket == ticket);
            let Some(entry) = held else { continue };
            if spared < MAX_SPARED && entry.take_touched() {
                spared += 1;
                queue.push_back((name, ticket));
            } else {
                entries.remove(&name);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn enter(&mut self, part: Part, name: Name) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.queues[part as usize].push_back((name, ticket));
        ticket
    }
}

impl Name {
    fn of(prefix: &KeyPrefix) -> Self {
        let text = prefix.as_bytes();
        let word = |end: Option<&[u8; 16]>| {
            u128::from_ne_bytes(*end.expect("a prefix has 20 bytes or more"))
        };
        Self(word(text.first_chunk()), word(text.last_chunk()))
    }
}

impl<V> Entry<V> {
    const fn new(value: V, part: Part, ticket: u64) -> Self {
        Self {
            value,
            part,
            ticket,
            touched: AtomicBool::new(false),
        }
    }

    /// Written once, so that a busy key's line stays shared between cores.
    fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    fn take_touched(&self) -> bool {
        self.touched.swap(false, Ordering::Relaxed)
    }
}

/// How many used values one write passes over before it drops one all the same.
const MAX_SPARED: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn prefix(number: usize) -> KeyPrefix {
        format!("acme_live_{number:012}").parse().unwrap()
    }

    fn holds(room: &Room<usize>, number: usize) -> bool {
        room.entries.pin().contains_key(&Name::of(&prefix(number)))
    }

    #[test]
    fn no_two_prefixes_have_one_name() {
        let brands = [
            "ab",
            "aba",
            "abab",
            "ababababa",
            "ababababab",
            "live",
            "live0",
        ];
        let ids = [
            "000000000000",
            "00000000000a",
            "a00000000000",
            "00live000000",
        ];
        let texts = brands.iter().flat_map(|brand| {
            let of_id = |id: &&str| [format!("{brand}_live_{id}"), format!("{brand}_test_{id}")];
            ids.iter().flat_map(of_id).collect::<Vec<_>>()
        });
        let prefixes: Vec<KeyPrefix> = texts.map(|text| text.parse().unwrap()).collect();
        for one in &prefixes {
            let same = prefixes.iter().filter(|it| Name::of(it) == Name::of(one));
            assert_eq!(same.count(), 1, "{one}");
        }
    }

    #[test]
    fn it_holds_no_more_than_its_capacity() {
        let room = Room::new(10, 10);
        (0..1000).for_each(|number| room.put(Part::Known, &prefix(number), number));
        assert_eq!(room.len(Part::Known), 10);
        assert!(holds(&room, 999) && !holds(&room, 0));
    }

    #[test]
    fn a_value_that_is_used_outlives_those_that_are_not() {
        let room = Room::new(10, 10);
        room.put(Part::Known, &prefix(0), 0);
        for number in 1..1000 {
            room.put(Part::Known, &prefix(number), number);
            assert_eq!(room.read(&prefix(0), |value| Some(*value)), Some(0));
        }
    }

    #[test]
    fn a_value_that_nobody_believes_is_not_spared() {
        let room = Room::new(10, 10);
        for number in 0..20 {
            room.put(Part::Known, &prefix(number), number);
            assert_eq!(room.read(&prefix(0), |_| None::<()>), None);
        }
        assert!(!holds(&room, 0));
    }

    #[test]
    fn a_value_that_is_written_again_takes_no_second_place() {
        let room = Room::new(10, 10);
        (0..10).for_each(|number| room.put(Part::Known, &prefix(number), number));
        (0..100).for_each(|_| room.put(Part::Known, &prefix(9), 9));
        assert_eq!(room.len(Part::Known), 10);
    }

    #[test]
    fn one_write_drops_one_even_if_all_are_used() {
        let room = Room::new(100, 10);
        for number in 0..101 {
            (0..number).for_each(|used| {
                room.read(&prefix(used), |_| Some(()));
            });
            room.put(Part::Known, &prefix(number), number);
        }
        assert_eq!(room.len(Part::Known), 100);
    }

    #[test]
    fn a_prefix_that_comes_and_goes_pushes_out_nobody() {
        let room = Room::new(10, 10);
        (0..9).for_each(|number| room.put(Part::Known, &prefix(number), number));
        for _ in 0..3 {
            room.put(Part::Known, &prefix(9), 9);
            room.remove(&prefix(9));
            // Its stale tickets reach the front behind those that are in use.
            (0..9).for_each(|number| {
                room.read(&prefix(number), |_| Some(()));
            });
        }
        room.put(Part::Known, &prefix(9), 9);
        assert_eq!(room.len(Part::Known), 10);
    }

    #[test]
    fn threads_leave_it_bounded_and_every_value_findable() {
        let room = Arc::new(Room::new(50, 10));
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let room = Arc::clone(&room);
                std::thread::spawn(move || {
                    let mut random = thread + 1_usize;
                    for _ in 0..20_000 {
                        random = random.wrapping_mul(6_364_136_223_846_793_005) + 1;
                        let number = random >> 33 & 127;
                        match random >> 60 {
                            0 => room.remove(&prefix(number)),
                            1..8 => room.put(Part::Known, &prefix(number), number),
                            8 if random & 255 == 0 => room.clear(),
                            9 => room.retain(|value| *value != number),
                            _ => {
                                let read = room.read(&prefix(number), |value| Some(*value));
                                assert!(read.is_none_or(|value| value == number));
                            }
                        }
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert!(room.len(Part::Known) <= 50);
        // The hand still finds every entry, so none stays for ever.
        (1000..1100).for_each(|number| room.put(Part::Known, &prefix(number), number));
        assert_eq!(room.len(Part::Known), 50);
        (0..128).for_each(|number| assert!(!holds(&room, number), "{number}"));
    }

    #[test]
    fn the_parts_are_bounded_apart() {
        let room = Room::new(10, 5);
        (0..10).for_each(|number| room.put(Part::Known, &prefix(number), number));
        (10..1000).for_each(|number| room.put(Part::Absent, &prefix(number), number));
        assert_eq!((room.len(Part::Known), room.len(Part::Absent)), (10, 5));
        (0..10).for_each(|number| assert!(holds(&room, number)));
        assert!(holds(&room, 999) && !holds(&room, 10));
    }

    #[test]
    fn a_value_that_changes_its_part_is_counted_once() {
        let room = Room::new(5, 5);
        for number in 0..5 {
            room.put(Part::Absent, &prefix(number), number);
            room.put(Part::Known, &prefix(number), number);
        }
        assert_eq!((room.len(Part::Known), room.len(Part::Absent)), (5, 0));
        // Its ticket in the other part drops nothing.
        (5..10).for_each(|number| room.put(Part::Absent, &prefix(number), number));
        (0..10).for_each(|number| assert!(holds(&room, number), "{number}"));
        (10..15).for_each(|number| room.put(Part::Known, &prefix(number), number));
        (0..5).for_each(|number| assert!(!holds(&room, number), "{number}"));
    }
}
