mod resting;

use std::num::NonZeroU32;

use countersign_core::{Clock, Edge, ManualClock, Reason};
use http::{Request, StatusCode};
use tokio::sync::oneshot::{self, Receiver};

use super::*;
use crate::event::{Arrival, Outcome};
use crate::{EventType, SourceForm};

const PAUSE: Duration = Duration::from_secs(60);

/// A desk without a writer, and what stands around it.
struct Room {
    desk: Desk,
    common: Arc<Common>,
    clock: ManualClock,
    records: Vec<Record>,
}

impl Room {
    fn new(capacity: usize, shards: usize) -> Self {
        Self::with(capacity, shards, Some("example.com/log"), None)
    }

    fn with(capacity: usize, shards: usize, name: Option<&str>, flood: Option<u32>) -> Self {
        let (common, clock) = (Arc::default(), ManualClock::default());
        let settings = Settings {
            tick: Duration::from_millis(1),
            deadline: Duration::from_secs(1),
            heartbeat: Some(PAUSE),
            flood: flood.and_then(NonZeroU32::new),
            clock: Arc::new(clock.clone()),
        };
        let shards = Shard::split(capacity, shards, &common);
        Self {
            desk: Desk::new(
                Arc::clone(&common),
                shards,
                settings,
                7,
                name.map(Arc::from),
            ),
            common,
            clock,
            records: Vec::new(),
        }
    }

    /// Queues events of these numbers, in any shard that has a place.
    fn send(&self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let permit = Shard::reserve(&self.desk.shards).unwrap();
            permit.send(event(number));
        }
    }

    fn send_durable(&self, event: AuditEvent) -> Receiver<Result<(), StoreError>> {
        let permit = Shard::reserve(&self.desk.shards).unwrap();
        permit.send_durable(event)
    }

    fn collect(&mut self) -> bool {
        self.desk.collect(&mut self.records)
    }

    /// The numbers of the records in hand, which count on from `first` in the log.
    fn numbers(&mut self, first: u64) -> Vec<u64> {
        let places = self.records.iter().map(Record::seq);
        assert!(places.eq((first..).take(self.records.len())));
        let number = |record: &Record| record.event().metadata("count").unwrap().as_u64();
        let numbers = self.records.iter().map(|record| number(record).unwrap());
        numbers.collect()
    }

    fn reserved(&self) -> usize {
        self.desk.shards.iter().map(|shard| shard.reserved()).sum()
    }

    fn flush(&self) -> Receiver<Result<(), StoreError>> {
        let (waiter, answer) = oneshot::channel();
        self.common.lock_requests().flushes.push(waiter);
        answer
    }
}

fn event(number: u64) -> AuditEvent {
    AuditEvent::gap(countersign_core::Timestamp::default(), number)
}

/// Of nobody, so that it is held where there are too many.
fn refusal() -> AuditEvent {
    let mut request = Request::new(());
    let entered = Edge::default().enter(&mut request);
    let context = entered.context(&request);
    context.deny(Reason::MissingApiKey.into());
    let status = StatusCode::UNAUTHORIZED;
    let outcome = Outcome::Answered { status, grpc: None };
    AuditEvent::outcome(
        context,
        Arrival::of(&request, context, &SourceForm::Plain),
        outcome,
    )
}

#[test]
fn a_batch_is_what_one_write_holds_and_the_rest_comes_with_the_next() {
    let more = BATCH as u64 + 6;
    for failed_before in [false, true] {
        for shards in [1, 2] {
            let mut room = Room::new(BATCH + 6, shards);
            room.send(0..more);
            if failed_before {
                room.desk.fail_waiters();
            }
            assert!(!room.collect(), "something is left");
            let mut numbers = room.numbers(7);
            assert_eq!(numbers.len(), BATCH);
            assert_eq!(room.reserved(), if failed_before { 0 } else { 6 });
            room.desk.written(&mut room.records);
            assert!(room.collect());
            numbers.append(&mut room.numbers(7 + BATCH as u64));
            assert_eq!(room.reserved(), 0);
            if shards == 2 {
                numbers.sort_unstable();
            }
            assert!(numbers.into_iter().eq(0..more), "each once");
        }
    }
}

#[test]
fn a_batch_that_is_just_full_may_not_be_all() {
    let mut room = Room::new(BATCH, 1);
    room.send(0..BATCH as u64);
    assert!(!room.collect());
    room.desk.written(&mut room.records);
    assert!(room.collect() && room.records.is_empty());
}

#[test]
fn what_a_failed_write_left_comes_first_and_in_its_order() {
    let mut room = Room::new(9, 1);
    room.send(0..4);
    room.desk.fail_waiters();
    assert_eq!(room.reserved(), 0, "it takes no room in the queue");
    room.send(4..6);
    room.desk.fail_waiters();
    room.send(6..9);
    assert!(room.collect());
    assert!(room.numbers(7).into_iter().eq(0..9));
}

#[test]
fn each_shard_comes_first_in_its_turn() {
    let mut room = Room::new(4, 4);
    let mut firsts = Vec::new();
    for _ in 0..4 {
        for (number, shard) in room.desk.shards.iter().enumerate() {
            let permit = Shard::reserve(std::slice::from_ref(shard)).unwrap();
            permit.send(event(number as u64));
        }
        room.collect();
        firsts.push(room.records[0].event().metadata("count").unwrap().as_u64());
        room.desk.written(&mut room.records);
    }
    firsts.sort_unstable();
    assert_eq!(firsts, [Some(0), Some(1), Some(2), Some(3)]);
}

#[test]
fn what_found_no_room_is_told_once_with_its_number() {
    let mut room = Room::new(1, 1);
    assert!(room.collect() && room.records.is_empty());
    room.common.count_lost(2);
    room.common.count_lost(3);
    assert!(!room.desk.is_done());
    room.collect();
    assert_eq!(room.records[0].event().kind(), EventType::Gap);
    assert_eq!(room.numbers(7), [5]);
    room.desk.written(&mut room.records);
    assert!(room.collect() && room.records.is_empty());
}

#[test]
fn a_last_write_tells_how_many_events_it_has_no_room_for() {
    let more = BATCH as u64 + 6;
    let mut room = Room::new(BATCH + 9, 2);
    room.send(0..more);
    let promised = [(); 3].map(|()| Shard::reserve(&room.desk.shards).unwrap());
    room.desk.take_last(&mut room.records);
    assert_eq!(room.numbers(7).len(), BATCH + 1);
    let gap = room.records.last().unwrap().event();
    assert_eq!(gap.metadata("count").unwrap(), 6 + 3);
    drop(promised);
    room.desk.written(&mut room.records);
    let _ = room.desk.end(0);
    assert_eq!(room.common.counters.lost.load(Ordering::Relaxed), 6 + 3);
}

#[test]
fn an_event_without_a_reading_of_the_clock_is_given_one() {
    let mut room = Room::new(1, 1);
    room.send(0..1);
    room.collect();
    let line: serde_json::Value = serde_json::from_slice(room.records[0].line()).unwrap();
    assert_eq!(line["monotonic_us"], 3_600_000_000_u64);
}

#[test]
fn refusals_that_are_held_take_no_room_in_a_batch() {
    let mut room = Room::with(BATCH + 3, 1, None, Some(1));
    for _ in 0..BATCH {
        Shard::reserve(&room.desk.shards).unwrap().send(refusal());
    }
    room.send(0..3);
    assert!(room.collect());
    assert_eq!((room.records.len(), room.reserved()), (4, 0));
    assert_eq!(room.desk.flood.count(), BATCH as u64 - 1);
    room.clock.advance(Duration::from_secs(1));
    room.collect();
    let held = room.records.pop().unwrap();
    let told = held.event().metadata("coalesced").unwrap();
    assert_eq!(told, BATCH as u64 - 1);
}

#[test]
fn what_is_held_is_told_when_somebody_asks_for_all() {
    let told = |ask: fn(&mut Room)| {
        let mut room = Room::with(9, 1, None, Some(1));
        for _ in 0..3 {
            Shard::reserve(&room.desk.shards).unwrap().send(refusal());
        }
        ask(&mut room);
        room.collect();
        (room.records.len(), room.desk.flood.is_empty())
    };
    assert_eq!(told(|_| {}), (1, false));
    assert_eq!(told(|room| room.common.set_stopping()), (2, true));
    let flush = |room: &mut Room| {
        drop(room.flush());
        room.desk.read_requests();
    };
    assert_eq!(told(flush), (2, true));
    let durable = |room: &mut Room| drop(room.send_durable(refusal()));
    assert_eq!(
        told(durable),
        (2, false),
        "who waits for an event is told of it"
    );
}

#[test]
fn the_desk_is_done_when_nothing_is_left_to_do() {
    let is_done = |leave: fn(&mut Room)| {
        let mut room = Room::with(9, 1, None, Some(1));
        room.common.set_stopping();
        leave(&mut room);
        room.desk.is_done()
    };
    assert!(is_done(|_| {}));
    assert!(!is_done(|room| room.send(0..1)));
    assert!(!is_done(|room| {
        room.send(0..1);
        room.desk.fail_waiters();
    }));
    assert!(!is_done(|room| room.common.count_lost(1)));
    assert!(!is_done(|room| {
        let now = room.clock.monotonic();
        let _ = room.desk.flood.admits(&refusal(), now);
        let _ = room.desk.flood.admits(&refusal(), now);
    }));
    assert!(!Room::new(1, 1).desk.is_done(), "nobody asked it to end");
}

#[test]
fn whoever_waits_is_told_what_became_of_the_event() {
    let mut room = Room::new(9, 1);
    let mut first = room.send_durable(event(0));
    room.collect();
    room.desk.written(&mut room.records);
    assert!(first.try_recv().unwrap().is_ok());

    let (mut in_hand, mut flush) = (room.send_durable(event(1)), room.flush());
    room.collect();
    let mut queued = room.send_durable(event(2));
    room.desk.failed(&unavailable());
    for waiter in [&mut in_hand, &mut queued, &mut flush] {
        assert!(waiter.try_recv().unwrap().is_err());
    }
    let health = (room.common.is_failing(), &room.common.counters.failures);
    assert!(health.0 && health.1.load(Ordering::Relaxed) == 1);
    room.collect();
    assert_eq!(room.numbers(8), [1, 2], "the events themselves are kept");
    room.desk.written(&mut room.records);
    assert!(!room.common.is_failing());
    assert_eq!(room.common.counters.written.load(Ordering::Relaxed), 3);
}

#[test]
fn a_flush_is_answered_once() {
    let mut room = Room::new(1, 1);
    let mut flush = room.flush();
    room.common.call();
    room.desk.read_requests();
    assert!(!room.common.is_called());
    assert!(flush.try_recv().is_err());
    room.desk.answer_flushes();
    assert!(flush.try_recv().unwrap().is_ok());
}

#[test]
fn the_log_says_that_it_lives_after_a_pause_and_not_before() {
    let beats = |name, pause: Duration, others: u64| {
        let mut room = Room::with(1, 1, name, None);
        room.clock.advance(pause);
        if others > 0 {
            room.desk.tell(Notice::started(), &mut room.records);
        }
        room.desk.beat(&mut room.records);
        let kinds = room.records.iter().map(|record| record.event().kind());
        kinds.filter(|kind| *kind == EventType::Heartbeat).count()
    };
    let name = Some("example.com/log");
    assert_eq!(beats(name, PAUSE, 0), 1);
    assert_eq!(beats(name, PAUSE - Duration::from_nanos(1), 0), 0);
    assert_eq!(beats(name, PAUSE, 1), 0, "another event says so too");
    assert_eq!(beats(None, PAUSE, 0), 0, "a log without a name keeps none");
    let mut silent = Room::new(1, 1);
    silent.desk.settings.heartbeat = None;
    silent.clock.advance(PAUSE);
    silent.desk.beat(&mut silent.records);
    assert!(silent.records.is_empty());
}

#[test]
fn a_write_begins_the_pause_anew() {
    let mut room = Room::new(1, 1);
    room.clock.advance(PAUSE);
    room.desk.written(&mut room.records);
    room.desk.beat(&mut room.records);
    assert!(room.records.is_empty());
}

#[test]
fn room_for_lines_is_kept_within_bounds() {
    let mut room = Room::new(2 * ROOMS, 1);
    room.send(0..ROOMS as u64 + 10);
    room.collect();
    room.desk.written(&mut room.records);
    assert_eq!(room.desk.rooms.len(), ROOMS);
    room.desk.rooms.clear();
    let long = event(0).at("x".repeat(LARGEST_ROOM));
    Shard::reserve(&room.desk.shards).unwrap().send(long);
    room.send(1..2);
    room.collect();
    room.desk.written(&mut room.records);
    assert_eq!(room.desk.rooms.len(), 1, "the long line's is given back");
    room.send(2..3);
    room.collect();
    assert!(room.desk.rooms.is_empty(), "and the other's is used again");
}

#[test]
fn the_room_of_a_burst_is_halved_after_many_calm_rounds_in_a_row() {
    let mut desk = Room::new(1, 1).desk;
    let large = 4 * LARGEST_INBOX;
    let mut inbox = Vec::with_capacity(large);
    let (calm, busy) = (large / 8 - 1, large / 8);
    let rounds = |desk: &mut Desk, inbox: &mut Vec<Queued>, rounds: u32, taken: usize| {
        (0..rounds).for_each(|_| desk.give_back(inbox, taken));
        inbox.capacity()
    };
    assert_eq!(rounds(&mut desk, &mut inbox, ROOMY, calm), large);
    assert_eq!(rounds(&mut desk, &mut inbox, 1, busy), large);
    assert_eq!(rounds(&mut desk, &mut inbox, ROOMY, calm), large);
    assert_eq!(rounds(&mut desk, &mut inbox, 1, calm), large / 2);
    assert_eq!(rounds(&mut desk, &mut inbox, ROOMY, 0), large / 2);
    assert_eq!(rounds(&mut desk, &mut inbox, 1, 0), large / 4);
    assert_eq!(rounds(&mut desk, &mut inbox, 3 * ROOMY, 0), LARGEST_INBOX);
}

#[test]
fn what_a_burst_took_is_given_back_whatever_rooms_it_goes_round_with() {
    let burst = 4 * LARGEST_INBOX;
    let mut room = Room::new(burst, 1);
    room.send(0..burst as u64);
    room.collect();
    room.desk.written(&mut room.records);
    assert!(room.desk.inbox.capacity() >= burst);
    let mut rooms = Vec::new();
    for _ in 0..5 * ROOMY {
        room.collect();
        rooms.push(room.desk.inbox.capacity());
    }
    assert!(rooms[..100].iter().any(|capacity| *capacity >= burst));
    let last = &rooms[rooms.len() - 2..];
    assert!(
        last.iter()
            .all(|capacity| (ROOM..=LARGEST_INBOX).contains(capacity))
    );
}
