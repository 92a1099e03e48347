//! Events as log lines of the process.

use async_trait::async_trait;
use countersign_core::StoreError;

use crate::{AuditBackend, Record, Recovery};

/// Hands every event to the process's `tracing` subscriber, as one event at level `INFO` with the
/// target `countersign::audit`, its number as `seq` and its line as `line`. Nothing here is
/// durable: use it beside a backend that is, in a [`FanOut`](crate::FanOut), or in development.
#[derive(Debug, Default)]
pub struct TracingBackend {
    next: u64,
}

impl TracingBackend {
    /// A backend that numbers events from 0.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: 0 }
    }
}

#[async_trait]
impl AuditBackend for TracingBackend {
    fn next_seq(&self) -> u64 {
        self.next
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        None
    }

    async fn append(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        for record in batch.iter().filter(|record| record.seq() >= self.next) {
            let line = String::from_utf8_lossy(record.line());
            tracing::info!(target: "countersign::audit", seq = record.seq(), %line);
        }
        self.next = batch.last().map_or(self.next, |last| last.seq() + 1);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn health(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
