//! One of several backends: its queue and its task.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use countersign_core::{Clock, StoreError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use super::Members;
use crate::{AuditBackend, AuditEvent, Notice, Record, Stamp};

/// The fan-out's side of one backend.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: &'static str,
    pub(super) required: bool,
    /// Up to which number of the fan-out records were sent to it, or missed.
    sent: u64,
    jobs: mpsc::Sender<Job>,
    /// Up to which number of the fan-out it has acknowledged, or told what it missed.
    done: watch::Receiver<u64>,
    /// How many records it missed since the last that it was sent.
    missed: u64,
    task: Option<Task>,
}

#[derive(Debug)]
enum Job {
    Append(Append),
    Ask(Ask, oneshot::Sender<bool>),
}

/// A batch, and what of it is for this backend.
#[derive(Debug)]
struct Append {
    batch: Arc<[Record]>,
    /// The first record that it was not sent before.
    from: u64,
    /// How many records it missed just before.
    missed: u64,
}

/// What a backend is asked besides to append.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask {
    Settle,
    Flush,
    Health,
}

impl Child {
    pub(super) fn new(
        name: &'static str,
        required: bool,
        backend: Box<dyn AuditBackend>,
        queue: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (jobs, queued) = mpsc::channel(queue);
        let (told, done) = watch::channel(0);
        Self {
            name,
            required,
            sent: 0,
            jobs,
            done,
            missed: 0,
            task: Some(Task {
                name,
                stamp: backend.origin().map(Stamp::new),
                backend,
                clock,
                queued,
                told,
                failing: false,
            }),
        }
    }

    /// The task that serves the backend, once.
    pub(super) fn start(
        &mut self,
        members: &Arc<Members>,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let members = Arc::clone(members);
        self.task.take().map(|task| task.run(members))
    }

    /// Queues those of `batch` that it was not sent before, if there is room.
    pub(super) fn send(&mut self, batch: &Arc<[Record]>) {
        let Some(end) = batch.last().map(|last| last.seq() + 1) else {
            return;
        };
        if self.sent < end {
            let append = Append {
                batch: Arc::clone(batch),
                from: self.sent,
                missed: self.missed,
            };
            if self.jobs.try_send(Job::Append(append)).is_ok() {
                (self.sent, self.missed) = (end, 0);
            }
        }
    }

    /// Gives up the records before `end` that there was no room for, and counts them.
    pub(super) fn miss(&mut self, end: u64) {
        if self.sent < end {
            self.missed += end - self.sent;
            self.sent = end;
        }
    }

    /// Whether it acknowledges everything before `end`, whenever that is.
    pub(super) fn has(&self, end: u64) -> impl Future<Output = bool> + Send + use<> {
        let mut done = self.done.clone();
        let sent = self.sent >= end;
        async move { sent && done.wait_for(|done| *done >= end).await.is_ok() }
    }

    /// Whether it writes all that it was sent, tells what it missed and flushes, whenever that is.
    pub(super) fn finish(&mut self) -> impl Future<Output = bool> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.clone();
        let gap = (self.missed > 0).then(|| {
            Job::Append(Append {
                batch: Arc::default(),
                from: self.sent,
                missed: std::mem::take(&mut self.missed),
            })
        });
        async move {
            let due = gap.into_iter().chain([Job::Ask(Ask::Flush, reply)]);
            for job in due {
                if jobs.send(job).await.is_err() {
                    return false;
                }
            }
            answer.await.unwrap_or(false)
        }
    }

    /// How many records it neither has nor tells of.
    pub(super) fn missing(&self) -> u64 {
        self.sent.saturating_sub(*self.done.borrow())
    }

    /// Its answer; no when it has no room for the question.
    pub(super) fn ask(&self, ask: Ask) -> impl Future<Output = bool> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.try_send(Job::Ask(ask, reply)).is_ok();
        async move { sent && answer.await.unwrap_or(false) }
    }
}

/// Serves one backend.
#[derive(Debug)]
struct Task {
    name: &'static str,
    backend: Box<dyn AuditBackend>,
    stamp: Option<Stamp>,
    clock: Arc<dyn Clock>,
    queued: mpsc::Receiver<Job>,
    told: watch::Sender<u64>,
    failing: bool,
}

impl Task {
    /// Serves until there is nobody to serve. What a backend that panicked holds is anybody's guess, so
    /// it gets nothing more.
    async fn run(self, members: Arc<Members>) {
        let name = self.name;
        let mut serving = pin!(self.serve());
        let served = poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(cx)));
            polled.map_or(Poll::Ready(Err(())), |poll| poll.map(Ok))
        });
        if served.await.is_err() {
            members.end_one();
            tracing::error!(
                target: "countersign",
                backend = name,
                "audit backend panicked: it gets no event until the process is restarted"
            );
        }
    }

    async fn serve(mut self) {
        while let Some(job) = self.queued.recv().await {
            match job {
                Job::Append(append) => self.append(&append).await,
                Job::Ask(ask, reply) => {
                    let result = match ask {
                        Ask::Settle => self.backend.settle().await,
                        Ask::Flush => self.backend.flush().await,
                        Ask::Health => self.backend.health().await,
                    };
                    self.note(&result);
                    // Whoever asked may have stopped waiting.
                    let _ = reply.send(result.is_ok());
                }
            }
        }
    }

    /// Appends what is for this backend, however often it takes.
    async fn append(&mut self, append: &Append) {
        let batch = &append.batch;
        let mut records = Vec::with_capacity(batch.len());
        let mut next = self.backend.next_seq();
        let mut add = |event: AuditEvent, stamp: &Option<Stamp>| {
            records.push(match stamp {
                Some(stamp) => Record::stamped(next, event, stamp),
                None => Record::new(next, event),
            });
            next += 1;
        };
        for notice in self.own_notices(append.missed) {
            let now = self.clock.now();
            let mut event = AuditEvent::notice(notice, now.wall);
            event.read_at(now.monotonic);
            add(event, &self.stamp);
        }
        for record in batch.iter().filter(|record| record.seq() >= append.from) {
            add(record.event().clone(), &self.stamp);
        }
        let mut pause = FIRST_PAUSE;
        loop {
            let result = self.backend.append(&records).await;
            self.note(&result);
            if result.is_ok() {
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let end = batch.last().map_or(append.from, |last| last.seq() + 1);
        self.told.send_replace(end);
    }

    fn own_notices(&mut self, missed: u64) -> Vec<Notice> {
        let recovery = self.backend.take_recovery();
        let mut notices: Vec<_> = recovery.map(Notice::recovered).into_iter().collect();
        notices.append(&mut self.backend.take_notices());
        notices.extend((missed > 0).then(|| Notice::gap(missed)));
        notices
    }

    /// One log line when it begins to fail and one when it no longer does.
    fn note(&mut self, result: &Result<(), StoreError>) {
        match result {
            Ok(()) if self.failing => {
                tracing::info!(target: "countersign", backend = self.name, "audit backend is writing again");
            }
            Err(error) if !self.failing => {
                tracing::error!(
                    target: "countersign",
                    backend = self.name,
                    error = error as &dyn std::error::Error,
                    "audit backend fails"
                );
            }
            _ => {}
        }
        self.failing = result.is_err();
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
