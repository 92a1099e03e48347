//! From the key store's outbox into the audit log.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use countersign_audit_sink::{AuditEvent, AuditSink};
use countersign_core::{EventId, LifecycleEvent, StoreError};
use countersign_key_verify::{EventClaim, KeyStore};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Takes the events of key and company changes out of a store's outbox and writes them, durably,
/// into the audit log: at once when it is started, every [`OutboxDrain::INTERVAL`] and once more
/// at shutdown.
///
/// Of several processes that share a store one brings all events over, until it ends; then another
/// takes its place. An event is acknowledged only when it is on disk, so that none is lost. None is
/// written twice, but for those between the two when the process is killed or its connection to the
/// store is lost: they are written again, by whoever has the claim then, with the same id.
#[derive(Debug)]
pub struct OutboxDrain {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl OutboxDrain {
    /// How long a change can wait before its event is in the audit log.
    pub const INTERVAL: Duration = Duration::from_millis(250);

    pub(crate) fn spawn(store: Arc<dyn KeyStore>, sink: AuditSink) -> Self {
        let (stop, stopped) = watch::channel(false);
        let drain = Drain {
            store,
            sink,
            claim: None,
            written: HashSet::new(),
        };
        let task = tokio::spawn(run(drain, stopped));
        Self { stop, task }
    }

    /// Brings over what is there and stops. Where another process has the claim, that one does.
    pub async fn shutdown(self) {
        // The task ends by itself only when it is told to, so somebody is listening.
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the outbox of key changes was not brought over to its end");
        }
    }
}

async fn run(mut drain: Drain, mut stopped: watch::Receiver<bool>) {
    let mut failing = false;
    loop {
        let stopping = *stopped.borrow_and_update();
        match drain.turn().await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "events of key changes wait for the audit log");
            }
            Err(_) => {}
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

struct Drain {
    store: Arc<dyn KeyStore>,
    sink: AuditSink,
    claim: Option<EventClaim>,
    /// Events that are on disk and that the store still holds: it could not be told.
    written: HashSet<EventId>,
}

impl Drain {
    async fn turn(&mut self) -> Result<(), StoreError> {
        self.claim = match self.claim.take().filter(EventClaim::is_held) {
            Some(claim) => Some(claim),
            None => self.store.claim_events().await?,
        };
        while self.claim.as_ref().is_some_and(EventClaim::is_held) {
            let events = self.store.pending_events(BATCH).await?;
            if events.is_empty() {
                break;
            }
            self.write(&events).await?;
            self.store.acknowledge_events(&events).await?;
            self.written.clear();
        }
        Ok(())
    }

    /// Brings a batch to disk in one write.
    async fn write(&mut self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        let new = events
            .iter()
            .filter(|event| !self.written.contains(&event.id));
        let writing = new.map(|event| {
            let durable = self.sink.append_durable(AuditEvent::from(event.clone()));
            (event.id, durable)
        });
        for (id, durable) in writing.collect::<Vec<_>>() {
            durable.await?;
            self.written.insert(id);
        }
        Ok(())
    }
}

const BATCH: u32 = 100;
