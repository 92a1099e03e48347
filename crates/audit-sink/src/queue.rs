//! The bounded queue between request threads and the writer: one shard for each thread, so that
//! threads don't bounce a cache line between cores.
//!
//! The writer takes all of a shard at once and leaves the room of an earlier round in its place, so
//! that events come to lie where others lay a moment ago, and not in a ring of some megabytes that is
//! in nobody's cache any more.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_core::{StoreError, thread_number};
use tokio::sync::oneshot;

use crate::AuditEvent;
use crate::gate::Common;

/// An event on its way to the writer, and who waits for it.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) event: AuditEvent,
    pub(crate) waiter: Option<Waiter>,
}

pub(crate) type Waiter = oneshot::Sender<Result<(), StoreError>>;

/// One thread's part of the queue. Aligned so that two shards never share a cache line.
#[repr(align(128))]
pub(crate) struct Shard {
    /// Places that are promised or taken.
    reserved: AtomicUsize,
    capacity: usize,
    /// Held for one move of an event, or of the list.
    queue: Mutex<Queue>,
    common: Arc<Common>,
}

#[derive(Debug)]
struct Queue {
    events: Vec<Queued>,
    /// The writer has looked for the last time.
    is_closed: bool,
}

/// A place in the queue for one event. Dropped unused, the place is free again.
#[derive(Debug)]
#[must_use]
pub(crate) struct Permit(Option<Arc<Shard>>);

/// The log that a request has its place in, as far as its body must know.
pub(crate) struct Place(Arc<Shard>);

impl Place {
    /// Whether nothing more may begin: the log is told to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.0.common.is_closing()
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
                capacity: places(index),
                queue: Mutex::new(Queue {
                    events: Vec::with_capacity(ROOM),
                    is_closed: false,
                }),
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
        self.lock().events.is_empty()
    }

    /// Takes the oldest events, `most` of them where there are more, in place of what `emptied` held.
    /// Their places stay taken until [`Shard::release`].
    pub(crate) fn take(&self, emptied: &mut Vec<Queued>, most: usize) {
        emptied.clear();
        let queue = &mut self.lock().events;
        if queue.len() <= most {
            std::mem::swap(queue, emptied);
        } else {
            emptied.extend(queue.drain(..most));
        }
    }

    /// Moves what is queued behind `backlog` and lets nothing in any more. How many events are promised
    /// and are not there: they will be refused. None are when this is called again.
    pub(crate) fn close(&self, backlog: &mut VecDeque<Queued>) -> usize {
        let mut queue = self.lock();
        if std::mem::replace(&mut queue.is_closed, true) {
            return 0;
        }
        self.release(queue.events.len());
        backlog.extend(queue.events.drain(..));
        // Under the lock: a promise that is kept now is refused, and gives back its place after this.
        self.reserved()
    }

    pub(crate) fn release(&self, places: usize) {
        if places > 0 {
            self.reserved.fetch_sub(places, Ordering::SeqCst);
        }
    }

    fn take_place(&self) -> bool {
        let more = |taken: usize| (taken < self.capacity).then_some(taken + 1);
        self.reserved
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, more)
            .is_ok()
    }
}

impl Permit {
    pub(crate) fn place(&self) -> Option<Place> {
        self.0.clone().map(Place)
    }

    /// Queues `event` for the writer's next round.
    #[inline]
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

    /// Queues what is ready to be queued.
    #[inline]
    pub(crate) fn push(mut self, queued: Queued) {
        let Some(shard) = self.0.take() else { return };
        let refused = shard.put(queued).is_err();
        // The other half is in `Common::park`: the writer says that it goes before it looks, with the
        // lock, whether the shard is empty. So either it has seen the event, or it is seen to go.
        if shard.common.is_away() || refused {
            shard.after_push(refused);
        }
    }
}

impl Shard {
    #[inline]
    fn put(&self, queued: Queued) -> Result<(), Queued> {
        let mut queue = self.lock();
        if queue.is_closed || queue.events.len() >= self.capacity {
            return Err(queued);
        }
        queue.events.push(queued);
        Ok(())
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn after_push(&self, refused: bool) {
        if refused {
            self.release(1);
        }
        if self.common.is_ended() {
            // The writer has counted the place before it closed the shard.
            return;
        }
        if refused {
            // A permit is a place, so this is a fault in the counting; it must not pass quietly.
            tracing::error!(target: "countersign", "audit queue refused an event that had its place");
            self.common.count_lost(1);
        }
        self.common.wake_parked();
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("reserved", &self.reserved)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shard) = self.0.take() {
            shard.release(1);
        }
    }
}

/// For how many events a shard has room before it grows.
pub(crate) const ROOM: usize = 512;

#[cfg(test)]
mod tests;
