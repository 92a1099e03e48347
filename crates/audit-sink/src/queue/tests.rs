use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use countersign_core::Timestamp;
use proptest::prelude::*;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;

fn event(number: usize) -> AuditEvent {
    AuditEvent::gap(Timestamp::default(), number as u64)
}

fn one(capacity: usize) -> (Box<[Arc<Shard>]>, Arc<Common>) {
    let common = Arc::default();
    (Shard::split(capacity, 1, &common), common)
}

/// A promise without a place behind it.
fn forged(shard: &Arc<Shard>) -> Permit {
    Permit(Some(Arc::clone(shard)))
}

fn lost(common: &Common) -> u64 {
    common.counters.lost.load(Ordering::Relaxed)
}

fn is_woken(common: &Common) -> bool {
    let woken = pin!(common.wake.notified());
    woken.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
}

#[test]
fn events_are_taken_in_their_order_and_keep_their_places_until_then() {
    let (shards, _) = one(5);
    for count in 0..5 {
        Shard::reserve(&shards).unwrap().send(event(count));
    }
    assert!(Shard::reserve(&shards).is_none(), "every place is taken");
    let mut taken = Vec::new();
    let mut order = Vec::new();
    for (most, expected) in [(3, 3), (usize::MAX, 2), (usize::MAX, 0)] {
        shards[0].take(&mut taken, most);
        assert_eq!(taken.len(), expected);
        order.extend(taken.iter().map(|queued| queued.event.clone()));
    }
    assert_eq!(order, (0..5).map(event).collect::<Vec<_>>());
    assert!(shards[0].is_empty() && shards[0].reserved() == 5);
    shards[0].release(5);
    assert!(Shard::reserve(&shards).is_some());
}

#[test]
fn an_event_wakes_the_writer_that_sleeps() {
    let (shards, common) = one(3);
    let has_work = || !shards[0].is_empty();
    assert!(common.park(has_work), "there is nothing to do");
    assert!(!is_woken(&common));
    Shard::reserve(&shards).unwrap().send(event(0));
    assert!(is_woken(&common) && !common.is_away());
    Shard::reserve(&shards).unwrap().send(event(1));
    assert!(!is_woken(&common), "whoever is awake is not woken");
    assert!(!common.park(has_work), "there is something to do");
}

#[test]
fn a_durable_event_calls_the_writer_at_once() {
    let (shards, common) = one(2);
    Shard::reserve(&shards).unwrap().send(event(0));
    assert!(!common.is_called());
    let _answer = Shard::reserve(&shards).unwrap().send_durable(event(1));
    assert!(common.is_called() && is_woken(&common));
}

#[test]
fn what_comes_after_the_writers_end_was_counted_as_promised() {
    let (shards, common) = one(4);
    let [queued, promised, durable] = [(); 3].map(|()| Shard::reserve(&shards).unwrap());
    queued.send(event(0));
    common.set_ended();
    let mut backlog = VecDeque::new();
    assert_eq!(shards[0].close(&mut backlog), 2);
    assert_eq!(shards[0].close(&mut backlog), 0, "they are counted once");
    promised.send(event(1));
    let mut answer = durable.send_durable(event(2));
    assert!(matches!(answer.try_recv(), Err(TryRecvError::Closed)));
    assert_eq!((lost(&common), shards[0].reserved()), (0, 0));
    assert!(shards[0].is_empty());
    let backlog = backlog.into_iter().map(|queued| queued.event);
    assert!(backlog.eq([event(0)]));
}

#[test]
fn an_event_without_a_place_is_refused_and_counted_once() {
    let (shards, common) = one(2);
    for count in 0..2 {
        Shard::reserve(&shards).unwrap().send(event(count));
    }
    shards[0].reserved.fetch_add(1, Ordering::Relaxed);
    forged(&shards[0]).send(event(2));
    assert_eq!((lost(&common), shards[0].reserved()), (1, 2));
    let mut taken = Vec::new();
    shards[0].take(&mut taken, usize::MAX);
    assert_eq!(taken.len(), 2);
}

#[derive(Debug, Clone)]
enum Step {
    Reserve,
    /// One of the promises is kept.
    Send(prop::sample::Index),
    /// One of them is dropped.
    Forget(prop::sample::Index),
    /// The writer takes so many out of a shard.
    Take(prop::sample::Index, usize),
    /// All that was taken is written.
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Reserve),
        4 => any::<prop::sample::Index>().prop_map(Step::Send),
        1 => any::<prop::sample::Index>().prop_map(Step::Forget),
        2 => (any::<prop::sample::Index>(), 0..5usize)
            .prop_map(|(shard, most)| Step::Take(shard, most)),
        1 => Just(Step::Release),
    ]
}

/// What the queue should be: lists, and a number of places for each.
struct Model {
    capacity: usize,
    promised: Vec<(usize, Permit)>,
    queued: Vec<VecDeque<usize>>,
    taken: Vec<usize>,
    sent: usize,
}

impl Model {
    fn places(&self, shard: usize) -> usize {
        let promised = self.promised.iter().filter(|(of, _)| *of == shard);
        promised.count() + self.queued[shard].len() + self.taken[shard]
    }

    fn step(&mut self, shards: &[Arc<Shard>], step: &Step) {
        match step {
            Step::Reserve => {
                let taken: usize = (0..shards.len()).map(|shard| self.places(shard)).sum();
                let permit = Shard::reserve(shards);
                assert_eq!(permit.is_some(), taken < self.capacity);
                let Some(permit) = permit else { return };
                let own = permit.0.as_ref().unwrap();
                let shard = shards.iter().position(|shard| Arc::ptr_eq(shard, own));
                self.promised.push((shard.unwrap(), permit));
            }
            Step::Send(which) if !self.promised.is_empty() => {
                let which = which.index(self.promised.len());
                let (shard, permit) = self.promised.swap_remove(which);
                permit.send(event(self.sent));
                self.queued[shard].push_back(self.sent);
                self.sent += 1;
            }
            Step::Forget(which) if !self.promised.is_empty() => {
                let which = which.index(self.promised.len());
                drop(self.promised.swap_remove(which));
            }
            Step::Send(_) | Step::Forget(_) => {}
            Step::Take(shard, most) => {
                let shard = shard.index(shards.len());
                let mut taken = Vec::new();
                shards[shard].take(&mut taken, *most);
                let most = self.queued[shard].len().min(*most);
                let expected = self.queued[shard].drain(..most).map(event);
                let taken = taken.into_iter().map(|queued| queued.event);
                assert!(taken.eq(expected), "the oldest, in their order");
                self.taken[shard] += most;
            }
            Step::Release => {
                for (shard, taken) in shards.iter().zip(&mut self.taken) {
                    shard.release(std::mem::take(taken));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn no_event_and_no_place_is_lost_or_there_twice(
        capacity in 1..9usize, count in 1..4usize, steps in prop::collection::vec(step(), 0..80),
    ) {
        let common = Arc::default();
        let shards = Shard::split(capacity, count, &common);
        let count = shards.len();
        let mut model = Model {
            capacity,
            promised: Vec::new(),
            queued: vec![VecDeque::new(); count],
            taken: vec![0; count],
            sent: 0,
        };
        for step in steps {
            model.step(&shards, &step);
            for (index, shard) in shards.iter().enumerate() {
                prop_assert_eq!(shard.reserved(), model.places(index));
                prop_assert!(shard.reserved() <= shard.capacity);
                prop_assert_eq!(shard.is_empty(), model.queued[index].is_empty());
            }
        }
        prop_assert_eq!(lost(&common), 0);
    }
}
