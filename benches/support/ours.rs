//! The stack of this project: every layer, with limits for key, company and endpoint.

use std::thread;
use std::time::Duration;

use axum::Router;
use countersign::{
    AuditBackend, AuditSink, AuditWriter, Contract, Countersign, Dimension, Endpoint, Policies,
    Policy, Quota, Record, SourceThrottle, StoreError,
};
use countersign_audit_sink::{AuditSinkBuilder, Recovery};

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
    /// The stack for these keys, with `quota` for each limit and `backend` behind the audit.
    pub(crate) async fn new(keys: &[Key], quota: Quota, backend: impl AuditBackend) -> Self {
        Self::with_queue(keys, quota, backend, QUEUE).await
    }

    /// The same, with room for `queue` events.
    pub(crate) async fn with_queue(
        keys: &[Key],
        quota: Quota,
        backend: impl AuditBackend,
        queue: usize,
    ) -> Self {
        Self::over(keys, quota, AuditSink::builder(backend).capacity(queue)).await
    }

    /// The same, with a writer that works when it is asked to by [`settle`](Self::settle), and rests
    /// while a batch of requests runs.
    pub(crate) async fn with_resting_writer(keys: &[Key], quota: Quota) -> Self {
        let sink = AuditSink::builder(Discard::default()).capacity(QUEUE);
        Self::over(keys, quota, sink.tick(REST)).await
    }

    async fn over(keys: &[Key], quota: Quota, sink: AuditSinkBuilder<impl AuditBackend>) -> Self {
        let (sink, writer) = sink.spawn().expect("a thread that writes");
        let stack = Countersign::builder()
            .contract(contract())
            .key_store(keys::store(keys).await)
            .limits(policies(quota))
            .audit(sink.clone())
            // Every key must stay in the cache for as long as it is measured.
            .cached_keys(2 * keys.len())
            .staleness_bound(Duration::from_secs(60))
            // What is measured is the refusal of a bad key, not of a source that sent too many.
            .throttle(SourceThrottle::new().with_source_quota(generous()))
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
        drop(self.sink.flush());
        self.wait_for(64);
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

pub(crate) fn contract() -> Contract {
    let scope = || api::SCOPE.parse().expect("a scope");
    let others = ["payments", "payouts", "cards", "webhooks", "statements"];
    let others = others.map(|it| Endpoint::get(format!("/external/v1/{it}/{{id}}")).scope(scope()));
    Contract::builder()
        .endpoint(Endpoint::get(api::PATH).scope(scope()))
        .endpoint(Endpoint::grpc(api::METHOD).scope(scope()))
        .endpoints(others)
        .build()
        .expect("a contract without mistakes")
}

/// Limits for each key, each company, and each key on each endpoint.
pub(crate) fn policies(quota: Quota) -> Policies {
    Policies::new([
        Policy::new("key", Dimension::Key, quota),
        Policy::new("company", Dimension::Company, quota),
        Policy::new("endpoint", Dimension::Endpoint, quota),
    ])
    .expect("policies without mistakes")
}

/// A quota that one key can't spend in a benchmark.
pub(crate) fn generous() -> Quota {
    Quota::new(1_000_000_000, Duration::from_millis(30)).expect("a window of 347 days")
}

/// A quota that refills so slowly that no counter leaves during a benchmark.
pub(crate) fn slow() -> Quota {
    Quota::new(100_000, Duration::from_secs(300)).expect("a window of 347 days")
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
/// Longer than any batch of requests takes.
const REST: Duration = Duration::from_millis(200);
