//! From the key store's outbox into the audit log.

use std::sync::Arc;
use std::time::Duration;

use countersign_audit_sink::{AuditEvent, AuditSink};
use countersign_core::StoreError;
use countersign_key_verify::KeyStore;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Takes the events of key and company changes out of a store's outbox and writes them, durably,
/// into the audit log: at once when it is started, every [`OutboxDrain::INTERVAL`] and once more
/// at shutdown. An event is acknowledged only when it is on disk, so that none is lost; after a
/// crash between the two it is written again with the same id.
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
        let task = tokio::spawn(run(store, sink, stopped));
        Self { stop, task }
    }

    /// Brings over what is there and stops.
    pub async fn shutdown(self) {
        // The task ends by itself only when it is told to, so somebody is listening.
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the outbox of key changes was not brought over to its end");
        }
    }
}

async fn run(store: Arc<dyn KeyStore>, sink: AuditSink, mut stopped: watch::Receiver<bool>) {
    let mut failing = false;
    loop {
        let stopping = *stopped.borrow_and_update();
        match drain(&*store, &sink).await {
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

async fn drain(store: &dyn KeyStore, sink: &AuditSink) -> Result<(), StoreError> {
    loop {
        let events = store.pending_events(BATCH).await?;
        if events.is_empty() {
            return Ok(());
        }
        for event in &events {
            sink.append_durable(AuditEvent::from(event.clone())).await?;
        }
        store.acknowledge_events(&events).await?;
    }
}

const BATCH: u32 = 100;
