//! The thread that writes: drain, batch, append, answer.

mod closing;
mod desk;
mod flood;

use std::io;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use countersign_core::Clock;
use tokio::runtime::{Builder, Runtime};

use self::desk::Desk;
use crate::gate::Common;
use crate::queue::Shard;
use crate::{AuditBackend, Notice, Record};

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) tick: Duration,
    pub(crate) deadline: Duration,
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) flood: Option<NonZeroU32>,
    pub(crate) clock: Arc<dyn Clock>,
}

pub(crate) fn spawn<B: AuditBackend>(
    backend: B,
    common: &Arc<Common>,
    shards: Box<[Arc<Shard>]>,
    settings: Settings,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let writer = Writer {
        desk: Desk::new(
            Arc::clone(common),
            shards,
            settings,
            backend.next_seq(),
            backend.origin(),
        ),
        backend,
        records: Vec::new(),
        unsettled: false,
    };
    thread::Builder::new()
        .name("countersign-audit".to_owned())
        .spawn(move || writer.live(runtime))?;
    Ok(())
}

struct Writer<B> {
    backend: B,
    /// The batch in hand. It is kept until it is written.
    records: Vec<Record>,
    /// Batches were appended since the backend last settled.
    unsettled: bool,
    desk: Desk,
}

impl<B: AuditBackend> Writer<B> {
    fn live(mut self, runtime: Runtime) {
        let ran = catch_unwind(AssertUnwindSafe(|| runtime.block_on(self.run())));
        if ran.is_err() {
            tracing::error!(
                target: "countersign",
                "the audit writer panicked: every request is refused until the process is restarted"
            );
        }
        // A write that hangs must not keep the process from ending.
        runtime.shutdown_background();
        let Self {
            backend,
            records,
            desk,
            ..
        } = self;
        let closing = desk.end(records.len());
        // The backend lets go of its files before anybody is told that the log is closed.
        drop(backend);
        closing.report();
    }

    async fn run(&mut self) {
        self.take_notices();
        if let Some(recovery) = self.backend.take_recovery() {
            let recovered = Notice::recovered(recovery);
            self.desk.tell(recovered, &mut self.records);
        }
        if self.desk.has_name() {
            self.desk.tell(Notice::started(), &mut self.records);
        }
        if self.wait_for_health().await {
            while self.round().await {}
        }
        if self.records.is_empty() {
            self.close().await;
        }
    }

    /// Drains, writes and rests; false when the log is to end.
    async fn round(&mut self) -> bool {
        self.desk.read_requests();
        self.take_notices();
        let drained = self.desk.collect(&mut self.records);
        self.desk.beat(&mut self.records);
        let wrote = !self.records.is_empty();
        let goes_on = if wrote {
            self.commit().await
        } else {
            self.settle().await
        };
        if !goes_on {
            return false;
        }
        if drained {
            self.desk.answer_flushes();
        }
        if self.desk.is_done() {
            return false;
        }
        if drained {
            self.desk.rest(wrote).await;
        }
        true
    }

    /// Writes the batch in hand, however often it takes; false when the log is to end before.
    async fn commit(&mut self) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            let append = self.backend.append(&self.records);
            match self.desk.watch(append).await {
                Some(Ok(())) => {
                    self.desk.written(&mut self.records);
                    self.unsettled = true;
                    return true;
                }
                Some(Err(error)) => self.desk.failed(&error),
                None => return false,
            }
            if !self.desk.pause(pause).await {
                return false;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Lets the backend settle, however often it takes; false when the log is to end before.
    async fn settle(&mut self) -> bool {
        let mut pause = FIRST_PAUSE;
        while self.unsettled {
            match self.desk.watch(self.backend.settle()).await {
                Some(Ok(())) => {
                    self.desk.recovered();
                    self.unsettled = false;
                    return true;
                }
                Some(Err(error)) => self.desk.failed(&error),
                None => return false,
            }
            if !self.desk.pause(pause).await {
                return false;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        true
    }

    async fn wait_for_health(&mut self) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.desk.watch(self.backend.health()).await {
                Some(Ok(())) => {
                    self.desk.recovered();
                    return true;
                }
                Some(Err(error)) => self.desk.failed(&error),
                None => return false,
            }
            if !self.desk.pause(pause).await {
                return false;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn take_notices(&mut self) {
        for notice in self.backend.take_notices() {
            self.desk.tell(notice, &mut self.records);
        }
    }

    /// Writes what is left, what is lost and that the log ends, in one last write.
    async fn close(&mut self) {
        self.desk.take_last(&mut self.records);
        if self.desk.has_name() {
            self.take_notices();
            self.desk.tell(Notice::stopped(), &mut self.records);
        }
        if !self.records.is_empty() && !self.commit().await {
            return;
        }
        if let Some(Err(error)) = self.desk.watch(self.backend.flush()).await {
            tracing::error!(target: "countersign", error = &error as &dyn std::error::Error, "audit log could not be flushed");
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
