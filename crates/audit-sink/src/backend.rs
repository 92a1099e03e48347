//! Where an audit log is kept.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use countersign_core::StoreError;

use crate::{EventHistory, Members, Notice, Record};

/// Where an audit log is kept. One writer owns a backend and calls it from one task, so that a
/// backend needs no lock of its own; it must only make sure that no second writer appends to the
/// same log.
///
/// Numbers are given by the writer: the first record's is [`next_seq`](Self::next_seq), and they
/// go up by one. A log that several processes share gives its own numbers as it appends
/// ([`Record::line_as`]); the writer's then only tell which records come again. It passes over a
/// [lifecycle event](crate::EventType::Lifecycle) whose id it holds, and finds that out in the same
/// transaction: another process may have taken it out of the same outbox.
///
/// Nothing here may block its thread: the writer watches for hangs on the same thread. A backend
/// over blocking files moves them to a thread that may block.
#[async_trait]
pub trait AuditBackend: Debug + Send + 'static {
    /// The number of the next record: one more than that of the last record that was
    /// acknowledged, or that was found when the log was opened; 0 for an empty log.
    fn next_seq(&self) -> u64;

    /// What was set aside or signed to make the log whole when it was opened, told once. The writer
    /// records it as `external_api.audit.recovered`.
    fn take_recovery(&mut self) -> Option<Recovery>;

    /// The name that the lines of this log bear as `log`, and that its checkpoints are signed by.
    /// `None` for a backend that keeps no log of its own: lines bear no name then, and the writer
    /// tells neither of its start and end nor that it is alive.
    fn origin(&self) -> Option<Arc<str>> {
        None
    }

    /// What the log has to tell of itself since this was last asked. The writer records it before
    /// anything else.
    fn take_notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }

    /// Reads the log back beside the writer. `None`, which is the default, for a backend that can't
    /// be read: an event that a killed process was delivering is then written again, with its id.
    fn history(&self) -> Option<Arc<dyn EventHistory>> {
        None
    }

    /// How the backends that this one is made of are doing, for [`AuditHealth`](crate::AuditHealth).
    /// `None`, which is the default, for a backend of one piece; one that wraps another hands on what
    /// that says.
    fn members(&self) -> Option<Arc<Members>> {
        None
    }

    /// Appends `batch`, in order. `Ok` means that every record of it is durable.
    ///
    /// Atomicity: an error acknowledges nothing. The same records come again then, alone or with
    /// more behind them, and however often that happens the log must end up with each of them
    /// exactly once and with no part of one. An empty batch is fine.
    ///
    /// The future is run to its end unless the writer is shut down before. One that was dropped
    /// half way counts as an error of which the writer never learns.
    ///
    /// # Errors
    /// When the log can't take the records now. `Conflict` when the first record is not
    /// [`next_seq`](Self::next_seq).
    async fn append(&mut self, batch: &[Record]) -> Result<(), StoreError>;

    /// Does what need not be done for each batch. Called once when nothing is queued after batches
    /// were appended, which under load may be long after them.
    ///
    /// # Errors
    /// When it can't be done now. Nobody is let in until it can, and it is asked for again.
    async fn settle(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes durable what [`append`](Self::append) acknowledged, where that was put off by a
    /// setting. Called before the log is closed.
    ///
    /// # Errors
    /// When that can't be said.
    async fn flush(&mut self) -> Result<(), StoreError>;

    /// Whether the log can be written to, as far as that can be told without writing. Asked at
    /// start, and again until it can.
    ///
    /// # Errors
    /// When it can't.
    async fn health(&mut self) -> Result<(), StoreError>;
}

/// What was set aside and what was signed when a log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How many bytes that were no line were set aside.
    pub bytes: u64,
    /// How many lines at the end had no checkpoint and were signed. A process that was killed leaves
    /// few of them: who can write the log's files can leave any.
    pub lines: u64,
}

impl Recovery {
    /// `bytes` were set aside.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self { bytes, lines: 0 }
    }

    /// `lines` were signed that had no checkpoint.
    #[must_use]
    pub const fn signed_anew(mut self, lines: u64) -> Self {
        self.lines = lines;
        self
    }
}
