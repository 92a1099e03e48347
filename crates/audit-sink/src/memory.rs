//! Backends for tests: one that hands events over, one that keeps lines and fails at will.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use countersign_core::{EventId, StoreError, StoreErrorKind};
use tokio::sync::{mpsc, watch};

use crate::{AuditBackend, AuditEvent, EventHistory, Record, Recovery};

/// Hands every event to a receiver, for tests and for pipelines that keep events elsewhere. It
/// acknowledges an event when it is in the channel, so nothing here is durable; the channel has no
/// bound.
#[derive(Debug)]
pub struct ChannelBackend {
    events: mpsc::UnboundedSender<AuditEvent>,
    next: u64,
}

impl ChannelBackend {
    /// A backend and the end at which its events come out.
    #[must_use]
    pub fn new() -> (Self, EventReceiver) {
        let (events, receiver) = mpsc::unbounded_channel();
        (Self { events, next: 0 }, EventReceiver(receiver))
    }
}

#[async_trait]
impl AuditBackend for ChannelBackend {
    fn next_seq(&self) -> u64 {
        self.next
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        None
    }

    async fn append(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        // What an earlier, failed attempt handed over is not handed over again.
        let next = self.next;
        for record in batch.iter().filter(|record| record.seq() >= next) {
            check_order(self.next, record)?;
            let sent = self.events.send(record.event().clone());
            sent.map_err(|error| unavailable(error.to_string()))?;
            self.next += 1;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn health(&mut self) -> Result<(), StoreError> {
        if self.events.is_closed() {
            return Err(unavailable("the receiver is gone".to_owned()));
        }
        Ok(())
    }
}

/// The end at which the events of a [`ChannelBackend`] come out.
#[derive(Debug)]
pub struct EventReceiver(mpsc::UnboundedReceiver<AuditEvent>);

impl EventReceiver {
    /// The next event; `None` once the log has ended and all events were taken.
    pub async fn recv(&mut self) -> Option<AuditEvent> {
        self.0.recv().await
    }

    /// The next event, if there is one by now.
    pub fn try_recv(&mut self) -> Option<AuditEvent> {
        self.0.try_recv().ok()
    }
}

/// Keeps the log in memory, and fails or hangs when a test says so. Nothing here is durable.
#[derive(Debug)]
pub struct MemoryBackend(MemoryLog);

/// What a [`MemoryBackend`] keeps, and the switches by which it fails. A clone is another handle
/// to the same log.
#[derive(Clone)]
pub struct MemoryLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    records: Mutex<Vec<Record>>,
    writes: AtomicUsize,
    fails: watch::Sender<bool>,
    hangs: watch::Sender<bool>,
}

impl MemoryBackend {
    /// An empty log, and a handle to look into it.
    #[must_use]
    pub fn new() -> (Self, MemoryLog) {
        let log = MemoryLog(Arc::new(Shared {
            records: Mutex::default(),
            writes: AtomicUsize::new(0),
            fails: watch::Sender::new(false),
            hangs: watch::Sender::new(false),
        }));
        (Self(log.clone()), log)
    }

    /// Goes on with what `log` holds.
    #[must_use]
    pub fn reopen(log: &MemoryLog) -> Self {
        Self(log.clone())
    }
}

impl MemoryLog {
    /// From now on every write fails, or no longer does.
    pub fn fail(&self, fails: bool) {
        self.0.fails.send_replace(fails);
    }

    /// From now on every write hangs until this is switched off, or no longer does. A write that
    /// hung goes on then.
    pub fn hang(&self, hangs: bool) {
        self.0.hangs.send_replace(hangs);
    }

    /// All lines, in order.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let text = |record: &Record| String::from_utf8_lossy(record.line()).into_owned();
        self.lock().iter().map(text).collect()
    }

    /// All events, in order.
    #[must_use]
    pub fn events(&self) -> Vec<AuditEvent> {
        let event = |record: &Record| record.event().clone();
        self.lock().iter().map(event).collect()
    }

    /// How many writes succeeded: each is one batch.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.0.writes.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.0
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self) -> Result<(), StoreError> {
        let mut hangs = self.0.hangs.subscribe();
        // The sender lives in `self`, so the wait ends only by the switch.
        let _ = hangs.wait_for(|hangs| !hangs).await;
        if *self.0.fails.borrow() {
            return Err(unavailable("switched off".to_owned()));
        }
        Ok(())
    }
}

impl EventHistory for MemoryLog {
    fn find(&self, ids: &HashSet<EventId>) -> Result<HashSet<EventId>, StoreError> {
        let written = self.lock();
        let known = written.iter().map(Record::id);
        Ok(known.filter(|id| ids.contains(id)).collect())
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog")
            .field("records", &self.lock().len())
            .field("fails", &*self.0.fails.borrow())
            .field("hangs", &*self.0.hangs.borrow())
            .finish()
    }
}

#[async_trait]
impl AuditBackend for MemoryBackend {
    fn next_seq(&self) -> u64 {
        self.0.lock().last().map_or(0, |record| record.seq() + 1)
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        None
    }

    fn history(&self) -> Option<Arc<dyn EventHistory>> {
        Some(Arc::new(self.0.clone()))
    }

    async fn append(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        self.0.answer().await?;
        if let Some(first) = batch.first() {
            check_order(self.next_seq(), first)?;
        }
        self.0.lock().extend_from_slice(batch);
        self.0.0.writes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        self.0.answer().await
    }

    async fn health(&mut self) -> Result<(), StoreError> {
        self.0.answer().await
    }
}

fn check_order(next: u64, record: &Record) -> Result<(), StoreError> {
    if record.seq() == next {
        return Ok(());
    }
    Err(StoreError::with_source(
        StoreErrorKind::Conflict,
        format!("record {} where {next} was expected", record.seq()),
    ))
}

fn unavailable(cause: String) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, cause)
}
