//! How long a process waits for its log when it starts again, and an auditor for the answer.

use std::time::{Duration, Instant};

use countersign::{AuditSink, FileLog, LogVerifier};

use crate::events::event;
use crate::figures::{Effort, median, tell};

pub(crate) fn measure(effort: Effort) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("room for a log");
    let log = directory.path().join("log");
    let events = effort.of(1_000_000);
    let (written, seconds) = fill(&log, events);
    tell(
        "audit writer alone, queue to disk",
        written / seconds,
        "events/s",
    );
    let open = || {
        let started = Instant::now();
        let opened = FileLog::open(&log).expect("a whole log");
        let seconds = started.elapsed().as_secs_f64();
        drop(opened);
        // Of a million, however many there are.
        seconds * 1_000_000.0 / events as f64
    };
    let seconds = median((0..effort.rounds).map(|_| open()));
    tell("audit restart with 1 M events", seconds, "s");
    let verify = || {
        let started = Instant::now();
        let report = LogVerifier::new(&log).verify().expect("a log");
        let seconds = started.elapsed().as_secs_f64();
        assert!(report.finding.is_ok(), "{}", report.finding);
        seconds * 1_000_000.0 / report.events as f64
    };
    let seconds = median((0..effort.rounds.min(3)).map(|_| verify()));
    tell("verifying 1 M audit records", seconds, "s");
}

fn fill(log: &std::path::Path, events: usize) -> (f64, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let log = FileLog::open(log).expect("a new log");
    let (sink, writer) = AuditSink::builder(log).spawn().expect("a writer");
    runtime.block_on(async {
        let started = Instant::now();
        let mut sent = 0;
        while sent < events {
            let waiting: Vec<_> = (0..4096).map(|_| sink.append_durable(event())).collect();
            sent += waiting.len();
            for durable in waiting {
                durable.await.expect("durable");
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let _ = writer.shutdown(Duration::from_secs(10)).await;
        (sent as f64, seconds)
    })
}
