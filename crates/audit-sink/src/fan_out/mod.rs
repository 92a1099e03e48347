//! Several backends as one.

mod answers;
mod child;
mod members;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use countersign_core::{Clock, ConfigError, StoreError, StoreErrorKind, SystemClock};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::answers::{Answers, too_few};
use self::child::{Ask, Child};
pub use self::members::Members;
use crate::history::InAll;
use crate::{AuditBackend, EventHistory, Record, Recovery};

/// Several backends as one: each event goes to all of them, and is acknowledged once enough of the
/// required ones have it.
///
/// Each backend has a task and a bounded queue of its own, so that one that hangs stops none of the
/// others. One that does not acknowledge within the deadline counts as failed for that batch; it
/// still gets the batch once it goes on. With too few of the required ones, nothing is acknowledged
/// and requests are refused. A backend whose queue is full while the others suffice misses events;
/// how many is told by an `external_api.audit.gap` event inside its own log. One that panics gets
/// nothing more until the process is restarted: an error line names it, and
/// [`AuditHealth::backends_ended`](crate::AuditHealth::backends_ended) counts it.
///
/// When the log is shut down, all backends are waited for, those of best effort too, until they have
/// what they were sent or the deadline of the shutdown is over. An error line then says of each that is
/// behind how many events its log is without, and
/// [`AuditHealth::backends_missing`](crate::AuditHealth::backends_missing) counts them.
///
/// Each log numbers its lines by itself and bears its own origin, so that each can be verified
/// alone.
///
/// ```
/// use countersign_audit_sink::{AuditSink, FanOut, MemoryBackend, TracingBackend};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let (first, log) = MemoryBackend::new();
/// let (second, _) = MemoryBackend::new();
/// let backends = FanOut::any_of(1)
///     .required("here", first)
///     .required("there", second)
///     .best_effort("console", TracingBackend::new())
///     .build()?;
/// let (sink, writer) = AuditSink::builder(backends).spawn()?;
/// # drop((sink, writer, log));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FanOut {
    children: Vec<Child>,
    need: usize,
    deadline: Duration,
    origin: Option<Arc<str>>,
    history: Option<Arc<dyn EventHistory>>,
    members: Arc<Members>,
    tasks: JoinSet<()>,
    /// The number of the next record. It is that of no log: each has its own.
    next: u64,
}

/// Puts a [`FanOut`] together.
#[must_use]
pub struct FanOutBuilder {
    need: Option<usize>,
    deadline: Duration,
    queue: usize,
    clock: Arc<dyn Clock>,
    backends: Vec<(&'static str, bool, Box<dyn AuditBackend>)>,
}

impl FanOut {
    /// Every required backend must acknowledge.
    pub fn all_of() -> FanOutBuilder {
        FanOutBuilder {
            need: None,
            deadline: Duration::from_secs(1),
            queue: 64,
            clock: Arc::new(SystemClock),
            backends: Vec::new(),
        }
    }

    /// `need` of the required backends must acknowledge, whichever they are.
    pub fn any_of(need: usize) -> FanOutBuilder {
        FanOutBuilder {
            need: Some(need),
            ..Self::all_of()
        }
    }

    /// Starts the tasks, within the runtime of the writer.
    fn start(&mut self) {
        for child in &mut self.children {
            if let Some(task) = child.start(&self.members) {
                self.tasks.spawn(task);
            }
        }
    }

    /// What the required ones answer, and how many of them must answer well, by when.
    fn required<F: Future<Output = bool> + Send + 'static>(
        &self,
        ask: impl Fn(&Child) -> F,
    ) -> Answers {
        let required = self.children.iter().filter(|child| child.required);
        Answers {
            answers: required.map(ask).collect(),
            need: self.need,
            deadline: Instant::now() + self.deadline,
        }
    }
}

impl FanOutBuilder {
    /// Adds a backend that counts. `name` is for logs.
    pub fn required(mut self, name: &'static str, backend: impl AuditBackend) -> Self {
        self.backends.push((name, true, Box::new(backend)));
        self
    }

    /// Adds a backend whose failures nobody waits for. `name` is for logs.
    pub fn best_effort(mut self, name: &'static str, backend: impl AuditBackend) -> Self {
        self.backends.push((name, false, Box::new(backend)));
        self
    }

    /// How long a backend may take for a batch before it counts as failed; 1 s unless set. Keep it
    /// below the deadline of the log.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many batches may wait for each backend; 64 unless set.
    pub const fn queue(mut self, batches: usize) -> Self {
        self.queue = batches;
        self
    }

    /// Dates what each log has to tell of itself by `clock`.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The backends as one.
    ///
    /// # Errors
    /// When fewer are required than must acknowledge, none must, or the queue or the deadline is
    /// zero.
    pub fn build(self) -> Result<FanOut, ConfigError> {
        let required = self.backends.iter().filter(|backend| backend.1).count();
        let need = self.need.unwrap_or(required);
        if need == 0 || need > required || self.queue == 0 || self.deadline.is_zero() {
            let problem = "at least one backend, and no more than are required, must acknowledge";
            return Err(ConfigError::new("fan-out", problem));
        }
        let origin = |(_, _, backend): &(_, _, Box<dyn AuditBackend>)| backend.origin();
        let origin = self.backends.iter().find_map(origin);
        let required = self.backends.iter().filter(|backend| backend.1);
        let histories: Option<Vec<_>> = required.map(|backend| backend.2.history()).collect();
        let history = histories.map(|all| Arc::new(InAll(all)) as Arc<dyn EventHistory>);
        let child = |(name, required, backend)| {
            Child::new(name, required, backend, self.queue, Arc::clone(&self.clock))
        };
        Ok(FanOut {
            children: self.backends.into_iter().map(child).collect(),
            need,
            deadline: self.deadline,
            origin,
            history,
            members: Arc::default(),
            tasks: JoinSet::new(),
            next: 0,
        })
    }
}

#[async_trait]
impl AuditBackend for FanOut {
    fn next_seq(&self) -> u64 {
        self.next
    }

    /// Each log tells of its own.
    fn take_recovery(&mut self) -> Option<Recovery> {
        None
    }

    /// That of the first backend that has one; lines bear that of their own log.
    fn origin(&self) -> Option<Arc<str>> {
        self.origin.clone()
    }

    /// What all required logs hold; none where one of them can't be read.
    fn history(&self) -> Option<Arc<dyn EventHistory>> {
        self.history.clone()
    }

    fn members(&self) -> Option<Arc<Members>> {
        Some(Arc::clone(&self.members))
    }

    async fn append(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
            return Ok(());
        };
        if first.seq() != self.next {
            return Err(StoreError::new(StoreErrorKind::Conflict));
        }
        self.start();
        let end = last.seq() + 1;
        let shared: Arc<[Record]> = batch.into();
        for child in &mut self.children {
            child.send(&shared);
        }
        self.required(|child| child.has(end)).enough().await?;
        // With enough of the others, one that has no room misses this batch.
        for child in &mut self.children {
            child.miss(end);
        }
        self.next = end;
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), StoreError> {
        self.start();
        for child in &self.children {
            // One that is behind settles later.
            drop(child.ask(Ask::Settle));
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        self.start();
        let mut answers = JoinSet::new();
        for child in &mut self.children {
            let (required, finished) = (child.required, child.finish());
            answers.spawn(async move { finished.await && required });
        }
        // Nothing comes after this, so each is waited for, as long as the writer has time.
        let answers = answers.join_all().await;
        let well = answers.into_iter().filter(|well| *well).count();
        if well < self.need {
            return Err(too_few(well, self.need));
        }
        Ok(())
    }

    async fn health(&mut self) -> Result<(), StoreError> {
        self.start();
        let asked = self.required(|child| child.ask(Ask::Health));
        asked.enough().await
    }
}

impl Drop for FanOut {
    /// Whatever kept a backend from being finished, its log is without what it has not written.
    fn drop(&mut self) {
        for child in &self.children {
            let missing = child.missing();
            if missing > 0 {
                self.members.miss(missing);
                tracing::error!(
                    target: "countersign",
                    backend = child.name,
                    missing,
                    "audit backend is closed before it has all events"
                );
            }
        }
    }
}

impl fmt::Debug for FanOutBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.backends.iter().map(|backend| backend.0).collect();
        f.debug_struct("FanOutBuilder")
            .field("backends", &names)
            .field("need", &self.need)
            .finish_non_exhaustive()
    }
}
