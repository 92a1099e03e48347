//! What all threads and the writer share: whether requests may enter, and who is waiting.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ShutdownReport;
use crate::queue::Waiter;
use crate::sink::ShutdownRequest;

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
    pub(crate) report: Option<ShutdownReport>,
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

    /// Whether a call that is inside may begin nothing more.
    pub(crate) fn is_closing(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (CLOSING | ENDED) != 0
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

    pub(crate) fn set_closing(&self) {
        self.state.fetch_or(CLOSING, Ordering::SeqCst);
        self.set_stopping();
    }

    /// Before the queue is closed: whom it refuses then finds why.
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

    /// Says that the writer sleeps until it is woken, unless `has_work`, which must look at each shard
    /// under its lock. The caller must wait for [`Common::wake`] only if this says so.
    pub(crate) fn park(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.state.fetch_or(PARKED, Ordering::SeqCst);
        // The other half is in `Permit::push`, which looks at the state when it had the shard's lock:
        // either the sender sees that the writer is parked, or the writer sees what was sent.
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

    pub(crate) fn lock_requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> u8 {
        self.state.load(Ordering::SeqCst)
    }

    /// Whether nobody will look into the queue by itself. One load on the hot path, of somebody who had
    /// the lock of a shard since: that orders it.
    pub(crate) fn is_away(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (PARKED | ENDED) != 0
    }

    /// Of all senders that find the writer parked, one wakes it.
    #[cold]
    pub(crate) fn wake_parked(&self) {
        if self.state.fetch_and(!PARKED, Ordering::SeqCst) & PARKED != 0 {
            self.wake.notify_one();
        }
    }
}

/// The backend does not take events now.
const FAILING: u8 = 1;
/// No new request is let in; those inside are waited for.
const STOPPING: u8 = 2;
/// The writer takes nothing any more: it makes its last write, or is gone.
const ENDED: u8 = 4;
/// The writer sleeps until it is woken.
const PARKED: u8 = 8;
/// The log was told to end, within a time.
const CLOSING: u8 = 16;
