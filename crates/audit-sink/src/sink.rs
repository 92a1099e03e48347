//! The handle that layers and services hold, and how a log is started and ended.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use countersign_core::{Clock, ConfigError, EventId, StoreError, StoreErrorKind, SystemClock};
use tokio::sync::oneshot;

use crate::gate::Common;
use crate::queue::{Permit, Shard};
use crate::writer::{self, Settings};
use crate::{AuditBackend, AuditEvent, EventHistory, Members, Notice};

/// A handle to a running audit log; a clone is another handle to the same log.
///
/// Events go into a bounded queue, and a thread of its own writes them to the backend in batches.
/// An event that nobody waits for is written within one tick (3 ms unless set otherwise) and the
/// time of one write: that is what a crash can take away. An event that somebody waits for is on
/// disk when the waiting ends well.
///
/// The log takes what enters or refuses it, and never drops what it took. Each request that enters
/// holds a place for its outcome. With no place left, or with a backend that fails or hangs, no
/// request enters until a batch was written again; what was refused meanwhile is counted and told
/// by one `external_api.audit.gap` event.
#[derive(Clone)]
pub struct AuditSink(Arc<Inner>);

struct Inner {
    common: Arc<Common>,
    shards: Box<[Arc<Shard>]>,
    history: Option<Arc<dyn EventHistory>>,
    members: Option<Arc<Members>>,
    clock: Arc<dyn Clock>,
}

impl AuditSink {
    /// Begins a log over `backend`.
    pub fn builder<B: AuditBackend>(backend: B) -> AuditSinkBuilder<B> {
        AuditSinkBuilder {
            backend,
            capacity: 32_768,
            shards: None,
            settings: Settings {
                tick: Duration::from_millis(3),
                deadline: Duration::from_secs(2),
                heartbeat: Some(Duration::from_secs(60)),
                flood: NonZeroU32::new(100),
                clock: Arc::new(SystemClock),
            },
        }
    }

    /// Writes `event` and resolves once it is on disk, with everything that was queued at that
    /// time in one write. The event is queued at once, even if the answer is never awaited.
    ///
    /// It waits for the write under way and for its own, each no longer than the deadline of the
    /// log.
    ///
    /// # Errors
    /// `Unavailable` when there is no place, the backend fails, or a write passes its deadline.
    /// The event may still be written later: deliver it again with the same id, and the reader of
    /// the log can tell that it is the same.
    pub fn append_durable(&self, event: AuditEvent) -> Durable {
        if !self.0.common.is_writing() {
            return Durable(None);
        }
        let permit = Shard::reserve(&self.0.shards);
        Durable(permit.map(|permit| permit.send_durable(event)))
    }

    /// Records that `actor` reads or exports the log for `purpose`, as `external_api.audit.read`.
    /// Do so before reading: a read that can't be recorded should not take place. A tool in
    /// another process leaves word with [`record_read`](crate::record_read) instead.
    ///
    /// # Errors
    /// As [`AuditSink::append_durable`].
    pub fn record_read(&self, actor: &str, purpose: &str) -> Durable {
        let now = self.0.clock.now().wall;
        self.append_durable(AuditEvent::notice(Notice::read(actor, purpose), now))
    }

    /// Queues `event` without waiting for it: it is written with the next batch. False where the
    /// log can't take it; it is then counted as lost, and an `external_api.audit.gap` event tells.
    pub fn append(&self, event: AuditEvent) -> bool {
        let permit = self.reserve();
        permit.map(|permit| permit.send(event)).is_some()
    }

    /// Resolves once everything that was queued before is on disk.
    ///
    /// # Errors
    /// `Unavailable` when the backend fails or hangs; what was queued is kept and tried again.
    pub fn flush(&self) -> Durable {
        let common = &self.0.common;
        let mut requests = common.lock_requests();
        if requests.report.is_some() {
            return Durable(None);
        }
        let (waiter, answer) = oneshot::channel();
        requests.flushes.push(waiter);
        drop(requests);
        common.call();
        Durable(Some(answer))
    }

    /// Those of `ids` that are in the log, whichever process wrote them; `None` where its backend
    /// can't be read back. What is queued is not looked at: [`flush`](Self::flush) first.
    ///
    /// Reads the newest segments on tokio's threads for blocking work, so it must be awaited within
    /// a tokio runtime.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn find_written(
        &self,
        ids: HashSet<EventId>,
    ) -> Result<Option<HashSet<EventId>>, StoreError> {
        let Some(history) = self.0.history.clone() else {
            return Ok(None);
        };
        let finding = tokio::task::spawn_blocking(move || history.find(&ids));
        let found = finding.await.map_err(|_| unavailable())?;
        found.map(Some)
    }

    /// How the log is doing.
    #[must_use]
    pub fn health(&self) -> AuditHealth {
        let common = &self.0.common;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let members = self.0.members.as_deref();
        AuditHealth {
            accepting: common.is_open(),
            backend_failing: common.is_failing(),
            ended: common.is_ended(),
            reserved: self.0.shards.iter().map(|shard| shard.reserved()).sum(),
            written: count(&common.counters.written),
            lost: count(&common.counters.lost),
            failures: count(&common.counters.failures),
            backends_ended: members.map_or(0, Members::ended),
            backends_missing: members.map_or(0, Members::missing),
        }
    }

    /// A place for the event of a request that wants to enter. A request that gets none is counted
    /// as a lost event.
    pub(crate) fn reserve(&self) -> Option<Permit> {
        // The gate is looked at after the place is taken: a writer that ends has then either seen
        // the place, and waits for its event, or the gate is seen to be closed here.
        let permit = Shard::reserve(&self.0.shards).filter(|_| self.0.common.is_open());
        if permit.is_none() {
            self.0.common.count_lost(1);
        }
        permit
    }
}

impl fmt::Debug for AuditSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuditSink").field(&self.health()).finish()
    }
}

impl Drop for Inner {
    /// With the last handle gone no event can come but those of requests that are inside.
    fn drop(&mut self) {
        self.common.set_stopping();
    }
}

/// Puts an audit log together.
#[derive(Debug)]
#[must_use]
pub struct AuditSinkBuilder<B> {
    backend: B,
    capacity: usize,
    shards: Option<usize>,
    settings: Settings,
}

impl<B: AuditBackend> AuditSinkBuilder<B> {
    /// How many events the queue has places for, those of requests under way included; 32 768
    /// unless set otherwise. A place takes its memory, about 400 bytes, only where it is used.
    pub const fn capacity(mut self, events: usize) -> Self {
        self.capacity = events;
        self
    }

    /// Into how many parts the queue is split: one for each thread that serves requests, so that
    /// threads don't slow each other down. The number of cores, at most 16, unless set otherwise.
    pub const fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// How long an event that nobody waits for may lie in the queue: with the time of one write,
    /// what a crash can take away. 3 ms unless set otherwise.
    pub const fn tick(mut self, tick: Duration) -> Self {
        self.settings.tick = tick;
        self
    }

    /// How long a write may take before it counts as failed; 2 s unless set otherwise.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// After what time without an event the log says that it is alive, so that a silent stop shows;
    /// one minute unless set otherwise, `None` for never. Only a log that has a name does: see
    /// [`AuditBackend::origin`].
    pub const fn heartbeat(mut self, pause: Option<Duration>) -> Self {
        self.settings.heartbeat = pause;
        self
    }

    /// How many refusals of unauthenticated requests are told one by one, for each source and
    /// second; 100 unless set otherwise, `None` for all. Those beyond are told together at the end
    /// of the second: of each source one event for each reason, key prefix, method and route, 16 at
    /// most, and one for each reason of all further ones. `metadata.coalesced` says how many it
    /// stands for; it holds what is true of each of them, no request id, trace id and latency, and
    /// the time of the first. Nothing else is ever told together. A source is an address, or a /64
    /// of IPv6.
    pub const fn flood_limit(mut self, refusals: Option<NonZeroU32>) -> Self {
        self.settings.flood = refusals;
        self
    }

    /// Dates the log's own events by `clock`.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Starts the thread that writes. Dropping the [`AuditWriter`] leaves the thread running until
    /// the last [`AuditSink`] is gone and everything is written.
    ///
    /// # Errors
    /// When the capacity, the number of shards, the tick, the deadline or the heartbeat is zero, or the system
    /// gives no thread.
    pub fn spawn(self) -> Result<(AuditSink, AuditWriter), ConfigError> {
        let times = [
            Some(self.settings.tick),
            Some(self.settings.deadline),
            self.settings.heartbeat,
        ];
        let zero = times.into_iter().flatten().any(|time| time.is_zero());
        if zero || self.capacity == 0 || self.shards == Some(0) {
            let problem = "capacity, shards, tick, deadline and heartbeat are above zero";
            return Err(ConfigError::new("audit log", problem));
        }
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let count = self.shards.unwrap_or_else(|| cores().min(16));
        let common = Arc::new(Common::default());
        let shards = Shard::split(self.capacity, count, &common);
        let writer = AuditWriter(Arc::clone(&common));
        let history = self.backend.history();
        let members = self.backend.members();
        let clock = Arc::clone(&self.settings.clock);
        writer::spawn(self.backend, &common, shards.clone(), self.settings)
            .map_err(|error| ConfigError::new("audit log", error.to_string()))?;
        let inner = Inner {
            common,
            shards,
            history,
            members,
            clock,
        };
        Ok((AuditSink(Arc::new(inner)), writer))
    }
}

/// The thread that writes the log.
#[derive(Debug)]
#[must_use = "shut the writer down before the process ends, or the last events are lost"]
pub struct AuditWriter(Arc<Common>);

impl AuditWriter {
    /// Ends the log: lets no new request in, waits for those inside, writes what is queued and
    /// closes the backend. Durable events are still taken while requests are inside. Of a gRPC call that
    /// is inside no further message reaches its handler: its request breaks off as `audit_unavailable`,
    /// so that it ends and has its event. One that sends nothing is waited for.
    ///
    /// What is not done after `deadline` is lost: an `external_api.audit.gap` event before the last
    /// one tells how many events that are, those of requests that are still inside among them, and
    /// the report does too. The write under way at the deadline, and the one with these last events,
    /// have one second more in all. A log that can't be written even then has no
    /// `external_api.audit.stopped` at its end.
    pub async fn shutdown(self, deadline: Duration) -> ShutdownReport {
        let (reply, answer) = oneshot::channel();
        {
            let mut requests = self.0.lock_requests();
            if let Some(report) = requests.report {
                return report;
            }
            requests.shutdown = Some(ShutdownRequest { deadline, reply });
        }
        self.0.set_closing();
        // The writer answers on every road that it can end by; were it gone without an answer,
        // nothing is known to be written.
        answer.await.unwrap_or(ShutdownReport {
            written: 0,
            lost: u64::MAX,
        })
    }
}

#[derive(Debug)]
pub(crate) struct ShutdownRequest {
    pub(crate) deadline: Duration,
    pub(crate) reply: oneshot::Sender<ShutdownReport>,
}

/// What became of the events of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Events that are on disk.
    pub written: u64,
    /// Events that are not: requests that were refused because the log could not take them, what
    /// was still queued at the deadline, and requests that were still inside.
    pub lost: u64,
}

/// How an audit log is doing; for readiness probes and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditHealth {
    /// Requests may enter.
    pub accepting: bool,
    /// The backend fails or hangs; what was taken is tried again.
    pub backend_failing: bool,
    /// The writer was shut down, and at most makes its last write, or panicked. It never comes back.
    pub ended: bool,
    /// Places that are taken: requests under way and events in the queue.
    pub reserved: usize,
    /// Events on disk since the start.
    pub written: u64,
    /// Requests refused because the log could not take their event, since the start.
    pub lost: u64,
    /// Writes that failed since the start.
    pub failures: u64,
    /// Backends of a [`FanOut`](crate::FanOut) that panicked, and get no event until the process is
    /// restarted.
    pub backends_ended: u32,
    /// Events that single logs of a [`FanOut`](crate::FanOut) are without and tell of by no gap, known once
    /// the log is shut down.
    pub backends_missing: u64,
}

/// Resolves once an event is on disk, or is known not to be; see [`AuditSink::append_durable`].
#[derive(Debug)]
#[must_use = "an event is durable only once this resolved to `Ok`"]
pub struct Durable(Option<oneshot::Receiver<Result<(), StoreError>>>);

impl Durable {
    /// Whether the log took the event; ask before this is awaited. It is then written sooner or
    /// later, also where this resolves to an error, unless the process ends before. One that was
    /// not taken never is.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        self.0.is_some()
    }
}

impl Future for Durable {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answer) = &mut self.0 else {
            return Poll::Ready(Err(unavailable()));
        };
        // A writer that went away without an answer has not written the event.
        let answered = ready!(Pin::new(answer).poll(cx)).unwrap_or_else(|_| Err(unavailable()));
        self.0 = None;
        Poll::Ready(answered)
    }
}

pub(crate) const fn unavailable() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable)
}
