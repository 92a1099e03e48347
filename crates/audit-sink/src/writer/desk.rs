//! The writer's side of the queue: what it holds, who waits, and when it sleeps.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_core::{Monotonic, StoreError};
use tokio::time::{Instant, sleep_until};

use super::Settings;
use super::flood::Flood;
use crate::gate::Common;
use crate::queue::{Queued, ROOM, Shard, Waiter};
use crate::sink::{ShutdownRequest, unavailable};
use crate::{AuditEvent, Notice, Record, Stamp};

pub(super) struct Desk {
    pub(super) common: Arc<Common>,
    pub(super) shards: Box<[Arc<Shard>]>,
    settings: Settings,
    /// The number of the next record.
    seq: u64,
    /// What all records have in common, in a log that has a name.
    stamp: Option<Stamp>,
    pub(super) flood: Flood,
    /// Room for lines, left by those that are written.
    rooms: Vec<Vec<u8>>,
    /// When something was last written.
    wrote_at: Monotonic,
    /// Who waits for the batch in hand.
    waiters: Vec<Waiter>,
    /// Who waits for all that was queued when they asked.
    flushes: Vec<Waiter>,
    /// What was taken out of the queue while the backend did not write.
    pub(super) backlog: VecDeque<Queued>,
    /// The room of a shard's events, given back when others are taken.
    inbox: Vec<Queued>,
    /// How often in a row there were few events for so much room.
    roomy: u32,
    pub(super) stop: Option<Stop>,
    /// The shard to begin with, so that none is always last.
    first: usize,
    idle_ticks: u32,
}

pub(super) struct Stop {
    at: Option<Instant>,
    pub(super) request: ShutdownRequest,
}

impl Desk {
    pub(super) fn new(
        common: Arc<Common>,
        shards: Box<[Arc<Shard>]>,
        settings: Settings,
        seq: u64,
        origin: Option<Arc<str>>,
    ) -> Self {
        Self {
            wrote_at: settings.clock.monotonic(),
            stamp: origin.map(Stamp::new),
            flood: Flood::new(settings.flood),
            rooms: Vec::new(),
            common,
            shards,
            settings,
            seq,
            waiters: Vec::new(),
            flushes: Vec::new(),
            backlog: VecDeque::new(),
            inbox: Vec::with_capacity(ROOM),
            roomy: 0,
            stop: None,
            first: 0,
            idle_ticks: 0,
        }
    }

    /// What the log has to tell of itself.
    pub(super) fn tell(&mut self, notice: Notice, records: &mut Vec<Record>) {
        let now = self.settings.clock.now();
        self.add(AuditEvent::notice(notice, now.wall), now.monotonic, records);
    }

    fn add(&mut self, mut event: AuditEvent, now: Monotonic, records: &mut Vec<Record>) {
        event.read_at(now);
        let room = self.rooms.pop().unwrap_or_default();
        let stamp = self.stamp.as_ref();
        records.push(Record::make_in(room, self.seq, event, stamp));
        self.seq += 1;
    }

    /// Whether the log keeps a record of its own life.
    pub(super) const fn has_name(&self) -> bool {
        self.stamp.is_some()
    }

    /// Says that the log is alive, when it had nothing to tell for long enough.
    pub(super) fn beat(&mut self, records: &mut Vec<Record>) {
        if !self.has_name() || !records.is_empty() {
            return;
        }
        let idle = self
            .settings
            .clock
            .monotonic()
            .duration_since(self.wrote_at);
        if self.settings.heartbeat.is_some_and(|pause| idle >= pause) {
            self.tell(Notice::heartbeat(), records);
        }
    }

    /// Takes note of what was asked for besides events.
    pub(super) fn read_requests(&mut self) {
        self.common.was_called();
        let mut requests = self.common.lock_requests();
        self.flushes.append(&mut requests.flushes);
        if let Some(request) = requests.shutdown.take() {
            let at = Instant::now().checked_add(request.deadline);
            self.stop = Some(Stop { at, request });
        }
    }

    /// Takes up to a batch out of the queue; true when nothing was left behind.
    pub(super) fn collect(&mut self, records: &mut Vec<Record>) -> bool {
        let now = self.settings.clock.monotonic();
        while records.len() < BATCH
            && let Some(queued) = self.backlog.pop_front()
        {
            self.take(queued, now, records);
        }
        self.first = (self.first + 1) % self.shards.len();
        for index in 0..self.shards.len() {
            self.empty((self.first + index) % self.shards.len(), now, records);
        }
        let drained = records.len() < BATCH;
        self.release_held(now, records);
        let lost = self.common.counters.unreported.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.tell(Notice::gap(lost), records);
        }
        drained
    }

    /// Takes all out of one shard for which the batch has room.
    fn empty(&mut self, shard: usize, now: Monotonic, records: &mut Vec<Record>) {
        let shard = Arc::clone(&self.shards[shard]);
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut is_left = true;
        // More than once where refusals are held: they take no room in the batch.
        while is_left && records.len() < BATCH {
            let room = BATCH - records.len();
            shard.take(&mut inbox, room);
            let taken = inbox.len();
            is_left = taken == room;
            for queued in inbox.drain(..) {
                self.take(queued, now, records);
            }
            // Not before: were the writer to panic, they count as lost.
            shard.release(taken);
            self.give_back(&mut inbox, taken);
        }
        self.inbox = inbox;
    }

    /// Halves a room that was long larger than it need be: what a burst took is given back, but not
    /// between one batch of requests and the next.
    fn give_back(&mut self, inbox: &mut Vec<Queued>, taken: usize) {
        // Rooms go round between the shards and the desk: a small one says nothing of the large ones.
        if inbox.capacity() <= LARGEST_INBOX {
            return;
        }
        let is_roomy = taken < inbox.capacity() / 8;
        self.roomy = if is_roomy { self.roomy + 1 } else { 0 };
        if self.roomy > ROOMY {
            self.roomy = 0;
            inbox.shrink_to(inbox.capacity() / 2);
        }
    }

    /// Runs `work` to its end. A hang closes the gate, and the end of the hang is waited for. None
    /// when the log is to end before; work that is under way then has a short time more.
    pub(super) async fn watch<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let due = Instant::now() + self.settings.deadline;
        loop {
            let next = if Instant::now() < due {
                due
            } else {
                self.stalled();
                Instant::now() + self.settings.tick
            };
            let next = self.give_up_at().map_or(next, |at| next.min(at));
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = sleep_until(next) => {}
                () = self.common.wake.notified() => {}
            }
            self.read_stop();
            if self.give_up_at().is_some_and(|at| Instant::now() >= at) {
                return None;
            }
        }
    }

    /// Waits before the next attempt; false when the log is to end before.
    pub(super) async fn pause(&mut self, pause: Duration) -> bool {
        self.watch_stop(pause).await;
        // Whoever came in meanwhile is told as well.
        self.fail_waiters();
        !self.is_expired()
    }

    pub(super) fn written(&mut self, records: &mut Vec<Record>) {
        let written = &self.common.counters.written;
        written.fetch_add(records.len() as u64, Ordering::Relaxed);
        for record in records.drain(..) {
            let room = record.into_room();
            if self.rooms.len() < ROOMS && room.capacity() <= LARGEST_ROOM {
                self.rooms.push(room);
            }
        }
        self.wrote_at = self.settings.clock.monotonic();
        for waiter in self.waiters.drain(..) {
            let _ = waiter.send(Ok(()));
        }
        self.recovered();
    }

    /// Lets requests in again.
    pub(super) fn recovered(&self) {
        if self.common.clear_failing() {
            tracing::info!(target: "countersign", "audit log is writing again; requests are let in");
        }
    }

    pub(super) fn failed(&mut self, error: &StoreError) {
        self.common
            .counters
            .failures
            .fetch_add(1, Ordering::Relaxed);
        if self.common.set_failing() {
            tracing::error!(
                target: "countersign",
                error = error as &dyn std::error::Error,
                "audit log can't be written: every request is refused until it can"
            );
        }
        self.fail_waiters();
    }

    pub(super) fn answer_flushes(&mut self) {
        for flush in self.flushes.drain(..) {
            let _ = flush.send(Ok(()));
        }
    }

    /// Tells everybody who waits that the event is not durable. The events themselves are kept.
    pub(super) fn fail_waiters(&mut self) {
        for shard in &self.shards {
            shard.take(&mut self.inbox, usize::MAX);
            shard.release(self.inbox.len());
            self.backlog.extend(self.inbox.drain(..));
        }
        self.flushes
            .append(&mut self.common.lock_requests().flushes);
        let backlog = self.backlog.iter_mut().filter_map(|q| q.waiter.take());
        for waiter in backlog
            .chain(self.waiters.drain(..))
            .chain(self.flushes.drain(..))
        {
            let _ = waiter.send(Err(unavailable()));
        }
    }

    /// Whether the log was asked to end, and everything is done or the time is over.
    pub(super) fn is_done(&self) -> bool {
        let idle = self.shards.iter().all(|shard| shard.reserved() == 0);
        let told = self.flood.is_empty() && !self.has_unreported();
        let done = idle && self.backlog.is_empty() && told;
        self.is_expired() || (self.common.is_stopping() && done)
    }

    /// Sleeps for a tick; after some idle ones, until somebody sends something.
    pub(super) async fn rest(&mut self, wrote: bool) {
        self.idle_ticks = if wrote { 0 } else { self.idle_ticks + 1 };
        if self.idle_ticks <= IDLE_TICKS || self.common.is_stopping() || !self.flood.is_empty() {
            if !self.common.is_called() {
                self.watch_stop(self.settings.tick).await;
            }
            return;
        }
        let has_work =
            || self.has_unreported() || self.shards.iter().any(|shard| !shard.is_empty());
        if self.common.park(has_work) {
            let pause = self.settings.heartbeat.filter(|_| self.stamp.is_some());
            let woken = self.common.wake.notified();
            match pause {
                Some(pause) => drop(tokio::time::timeout(pause, woken).await),
                None => woken.await,
            }
            self.common.unpark();
        }
        self.idle_ticks = 0;
    }

    fn take(&mut self, queued: Queued, now: Monotonic, records: &mut Vec<Record>) {
        if let Some(waiter) = queued.waiter {
            self.waiters.push(waiter);
        } else if !self.flood.admits(&queued.event, now) {
            return;
        }
        self.add(queued.event, now, records);
    }

    /// Tells of the refusals that were held, when it is time or somebody wants all to be told.
    fn release_held(&mut self, now: Monotonic, records: &mut Vec<Record>) {
        if self.flood.is_empty() {
            return;
        }
        let all = self.common.is_stopping() || !self.flushes.is_empty();
        for event in self.flood.release(now, all) {
            self.add(event, now, records);
        }
    }

    fn stalled(&mut self) {
        if self.common.set_failing() {
            self.common
                .counters
                .failures
                .fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                target: "countersign",
                "audit log hangs: every request is refused until it goes on"
            );
        }
        self.fail_waiters();
    }

    /// Sleeps for `time`, less when somebody calls or the log is to end.
    async fn watch_stop(&mut self, time: Duration) {
        let next = Instant::now() + time;
        let next = self.stop_at().map_or(next, |at| next.min(at));
        tokio::select! {
            () = sleep_until(next) => {}
            () = self.common.wake.notified() => {}
        }
        self.read_stop();
    }

    fn read_stop(&mut self) {
        let request = self.common.lock_requests().shutdown.take();
        if let Some(request) = request {
            let at = Instant::now().checked_add(request.deadline);
            self.stop = Some(Stop { at, request });
        }
    }

    /// Whether refusals were counted that no gap event tells of yet.
    fn has_unreported(&self) -> bool {
        self.common.counters.unreported.load(Ordering::Relaxed) > 0
    }

    fn stop_at(&self) -> Option<Instant> {
        self.stop.as_ref().and_then(|stop| stop.at)
    }

    fn give_up_at(&self) -> Option<Instant> {
        self.stop_at().and_then(|at| at.checked_add(CLOSING_TIME))
    }

    fn is_expired(&self) -> bool {
        self.stop_at().is_some_and(|at| Instant::now() >= at)
    }
}

/// The most records in one write.
pub(super) const BATCH: usize = 8192;
/// For how long beyond the deadline of its end a log may still write.
const CLOSING_TIME: Duration = Duration::from_secs(1);
/// How many lines' room is kept, and of what size at most: under a steady load no line asks the
/// system for memory, and what a burst took is given back.
const ROOMS: usize = 1024;
const LARGEST_ROOM: usize = 2048;
/// For how many events a shard keeps its room, however few there are.
const LARGEST_INBOX: usize = 1024;
/// After how many such rounds in a row a shard's room is halved.
const ROOMY: u32 = 1000;
/// After so many ticks without an event the writer sleeps until it is woken.
const IDLE_TICKS: u32 = 10;

#[cfg(test)]
mod tests;
