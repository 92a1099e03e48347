//! The stack of this project: every layer, with limits for key, company and endpoint.

use std::thread;
use std::time::Duration;

use axum::Router;
use countersign::{
    AuditBackend, AuditSink, AuditWriter, Contract, Countersign, Dimension, Endpoint, Policies,
    Policy, Quota, Record, SourceThrottle, StoreError,
};
use countersign_audit_sink::Recovery;

use super::api;
use super::keys::{self, Key};

/// The stack, and where its events go.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) stack: Countersign,
    pub(crate) sink: AuditSink,
    /// The thread that writes goes on without it.
    _writer: AuditWriter,
}

impl Ours {
    /// The stack for these keys, with `backend` behind its audit.
    pub(crate) async fn new(keys: &[Key], backend: impl AuditBackend) -> Self {
        let (sink, writer) = AuditSink::builder(backend)
            .capacity(QUEUE)
            .spawn()
            .expect("a thread that writes");
        let stack = Countersign::builder()
            .contract(contract())
            .key_store(keys::store(keys).await)
            .limits(policies())
            .audit(sink.clone())
            // Every key must stay in the cache for as long as it is measured.
            .cached_keys(2 * keys.len())
            .staleness_bound(Duration::from_secs(60))
            // What is measured is the refusal of a bad key, not of a source that sent too many.
            .throttle(SourceThrottle::new().with_source_quota(never_spent()))
            .build()
            .expect("settings within their bounds");
        Self {
            stack,
            sink,
            _writer: writer,
        }
    }

    /// The router behind the stack.
    pub(crate) fn router(&self) -> Router {
        api::bare().layer(self.stack.clone())
    }

    /// Waits until the queue is nearly empty. Requests that are made as fast as they can be would
    /// fill it in the end, and be refused.
    pub(crate) fn settle(&self) {
        self.wait_for(QUEUE / 64);
    }

    /// Waits until the queue is at most half full.
    pub(crate) fn wait_for_room(&self) {
        self.wait_for(QUEUE / 2);
    }

    fn wait_for(&self, queued: usize) {
        while self.sink.health().reserved > queued {
            thread::yield_now();
        }
    }
}

fn contract() -> Contract {
    let scope = || api::SCOPE.parse().expect("a scope");
    let others = ["payments", "payouts", "cards", "webhooks", "statements"];
    let others = others.map(|it| Endpoint::get(format!("/external/v1/{it}/{{id}}")).scope(scope()));
    Contract::builder()
        .endpoint(Endpoint::get(api::PATH).scope(scope()))
        .endpoints(others)
        .build()
        .expect("a contract without mistakes")
}

/// Limits for each key, each company, and each key on each endpoint.
pub(crate) fn policies() -> Policies {
    Policies::new([
        Policy::new("key", Dimension::Key, never_spent()),
        Policy::new("company", Dimension::Company, never_spent()),
        Policy::new("endpoint", Dimension::Endpoint, never_spent()),
    ])
    .expect("policies without mistakes")
}

/// A quota that no benchmark spends, and that refills too slowly for its counter to leave.
pub(crate) fn never_spent() -> Quota {
    Quota::new(1_000_000_000, Duration::from_millis(1)).expect("a window of twelve days")
}

/// Takes every event and keeps none.
#[derive(Debug, Default)]
pub(crate) struct Discard {
    next: u64,
}

#[async_trait::async_trait]
impl AuditBackend for Discard {
    fn next_seq(&self) -> u64 {
        self.next
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        None
    }

    async fn append(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        self.next += batch.len() as u64;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn health(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

const QUEUE: usize = 1 << 18;
