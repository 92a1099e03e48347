//! The suite that every audit backend runs.
//!
//! ```
//! use countersign_audit_sink::conformance::{Harness, run};
//! use countersign_audit_sink::{MemoryBackend, MemoryLog};
//!
//! struct Memory(MemoryLog);
//!
//! #[async_trait::async_trait]
//! impl Harness for Memory {
//!     type Backend = MemoryBackend;
//!
//!     async fn open(&mut self) -> MemoryBackend {
//!         MemoryBackend::reopen(&self.0)
//!     }
//!
//!     async fn lines(&mut self) -> Vec<Vec<u8>> {
//!         self.0.lines().into_iter().map(String::into_bytes).collect()
//!     }
//!
//!     async fn fail(&mut self, _: &mut MemoryBackend, fails: bool) -> bool {
//!         self.0.fail(fails);
//!         true
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! run(|| Memory(MemoryBackend::new().1)).await;
//! # }
//! ```

use std::collections::HashSet;

use async_trait::async_trait;
use countersign_core::{
    ActorType, EventId, LifecycleEvent, LifecycleKind, StoreErrorKind, Timestamp,
};

use crate::{AuditBackend, AuditEvent, Record, Stamp};

/// What the suite needs to know of a backend. One harness stands for one log, empty at first.
#[async_trait]
pub trait Harness: Send {
    /// The backend under test.
    type Backend: AuditBackend;

    /// Opens the log. The backend opened before is dropped by then.
    async fn open(&mut self) -> Self::Backend;

    /// Every line of the log, in order, without newlines, read from where the log is kept.
    async fn lines(&mut self) -> Vec<Vec<u8>>;

    /// Lets every write fail from now on, or no longer; false when the harness has no means to.
    /// The checks that need it are left out then.
    async fn fail(&mut self, backend: &mut Self::Backend, fails: bool) -> bool;
}

/// Runs every check, each on a log of its own.
///
/// # Panics
/// When the backend breaks a rule of [`AuditBackend`]; the message names it.
pub async fn run<H: Harness>(mut make: impl FnMut() -> H) {
    an_empty_log_begins_at_zero(make()).await;
    lines_are_kept_to_the_byte_and_in_order(make()).await;
    a_reopened_log_goes_on(make()).await;
    a_hole_is_refused(make()).await;
    the_longest_line_fits(make()).await;
    a_failed_batch_comes_again_and_stands_once(make()).await;
    what_it_holds_can_be_read_back(make()).await;
}

async fn an_empty_log_begins_at_zero<H: Harness>(mut harness: H) {
    let mut backend = harness.open().await;
    assert_eq!(backend.next_seq(), 0, "an empty log begins at 0");
    assert_eq!(backend.take_recovery(), None, "nothing to recover");
    backend.health().await.expect("a new log is healthy");
    backend.append(&[]).await.expect("an empty batch is fine");
    backend.flush().await.expect("an empty log can be flushed");
    assert_eq!(backend.next_seq(), 0, "an empty batch takes no number");
    drop(backend);
    assert!(harness.lines().await.is_empty(), "an empty log has no line");
}

async fn lines_are_kept_to_the_byte_and_in_order<H: Harness>(mut harness: H) {
    let mut backend = harness.open().await;
    let all = records(&backend, 0, 300);
    for (batch, next) in [(&all[..1], 1), (&all[1..8], 8), (&all[8..], 300)] {
        backend.append(batch).await.expect("a batch is taken");
        assert_eq!(backend.next_seq(), next, "numbers go up by one");
    }
    drop(backend);
    expect_lines(&mut harness, &all).await;
}

async fn a_reopened_log_goes_on<H: Harness>(mut harness: H) {
    let all = {
        let backend = harness.open().await;
        records(&backend, 0, 30)
    };
    for batch in all.chunks(10) {
        let mut backend = harness.open().await;
        assert_eq!(
            backend.next_seq(),
            batch[0].seq(),
            "goes on where it was left"
        );
        assert_eq!(backend.take_recovery(), None, "nothing was torn");
        backend.append(batch).await.expect("a batch is taken");
        // No flush: what was acknowledged is durable without one.
    }
    expect_lines(&mut harness, &all).await;
}

async fn a_hole_is_refused<H: Harness>(mut harness: H) {
    let mut backend = harness.open().await;
    let all = records(&backend, 0, 3);
    backend.append(&all[..1]).await.expect("a batch is taken");
    for wrong in [&all[2..], &all[..1]] {
        let refused = backend.append(wrong).await;
        let kind = refused
            .expect_err("a hole or a repetition is refused")
            .kind();
        assert_eq!(kind, StoreErrorKind::Conflict, "and called a conflict");
    }
    backend
        .append(&all[1..])
        .await
        .expect("the right batch is taken");
    drop(backend);
    expect_lines(&mut harness, &all).await;
}

async fn the_longest_line_fits<H: Harness>(mut harness: H) {
    let mut backend = harness.open().await;
    let stamp = stamp(&backend);
    let record = |seq, length| make(seq, event("a".to_owned()).at("/".repeat(length)), &stamp);
    let room = Record::MAX_LINE - record(0, 0).line().len();
    let all = [record(0, room), record(1, 0), record(2, 0)];
    assert_eq!(all[0].line().len(), Record::MAX_LINE);
    let taken = backend.append(&all[..2]).await;
    taken.expect("a long line is taken");
    drop(backend);
    expect_lines(&mut harness, &all[..2]).await;
    let mut backend = harness.open().await;
    assert_eq!(backend.next_seq(), 2, "and read again");
    backend.append(&all[2..]).await.expect("a batch is taken");
}

async fn a_failed_batch_comes_again_and_stands_once<H: Harness>(mut harness: H) {
    let mut backend = harness.open().await;
    let all = records(&backend, 0, 40);
    for (at, end) in [(0, 10), (10, 20)] {
        if !harness.fail(&mut backend, true).await {
            return;
        }
        for until in [at + 5, at + 5, end] {
            let failed = backend.append(&all[at..until]).await;
            assert!(failed.is_err(), "a failed write is not acknowledged");
            assert_eq!(
                backend.next_seq(),
                at as u64,
                "a failed write takes no number"
            );
        }
        harness.fail(&mut backend, false).await;
        let again = backend.append(&all[at..end]).await;
        again.expect("the same records come again");
    }
    backend
        .append(&all[20..30])
        .await
        .expect("a batch is taken");
    drop(backend);
    let mut backend = harness.open().await;
    assert_eq!(backend.next_seq(), 30, "a reopened log knows its end");
    backend.append(&all[30..]).await.expect("a batch is taken");
    drop(backend);
    expect_lines(&mut harness, &all).await;
}

async fn what_it_holds_can_be_read_back<H: Harness>(mut harness: H) {
    let mut backend = harness.open().await;
    let Some(history) = backend.history() else {
        return;
    };
    let all = records(&backend, 0, 40);
    let ids = |records: &[Record]| records.iter().map(Record::id).collect::<HashSet<_>>();
    let found = |ids| history.find(&ids).expect("the log can be read");
    assert_eq!(found(ids(&all)), HashSet::new(), "an empty log holds none");
    for batch in all[..20].chunks(5) {
        backend.append(batch).await.expect("a batch is taken");
    }
    assert_eq!(found(ids(&all)), ids(&all[..20]), "what was written");
    assert_eq!(found(ids(&all[..3])), ids(&all[..3]), "and asked for");
    drop(backend);
    let backend = harness.open().await;
    let history = backend.history().expect("it has one still");
    let again = history.find(&ids(&all)).expect("the log can be read");
    assert_eq!(again, ids(&all[..20]), "what an earlier process wrote");
}

async fn expect_lines<H: Harness>(harness: &mut H, records: &[Record]) {
    let lines = harness.lines().await;
    assert_eq!(lines.len(), records.len(), "every line stands once");
    for (line, record) in lines.iter().zip(records) {
        assert_eq!(line, record.line(), "line {} to the byte", record.seq());
    }
}

/// Records as the writer would make them for this backend.
fn records<B: AuditBackend>(backend: &B, from: u64, to: u64) -> Vec<Record> {
    let stamp = stamp(backend);
    (from..to)
        .map(|seq| make(seq, event(format!("operator-{seq}")), &stamp))
        .collect()
}

fn stamp<B: AuditBackend>(backend: &B) -> Option<Stamp> {
    backend.origin().map(Stamp::new)
}

fn make(seq: u64, event: AuditEvent, stamp: &Option<Stamp>) -> Record {
    match stamp {
        Some(stamp) => Record::stamped(seq, event, stamp),
        None => Record::new(seq, event),
    }
}

fn event(actor: String) -> AuditEvent {
    let time = Timestamp::from_micros(1_767_225_600_000_000);
    let change = LifecycleEvent {
        id: EventId::generate(time),
        time,
        kind: LifecycleKind::TokenCreated,
        actor_type: ActorType::Operator,
        actor,
        company: "company_12".parse().expect("a company id"),
        environment: None,
        key_id: None,
        key_prefix: None,
        reason: None,
        linked_key: None,
        subsidiaries: Vec::new(),
        scopes: Vec::new(),
        ends_at: None,
        changed: None,
    };
    AuditEvent::from(change)
}
