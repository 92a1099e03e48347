//! The bounded queue between request threads and the writer: one shard for each thread, so that
//! threads don't bounce a cache line between cores.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

use countersign_core::StoreError;
use crossbeam_queue::ArrayQueue;
use tokio::sync::{Notify, oneshot};

use crate::AuditEvent;
use crate::sink::ShutdownRequest;

/// An event on its way to the writer, and who waits for it.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) event: AuditEvent,
    pub(crate) waiter: Option<Waiter>,
}

pub(crate) type Waiter = oneshot::Sender<Result<(), StoreError>>;

/// What all threads share and few write to.
#[derive(Debug, Default)]
pub(crate) struct Common {
    state: AtomicU8,
    /// Somebody waits for the writer: it must not sleep before it has looked.
    urgent: AtomicBool,
    pub(crate) wake: Notify,
    pub(crate) counters: Counters,
    pub(crate) requests: Mutex<Requests>,
}

/// What is asked of the writer besides events.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) flushes: Vec<Waiter>,
    pub(crate) shutdown: Option<ShutdownRequest>,
    /// Set once the writer is gone.
    pub(crate) report: Option<crate::ShutdownReport>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Events on disk.
    pub(crate) written: AtomicU64,
    /// Events that found no room since the last gap event.
    pub(crate) unreported: AtomicU64,
    /// Events that found no room.
    pub(crate) lost: AtomicU64,
    /// Failed attempts to write.
    pub(crate) failures: AtomicU64,
}

/// One thread's part of the queue. Aligned so that two shards never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Shard {
    /// Places that are promised or taken.
    reserved: AtomicUsize,
    queue: ArrayQueue<Queued>,
    common: Arc<Common>,
}

/// A place in the queue for one event. Dropped unused, the place is free again.
#[derive(Debug)]
#[must_use]
pub(crate) struct Permit(Option<Arc<Shard>>);

impl Common {
    /// Whether a request may enter.
    pub(crate) fn is_open(&self) -> bool {
        self.state() & (FAILING | STOPPING | ENDED) == 0
    }

    /// Whether a durable event has a chance.
    pub(crate) fn is_writing(&self) -> bool {
        self.state() & (FAILING | ENDED) == 0
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.state() & FAILING != 0
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.state() & STOPPING != 0
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.state() & ENDED != 0
    }

    /// True when the gate was open before.
    pub(crate) fn set_failing(&self) -> bool {
        self.state.fetch_or(FAILING, Ordering::SeqCst) & FAILING == 0
    }

    /// True when the gate was closed before.
    pub(crate) fn clear_failing(&self) -> bool {
        self.is_failing() && self.state.fetch_and(!FAILING, Ordering::SeqCst) & FAILING != 0
    }

    pub(crate) fn set_stopping(&self) {
        self.state.fetch_or(STOPPING, Ordering::SeqCst);
        self.call();
    }

    pub(crate) fn set_ended(&self) {
        self.state.fetch_or(ENDED, Ordering::SeqCst);
    }

    /// Calls the writer at once.
    pub(crate) fn call(&self) {
        self.urgent.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Whether somebody calls.
    pub(crate) fn is_called(&self) -> bool {
        self.urgent.load(Ordering::SeqCst)
    }

    /// Whether somebody has called since this was last asked.
    pub(crate) fn was_called(&self) -> bool {
        self.urgent.swap(false, Ordering::SeqCst)
    }

    /// Says that the writer sleeps until it is woken, unless `has_work`. The caller must wait for
    /// [`Common::wake`] only if this says so.
    pub(crate) fn park(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.state.fetch_or(PARKED, Ordering::SeqCst);
        // Pairs with the fence in `Permit::send`: either the sender sees that the writer is
        // parked, or the writer sees what was sent.
        fence(Ordering::SeqCst);
        let park = !has_work() && !self.is_called();
        if !park {
            self.unpark();
        }
        park
    }

    pub(crate) fn unpark(&self) {
        self.state.fetch_and(!PARKED, Ordering::SeqCst);
    }

    pub(crate) fn count_lost(&self, events: u64) {
        if events == 0 {
            return;
        }
        self.counters.lost.fetch_add(events, Ordering::Relaxed);
        let before = self
            .counters
            .unreported
            .fetch_add(events, Ordering::Relaxed);
        if before == 0 {
            self.call();
        }
    }

    pub(crate) fn lock_requests(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> u8 {
        self.state.load(Ordering::SeqCst)
    }

    /// Of all senders that find the writer parked, one wakes it.
    #[cold]
    fn wake_parked(&self) {
        if self.state.fetch_and(!PARKED, Ordering::SeqCst) & PARKED != 0 {
            self.wake.notify_one();
        }
    }
}

impl Shard {
    /// `capacity` places in `count` shards.
    pub(crate) fn split(capacity: usize, count: usize, common: &Arc<Common>) -> Box<[Arc<Self>]> {
        let count = count.clamp(1, capacity);
        let places = |index| capacity / count + usize::from(index < capacity % count);
        let shard = |index| {
            Arc::new(Self {
                reserved: AtomicUsize::new(0),
                queue: ArrayQueue::new(places(index)),
                common: Arc::clone(common),
            })
        };
        (0..count).map(shard).collect()
    }

    /// A place in this thread's shard, or in another's when it is full.
    pub(crate) fn reserve(shards: &[Arc<Self>]) -> Option<Permit> {
        let own = thread_number() % shards.len();
        let (before, from) = shards.split_at(own);
        let shard = from.iter().chain(before).find(|shard| shard.take_place())?;
        Some(Permit(Some(Arc::clone(shard))))
    }

    /// Places that are promised or taken.
    pub(crate) fn reserved(&self) -> usize {
        self.reserved.load(Ordering::SeqCst)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The oldest event. Its place stays taken until [`Shard::release`].
    pub(crate) fn pop(&self) -> Option<Queued> {
        self.queue.pop()
    }

    pub(crate) fn release(&self, places: usize) {
        if places > 0 {
            self.reserved.fetch_sub(places, Ordering::SeqCst);
        }
    }

    fn take_place(&self) -> bool {
        let capacity = self.queue.capacity();
        let more = |taken: usize| (taken < capacity).then_some(taken + 1);
        self.reserved
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, more)
            .is_ok()
    }
}

impl Permit {
    /// Queues `event` for the writer's next round.
    pub(crate) fn send(self, event: AuditEvent) {
        self.push(Queued {
            event,
            waiter: None,
        });
    }

    /// Queues `event` and calls the writer; the answer comes when the event is durable, or known
    /// not to be.
    pub(crate) fn send_durable(
        self,
        event: AuditEvent,
    ) -> oneshot::Receiver<Result<(), StoreError>> {
        let (waiter, answer) = oneshot::channel();
        let common = self.0.as_ref().map(|shard| Arc::clone(&shard.common));
        self.push(Queued {
            event,
            waiter: Some(waiter),
        });
        if let Some(common) = common {
            common.call();
        }
        answer
    }

    fn push(mut self, queued: Queued) {
        let Some(shard) = self.0.take() else { return };
        let refused = shard.queue.push(queued).is_err();
        // Pairs with the fence in `Common::park`.
        fence(Ordering::SeqCst);
        let state = shard.common.state.load(Ordering::Relaxed);
        if state & (PARKED | ENDED) != 0 || refused {
            shard.after_push(refused);
        }
    }
}

impl Shard {
    #[cold]
    fn after_push(&self, refused: bool) {
        if refused {
            // A permit is a place, so this is a fault in the counting; it must not pass quietly.
            tracing::error!(target: "countersign", "audit queue refused an event that had its place");
            self.release(1);
            self.common.count_lost(1);
        }
        if self.common.is_ended() {
            self.drop_all();
        } else {
            self.common.wake_parked();
        }
    }

    /// Counts what is queued as lost and lets those who wait for it know. Only for a queue whose
    /// writer is gone.
    pub(crate) fn drop_all(&self) {
        while let Some(queued) = self.pop() {
            self.release(1);
            self.common.count_lost(1);
            drop(queued);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shard) = self.0.take() {
            shard.release(1);
        }
    }
}

fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.with(|number| {
        number.get().unwrap_or_else(|| {
            let new = NEXT.fetch_add(1, Ordering::Relaxed);
            number.set(Some(new));
            new
        })
    })
}

/// The backend does not take events now.
const FAILING: u8 = 1;
/// No new request is let in; those inside are waited for.
const STOPPING: u8 = 2;
/// The writer is gone.
const ENDED: u8 = 4;
/// The writer sleeps until it is woken.
const PARKED: u8 = 8;
