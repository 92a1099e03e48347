//! From the key store's outbox into the audit log.

mod expiry;

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use countersign_audit_sink::{AuditEvent, AuditSink};
use countersign_core::{Clock, EventId, LifecycleEvent, StoreError};
use countersign_key_verify::{EventClaim, KeyStore};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::expiry::Expiry;
use crate::stuck::{Stuck, caught, finish, in_time, within};

/// Takes the events of key and company changes out of a store's outbox and writes them, durably,
/// into the audit log: at once when it is started, every [`OutboxDrain::INTERVAL`] and once more
/// at shutdown.
///
/// It also looks for keys whose time has come, every [`OutboxDrain::EXPIRY`] and a minute after
/// their end, and stores them as expired, so that the audit log is told `external_api.token.expired`
/// by the actor `expiry` of the system. No refusal depends on that, see
/// [`KeyManager::expire_due`](countersign_key_verify::KeyManager::expire_due).
///
/// Of several processes that share a store one brings all events over, until it ends or the store
/// no longer knows it, which it asks in every turn and between batches; then another takes its
/// place. An event is acknowledged only when it is on disk, so that none is lost.
///
/// None is written twice into one log. A process that was killed may have written events of which
/// the store was not told: whoever goes on with its log reads it back first, as far as its backend
/// can be read ([`AuditBackend::history`](countersign_audit_sink::AuditBackend::history);
/// [`FileLog`](countersign_audit_sink::FileLog) and the log in PostgreSQL can). Only where
/// processes have a log each, and the one that brings events over is killed or cut off from the
/// store, are those that it was just writing written by its successor too: into the other log and
/// with the same id.
///
/// A store that fails, panics or does not answer within five seconds is asked again after the usual
/// pause, for as long as it takes; one that panics or hangs loses the claim, so that another process
/// may have it. An error line says when that begins; the events wait in the store meanwhile.
#[derive(Debug)]
pub struct OutboxDrain {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl OutboxDrain {
    /// How long a change can wait before its event is in the audit log.
    pub const INTERVAL: Duration = Duration::from_millis(250);

    /// How often keys are looked for whose time has come. Where there are many, 100 are stored as
    /// expired every [`OutboxDrain::INTERVAL`].
    pub const EXPIRY: Duration = Duration::from_secs(10);

    pub(crate) fn spawn(store: Arc<dyn KeyStore>, sink: AuditSink, clock: Arc<dyn Clock>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let drain = Drain {
            expiry: Expiry::new(Arc::clone(&store), clock),
            store,
            sink,
            claim: None,
            written: HashSet::new(),
            taken: HashSet::new(),
            in_doubt: true,
        };
        let task = tokio::spawn(run(drain, stopped));
        Self { stop, task }
    }

    /// Brings over what is there and stops. Where another process has the claim, that one does.
    ///
    /// Takes ten seconds at most. What was not brought over by then, from a store that does not answer
    /// for example, waits there for the next process, and an error line says so.
    pub async fn shutdown(mut self) {
        // The task ends by itself only when it is told to, so somebody is listening.
        let _ = self.stop.send(true);
        if let Err(error) = finish(&mut self.task).await {
            tracing::error!(
                target: "countersign",
                error,
                "the outbox of key changes was not brought over to its end"
            );
        }
    }
}

async fn run(mut drain: Drain, mut stopped: watch::Receiver<bool>) {
    let mut failing = false;
    loop {
        let stopping = *stopped.borrow_and_update();
        let turned = caught(drain.turn()).await;
        match turned.map_err(Failure::Stuck).flatten() {
            Ok(()) => failing = false,
            Err(failure) => {
                drain.failed(&failure, failing);
                failing = true;
            }
        }
        if stopping {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(OutboxDrain::INTERVAL) => {}
            changed = stopped.changed() => {
                if changed.is_err() {
                    // The handle was dropped without a shutdown: the drain goes on by itself.
                    tokio::time::sleep(OutboxDrain::INTERVAL).await;
                }
            }
        }
    }
}

/// Why a turn was not brought to its end.
enum Failure {
    /// The store or the log said that it failed.
    Said(StoreError),
    /// One of them panicked or hung.
    Stuck(Stuck),
}

struct Drain {
    store: Arc<dyn KeyStore>,
    sink: AuditSink,
    expiry: Expiry,
    claim: Option<EventClaim>,
    /// Events that are on disk and that the store still holds: it could not be told.
    written: HashSet<EventId>,
    /// Events that the log took and of which it did not say that they are on disk.
    taken: HashSet<EventId>,
    /// The log may hold events that another process wrote and that the store still holds.
    in_doubt: bool,
}

impl Drain {
    async fn turn(&mut self) -> Result<(), Failure> {
        if !self.claim().await? {
            return Ok(());
        }
        // Others would find the same keys. Where two look all the same, each end is told once.
        self.expiry.turn().await;
        while self.bring_over().await? && self.holds_the_claim().await? {}
        Ok(())
    }

    /// Brings a batch over; false where there is none.
    async fn bring_over(&mut self) -> Result<bool, Failure> {
        let events = in_time(self.store.pending_events(BATCH)).await??;
        if events.is_empty() {
            return Ok(false);
        }
        within(LONGEST_WRITE, self.write(&events)).await??;
        in_time(self.store.acknowledge_events(&events)).await??;
        for event in &events {
            self.written.remove(&event.id);
        }
        Ok(true)
    }

    /// Asks for the claim where this process does not have it; whether it has it then.
    async fn claim(&mut self) -> Result<bool, Failure> {
        if self.holds_the_claim().await? {
            return Ok(true);
        }
        self.claim = None;
        // Whoever had it before may have written into the same log.
        self.in_doubt = true;
        self.claim = in_time(self.store.claim_events()).await??;
        Ok(self.claim.is_some())
    }

    /// Whether it is still this process that may bring events over, as the store says now.
    async fn holds_the_claim(&self) -> Result<bool, Stuck> {
        match &self.claim {
            Some(claim) => in_time(claim.is_held()).await,
            None => Ok(false),
        }
    }

    /// After a panic or a hang nothing is certain of the claim: it is given back, and what is in the
    /// log is looked up again. A failure is told once, however long it lasts.
    fn failed(&mut self, failure: &Failure, told: bool) {
        if matches!(failure, Failure::Stuck(_)) {
            self.claim = None;
            self.in_doubt = true;
        }
        if !told {
            tracing::error!(
                target: "countersign",
                error = failure.cause(),
                "events of key changes wait for the audit log"
            );
        }
    }

    /// Brings a batch to disk in one write.
    async fn write(&mut self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        self.recall(events).await?;
        let mut writing = Vec::new();
        for event in events.iter().filter(|it| !self.written.contains(&it.id)) {
            let durable = self.sink.append_durable(AuditEvent::from(event.clone()));
            if durable.is_taken() {
                self.taken.insert(event.id);
            }
            writing.push((event.id, durable));
        }
        for (id, durable) in writing {
            durable.await?;
            self.taken.remove(&id);
            self.written.insert(id);
        }
        Ok(())
    }

    /// Finds out which events of a batch are on disk, where that is not known: after a write that
    /// did not end well, and at the start.
    async fn recall(&mut self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        if !self.in_doubt && self.taken.is_empty() {
            return Ok(());
        }
        // With it everything that was taken is on disk, and so is what an earlier process left:
        // the log makes it durable before it adds to it.
        self.sink.flush().await?;
        self.written.extend(self.taken.drain());
        if self.in_doubt {
            let ids = events.iter().map(|event| event.id).collect();
            let found = self.sink.find_written(ids).await?;
            // The store gives events in the order in which they were given before, so that those
            // an earlier process wrote are the first of all.
            self.in_doubt = found.as_ref().is_some_and(|found| !found.is_empty());
            self.written.extend(found.into_iter().flatten());
        }
        Ok(())
    }
}

impl Failure {
    fn cause(&self) -> &(dyn Error + 'static) {
        match self {
            Self::Said(error) => error,
            Self::Stuck(stuck) => stuck,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Said(error)
    }
}

impl From<Stuck> for Failure {
    fn from(stuck: Stuck) -> Self {
        Self::Stuck(stuck)
    }
}

const BATCH: u32 = 100;

/// How long a batch may take on its way to disk, with what must be read back of the log before. The
/// log has a deadline for each write.
const LONGEST_WRITE: Duration = Duration::from_secs(60);
