//! When the writer sleeps, how long, and who wakes it.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::ShutdownReport;

const HOUR: Duration = Duration::from_secs(3600);

impl Room {
    /// Nothing came for so many ticks, none of which is waited for.
    async fn idle(&mut self, ticks: u32) {
        self.common.call();
        for _ in 0..ticks {
            self.desk.rest(false).await;
        }
        self.common.was_called();
        assert!(self.is_called());
    }

    /// Whether somebody woke the writer; it is not told again.
    fn is_called(&self) -> bool {
        poll(pin!(self.common.wake.notified())).is_ready()
    }

    /// Whether the writer sleeps until it is woken, where it rests now.
    fn sleeps(&mut self, wrote: bool) -> bool {
        let common = Arc::clone(&self.common);
        let rest = pin!(self.desk.rest(wrote));
        assert_eq!(poll(rest), Poll::Pending);
        let sleeps = common.is_away();
        common.unpark();
        sleeps
    }

    fn shut_down(&self, deadline: Duration) -> Receiver<ShutdownReport> {
        let (reply, answer) = oneshot::channel();
        self.common.lock_requests().shutdown = Some(ShutdownRequest { deadline, reply });
        self.common.set_stopping();
        answer
    }
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn it_sleeps_after_some_idle_ticks_until_an_event_comes() {
    let mut room = Room::with(2, 1, None, None);
    room.idle(IDLE_TICKS - 1).await;
    assert!(!room.sleeps(false));
    let shards = room.desk.shards.clone();
    let mut rest = pin!(room.desk.rest(false));
    assert_eq!(poll(rest.as_mut()), Poll::Pending);
    assert!(room.common.is_away());
    Shard::reserve(&shards).unwrap().send(event(0));
    assert_eq!(poll(rest), Poll::Ready(()));
    assert!(!room.common.is_away());
}

#[tokio::test(start_paused = true)]
async fn it_counts_idle_ticks_anew_after_it_slept_and_after_it_wrote() {
    let mut room = Room::with(2, 1, None, None);
    room.idle(IDLE_TICKS).await;
    assert!(!room.sleeps(true));
    room.idle(IDLE_TICKS - 1).await;
    assert!(!room.sleeps(false));
    room.common.wake.notify_one();
    room.desk.rest(false).await;
    assert!(!room.common.is_away());
    room.idle(IDLE_TICKS - 1).await;
    assert!(!room.sleeps(false));
    assert!(room.sleeps(false));
}

#[tokio::test(start_paused = true)]
async fn it_does_not_sleep_while_there_is_something_to_do() {
    for full in 0..2 {
        let mut room = Room::new(2, 2);
        room.idle(IDLE_TICKS).await;
        let shard = std::slice::from_ref(&room.desk.shards[full]);
        Shard::reserve(shard).unwrap().send(event(0));
        assert_eq!(poll(pin!(room.desk.rest(false))), Poll::Ready(()));
        assert!(!room.common.is_away());
    }
    let mut room = Room::new(2, 1);
    room.idle(IDLE_TICKS).await;
    room.common.count_lost(1);
    room.common.was_called();
    assert_eq!(poll(pin!(room.desk.rest(false))), Poll::Ready(()));

    let mut room = Room::with(2, 1, None, Some(1));
    room.idle(IDLE_TICKS).await;
    let now = room.clock.monotonic();
    let admitted = [(); 2].map(|()| room.desk.flood.admits(&refusal(), now));
    assert_eq!(admitted, [true, false]);
    assert!(!room.sleeps(false), "what is held is told in time");

    let mut room = Room::new(2, 1);
    room.idle(IDLE_TICKS).await;
    let _answer = room.shut_down(HOUR);
    room.common.was_called();
    assert!(room.is_called());
    assert!(!room.sleeps(false), "it is to end");
}

#[tokio::test(start_paused = true)]
async fn it_wakes_to_say_that_a_log_with_a_name_lives() {
    for (name, woken) in [(Some("example.com/log"), true), (None, false)] {
        let mut room = Room::with(1, 1, name, None);
        room.idle(IDLE_TICKS).await;
        let before = Instant::now();
        let rest = tokio::time::timeout(HOUR, room.desk.rest(false)).await;
        assert_eq!(rest.is_ok(), woken);
        if woken {
            assert_eq!(before.elapsed(), PAUSE);
            assert!(!room.common.is_away());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn between_two_rounds_it_rests_for_a_tick_unless_it_is_called() {
    let mut room = Room::new(1, 1);
    room.desk.settings.tick = HOUR;
    let before = Instant::now();
    room.desk.rest(false).await;
    assert_eq!(before.elapsed(), HOUR);
    room.common.call();
    room.desk.rest(false).await;
    assert_eq!(before.elapsed(), HOUR);
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_when_the_log_is_to_end() {
    let mut room = Room::new(2, 1);
    let mut waiting = room.send_durable(event(0));
    assert!(room.is_called());
    let before = Instant::now();
    assert!(room.desk.pause(PAUSE).await);
    assert_eq!(before.elapsed(), PAUSE);
    assert!(waiting.try_recv().unwrap().is_err(), "nobody waits for it");

    let _answer = room.shut_down(PAUSE);
    assert!(room.desk.pause(HOUR).await, "it is only asked to end");
    assert_eq!(before.elapsed(), PAUSE);
    assert!(!room.desk.pause(HOUR).await, "its time is over");
    assert_eq!(before.elapsed(), 2 * PAUSE);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_closes_the_gate_and_its_end_is_waited_for() {
    let mut room = Room::new(2, 1);
    let mut waiting = room.send_durable(event(0));
    assert!(room.is_called());
    let common = Arc::clone(&room.common);
    let deadline = room.desk.settings.deadline;
    let work = async {
        tokio::time::sleep(deadline - Duration::from_millis(1)).await;
        assert!(!common.is_failing());
        assert!(
            waiting
                .try_recv()
                .is_err_and(|error| error == TryRecvError::Empty)
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(common.is_failing());
        assert!(waiting.try_recv().unwrap().is_err());
        tokio::time::sleep(PAUSE).await;
        7
    };
    assert_eq!(room.desk.watch(work).await, Some(7));
    assert_eq!(room.common.counters.failures.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_is_given_up_when_the_time_to_end_is_over() {
    let mut room = Room::new(2, 1);
    room.desk.settings.deadline = HOUR;
    let before = Instant::now();
    let _answer = room.shut_down(PAUSE);
    let work = room.desk.watch(std::future::pending::<()>());
    assert_eq!(work.await, None);
    assert_eq!(before.elapsed(), PAUSE + CLOSING_TIME);
}

#[tokio::test(start_paused = true)]
async fn a_write_under_way_has_a_little_time_when_the_log_is_to_end() {
    let mut room = Room::new(2, 1);
    let _answer = room.shut_down(Duration::ZERO);
    let work = async {
        tokio::time::sleep(CLOSING_TIME / 2).await;
        7
    };
    assert_eq!(room.desk.watch(work).await, Some(7));
    assert!(room.desk.is_done());
}
