//! Events that somebody waits for: how many a second, and beside what the disk gives for the same
//! bytes in the same batches.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use countersign::{AuditBackend, FileLog, Record};
use countersign_audit_sink::Recovery;
use countersign_core::StoreError;

use crate::figures::{Effort, median, tell};
use crate::load;

pub(crate) fn measure(effort: Effort) {
    for in_flight in [16, 256] {
        let rounds: Vec<Round> = (0..effort.rounds)
            .map(|_| Round::run(in_flight, effort.of(60_000)))
            .collect();
        let rate = median(rounds.iter().map(|round| round.rate));
        tell(
            &format!("audit durable, {in_flight} in flight"),
            rate,
            "events/s",
        );
        let ratio = median(rounds.iter().map(|round| round.rate / round.disk));
        tell(
            &format!("audit durable, {in_flight} in flight ÷ the disk"),
            ratio,
            "",
        );
        let batch = median(rounds.iter().map(|round| round.batch));
        tell(
            &format!("audit batch, {in_flight} in flight"),
            batch,
            "events",
        );
    }
}

struct Round {
    /// Durable events a second.
    rate: f64,
    /// The same when the bytes are only written and synced.
    disk: f64,
    /// Events in a batch.
    batch: f64,
}

impl Round {
    fn run(in_flight: usize, events: usize) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("room for a log");
        let log = directory.path().join("log");
        let events = events / in_flight * in_flight;
        let batches = Arc::new(AtomicUsize::new(0));
        let counted = Counted {
            log: FileLog::open(&log).expect("a new log"),
            batches: Arc::clone(&batches),
        };
        let seconds = load::seconds(counted, in_flight, events);
        let batches = batches.load(Ordering::Relaxed);
        let disk = floor(directory.path(), bytes(&log), batches);
        Self {
            rate: events as f64 / seconds,
            disk: events as f64 / disk,
            batch: events as f64 / batches as f64,
        }
    }
}

/// How long it takes to write and sync `bytes` in so many equal parts.
fn floor(directory: &Path, bytes: u64, batches: usize) -> f64 {
    let mut file = File::create_new(directory.join("floor")).expect("a new file");
    let part = vec![b'x'; bytes as usize / batches];
    let started = Instant::now();
    for _ in 0..batches {
        file.write_all(&part).expect("room");
        file.sync_data().expect("a disk");
    }
    started.elapsed().as_secs_f64()
}

fn bytes(log: &Path) -> u64 {
    let segments = fs::read_dir(log.join("segments")).expect("segments");
    segments
        .map(|entry| entry.expect("an entry").metadata().expect("a file").len())
        .sum()
}

/// Counts the batches of a log.
#[derive(Debug)]
struct Counted {
    log: FileLog,
    batches: Arc<AtomicUsize>,
}

#[async_trait]
impl AuditBackend for Counted {
    fn next_seq(&self) -> u64 {
        self.log.next_seq()
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        self.log.take_recovery()
    }

    fn origin(&self) -> Option<Arc<str>> {
        self.log.origin()
    }

    async fn append(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.log.append(batch).await
    }

    async fn settle(&mut self) -> Result<(), StoreError> {
        self.log.settle().await
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        self.log.flush().await
    }

    async fn health(&mut self) -> Result<(), StoreError> {
        self.log.health().await
    }
}
