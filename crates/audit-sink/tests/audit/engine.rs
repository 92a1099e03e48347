//! The queue and its writer: what is taken is written, what is refused is counted.

use std::time::Duration;

use crate::common::*;
use async_trait::async_trait;
use countersign_audit_sink::*;
use countersign_core::testing::ReadinessProbe;
use countersign_core::{ManualClock, StoreError, StoreErrorKind};
use tempfile::TempDir;
use tower::{Layer, ServiceExt};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_durable_event_is_in_the_log_when_it_resolves() {
    let (sink, _writer, log) = memory_log().await;
    for n in 0..20 {
        sink.append_durable(lifecycle("alice")).await.unwrap();
        assert_eq!(log.lines().len(), n + 1);
    }
    assert_contiguous(&parse(&log.lines()));
    assert_eq!(sink.health().written, 20);
    assert_eq!(sink.health().reserved, 0);
}

#[tokio::test]
async fn a_lifecycle_event_keeps_its_id_and_time() {
    let (sink, _writer, log) = memory_log().await;
    let event = lifecycle_event("alice@example.com");
    sink.append_durable(event.clone().into()).await.unwrap();
    let lines = lines(&sink, &log).await;
    let line = &lines[0];
    assert_eq!(line["id"], event.id.to_string());
    assert_eq!(line["time"], event.time.to_string());
    assert_eq!(line["type"], "external_api.token.revoked");
    assert_eq!(line["decision"], "lifecycle_changed");
    assert_eq!(line["reason"], "suspected_leakage");
    assert_eq!(line["actor"], "operator");
    assert_eq!(line["owner_company"], "company_12");
    assert_eq!(line["metadata"]["actor"], "alice@example.com");
    assert_eq!(line.get("error"), None);
}

#[tokio::test]
async fn a_lifecycle_event_tells_scopes_as_far_as_a_line_holds_them() {
    let (sink, _writer, log) = memory_log().await;
    let mut event = lifecycle_event("alice");
    event.scopes = ["accounts:read", "payments:create"]
        .map(str::to_owned)
        .into();
    event.ends_at = Some(event.time.saturating_add(LONG));
    sink.append_durable(event.clone().into()).await.unwrap();
    let many = (0..16_384).map(|n| format!("{}:{n:x<40}", "r".repeat(48)));
    event.scopes = many.map(|name| name.replacen(':', ":a", 1)).collect();
    sink.append_durable(event.clone().into()).await.unwrap();
    let lines = lines(&sink, &log).await;
    let metadata = |line: usize| &lines[line]["metadata"];
    assert_eq!(metadata(0)["scopes"], "accounts:read,payments:create");
    assert_eq!(metadata(0)["ends_at"], "2026-01-01T00:00:20.000000Z");
    assert_eq!(metadata(0).get("scopes_left_out"), None);
    let told: Vec<_> = metadata(1)["scopes"].as_str().unwrap().split(',').collect();
    let left_out = metadata(1)["scopes_left_out"].as_u64().unwrap() as usize;
    assert_eq!(told.len() + left_out, event.scopes.len());
    assert_eq!(told, event.scopes[..told.len()]);
    assert!(
        log.lines()
            .iter()
            .all(|line| line.len() <= Record::MAX_LINE)
    );
}

#[tokio::test]
async fn everything_queued_goes_into_one_write() {
    let (sink, _writer, log) = memory_log().await;
    log.hang(true);
    let more: Vec<_> = (0..50)
        .map(|_| sink.append_durable(lifecycle("b")))
        .collect();
    log.hang(false);
    for durable in more {
        durable.await.unwrap();
    }
    assert_eq!(log.lines().len(), 50);
    assert!(
        log.writes() <= 2,
        "{} writes for what one could do",
        log.writes()
    );
}

#[tokio::test]
async fn what_is_more_than_one_write_takes_comes_with_the_next_in_its_order() {
    let (backend, log) = MemoryBackend::new();
    let builder = AuditSink::builder(backend).deadline(LONG).shards(1);
    let (sink, _writer) = builder.spawn().unwrap();
    sink.flush().await.unwrap();
    log.hang(true);
    for number in 0..20_000 {
        assert!(sink.append(lifecycle(&number.to_string())));
    }
    log.hang(false);
    let lines = lines(&sink, &log).await;
    assert_contiguous(&lines);
    let actors = lines.iter().map(|line| line["metadata"]["actor"].clone());
    assert!(actors.eq((0..20_000).map(|number| number.to_string())));
    assert_eq!(sink.health().reserved, 0);
}

#[tokio::test]
async fn a_failing_backend_closes_the_gate_and_loses_nothing_it_took() {
    let (sink, _writer, log) = memory_log().await;
    sink.append_durable(lifecycle("before")).await.unwrap();
    log.fail(true);
    let failed = sink.append_durable(lifecycle("taken")).await;
    assert_eq!(failed.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let health = sink.health();
    assert!(!health.accepting && health.backend_failing);
    assert!(sink.append_durable(lifecycle("refused")).await.is_err());
    log.fail(false);
    until("the gate to open", || sink.health().accepting).await;
    sink.append_durable(lifecycle("after")).await.unwrap();
    let lines = lines(&sink, &log).await;
    assert_contiguous(&lines);
    let actors: Vec<_> = lines
        .iter()
        .map(|line| &line["metadata"]["actor"])
        .collect();
    assert_eq!(actors, ["before", "taken", "after"]);
}

#[tokio::test]
async fn a_hang_is_a_failure_until_it_ends() {
    let (sink, _writer, log) = memory_log().await;
    log.hang(true);
    let waiting = [
        sink.append_durable(lifecycle("a")),
        sink.append_durable(lifecycle("b")),
    ];
    for durable in waiting {
        assert!(durable.await.is_err(), "the deadline is over");
    }
    assert!(!sink.health().accepting);
    assert!(
        sink.flush().await.is_err(),
        "who asks meanwhile is told at once"
    );
    log.hang(false);
    until("the gate to open", || sink.health().accepting).await;
    let lines = lines(&sink, &log).await;
    assert_eq!(lines.len(), 2, "what was taken is written, once");
    assert_contiguous(&lines);
}

#[tokio::test]
async fn a_backend_that_is_down_at_the_start_lets_nobody_in() {
    let (backend, log) = MemoryBackend::new();
    log.fail(true);
    let (sink, _writer) = AuditSink::builder(backend).spawn().unwrap();
    until("the gate to close", || !sink.health().accepting).await;
    log.fail(false);
    until("the gate to open", || sink.health().accepting).await;
}

#[tokio::test]
async fn shutdown_writes_what_is_queued_and_closes_the_log() {
    let temporary = TempDir::new().unwrap();
    let directory = temporary.path().join("log");
    for round in 1..=2 {
        let backend = FileLog::open(&directory).unwrap();
        let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
        let pending: Vec<_> = (0..100)
            .map(|_| sink.append_durable(lifecycle("a")))
            .collect();
        let report = writer.shutdown(LONG).await;
        // Start and stop are events as well.
        assert_eq!((report.written, report.lost), (102, 0), "round {round}");
        for durable in pending {
            durable.await.unwrap();
        }
        assert!(sink.append_durable(lifecycle("late")).await.is_err());
        assert!(sink.flush().await.is_err());
        assert!(sink.health().ended);
    }
    let lines = file_lines(&directory);
    assert_contiguous(&lines);
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str()).collect();
    assert_eq!(kinds.len(), 204);
    for round in kinds.chunks(102) {
        assert_eq!(round[0], Some("external_api.audit.started"));
        assert_eq!(round[101], Some("external_api.audit.stopped"));
    }
    assert_ne!(
        lines[0]["boot"], lines[102]["boot"],
        "each run has its own name"
    );
    assert_eq!(lines[0]["boot"], lines[101]["boot"]);
}

#[tokio::test]
async fn shutdown_tells_of_refusals_that_it_has_just_counted() {
    let (sink, writer, log) = memory_log().await;
    log.fail(true);
    assert!(sink.append_durable(lifecycle("a")).await.is_err());
    let layer = AuditLayer::new(sink.clone());
    let service = layer.layer(ReadinessProbe::default());
    let response = service.oneshot(request()).await.unwrap();
    assert_eq!(response.status(), 503);
    log.fail(false);
    let report = writer.shutdown(LONG).await;
    assert_eq!((report.written, report.lost), (2, 1));
    assert_eq!(parse(&log.lines())[1]["metadata"]["count"], 1);
}

#[tokio::test]
async fn shutdown_gives_up_at_its_deadline_and_says_what_is_left() {
    let (sink, writer, log) = memory_log().await;
    log.hang(true);
    let pending: Vec<_> = (0..5)
        .map(|_| sink.append_durable(lifecycle("a")))
        .collect();
    let report = writer.shutdown(Duration::from_millis(20)).await;
    assert_eq!((report.written, report.lost), (0, 5));
    for durable in pending {
        assert!(durable.await.is_err());
    }
}

#[tokio::test]
async fn shutdown_gives_up_at_its_deadline_however_long_a_write_may_take() {
    let (backend, log) = MemoryBackend::new();
    let builder = AuditSink::builder(backend).deadline(2 * LONG);
    let (sink, writer) = builder.spawn().unwrap();
    sink.flush().await.unwrap();
    log.hang(true);
    let durable = sink.append_durable(lifecycle("a"));
    let ended = tokio::time::timeout(LONG, writer.shutdown(Duration::from_millis(20)));
    let report = ended.await.expect("the write is not waited for");
    assert_eq!((report.written, report.lost), (0, 1));
    assert!(durable.await.is_err());
}

#[tokio::test]
async fn the_thread_ends_with_its_last_handle() {
    let temporary = TempDir::new().unwrap();
    let directory = temporary.path().join("log");
    let backend = FileLog::open(&directory).unwrap();
    let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
    let durable = sink.append_durable(lifecycle("a"));
    drop((sink, writer));
    durable.await.unwrap();
    // The lock is free once the thread has let go of its files.
    until("the lock", || FileLog::open(&directory).is_ok()).await;
}

#[tokio::test]
async fn a_panic_in_the_writer_closes_the_gate_for_good() {
    let (sink, writer) = AuditSink::builder(Panics).spawn().unwrap();
    let durable = sink.append_durable(lifecycle("a"));
    assert!(durable.await.is_err());
    until("the end", || sink.health().ended).await;
    assert!(!sink.health().accepting);
    assert!(sink.append_durable(lifecycle("b")).await.is_err());
    assert!(sink.flush().await.is_err());
    let report = writer.shutdown(LONG).await;
    assert_eq!((report.written, report.lost), (0, 1));
}

#[tokio::test]
async fn what_was_set_aside_is_told_before_the_start() {
    let temporary = TempDir::new().unwrap();
    let directory = temporary.path().join("log");
    drop(FileLog::open(&directory).unwrap());
    let torn = directory.join("segments/00000000000000000000.jsonl");
    std::fs::write(&torn, "{\"seq\":0,").unwrap();
    let backend = FileLog::open(&directory).unwrap();
    let (sink, _writer) = AuditSink::builder(backend).spawn().unwrap();
    sink.flush().await.unwrap();
    let lines = file_lines(&directory);
    assert_eq!(lines[0]["type"], "external_api.audit.recovered");
    assert_eq!(lines[0]["metadata"]["bytes"], 9);
    assert_eq!(lines[0]["metadata"]["lines"], 0);
    assert_eq!(lines[0]["actor"], "system");
    assert_eq!(lines[0].get("decision"), None);
    assert_eq!(lines[1]["type"], "external_api.audit.started");
}

#[tokio::test]
async fn a_log_with_nothing_to_tell_says_that_it_is_alive() {
    let temporary = TempDir::new().unwrap();
    let directory = temporary.path().join("log");
    let clock = ManualClock::default();
    let backend = FileLog::options(&directory).clock(clock.clone());
    let builder = AuditSink::builder(backend.open().unwrap()).clock(clock.clone());
    let minute = Some(Duration::from_secs(60));
    let (sink, _writer) = builder.heartbeat(minute).spawn().unwrap();
    for beats in 0..3 {
        for _ in 0..2 {
            sink.flush().await.unwrap();
            // What a flush has written is known by its number; a beat comes after it.
            sink.flush().await.unwrap();
            let lines = file_lines(&directory);
            let alive = lines
                .iter()
                .filter(|line| line["type"] == "external_api.audit.heartbeat");
            assert_eq!(alive.count(), beats);
        }
        clock.advance(Duration::from_secs(61));
    }
}

#[tokio::test]
async fn a_read_of_the_log_is_an_event_of_it() {
    let temporary = TempDir::new().unwrap();
    let directory = temporary.path().join("log");
    assert!(record_read(&directory, "ada", "export").is_err(), "no log");
    drop(FileLog::open(&directory).unwrap());
    record_read(&directory, "ada", "export").unwrap();
    let reads = || -> Vec<_> {
        let mut lines = file_lines(&directory);
        lines.retain(|line| line["type"] == "external_api.audit.read");
        lines
            .iter()
            .map(|line| line["metadata"]["actor"].as_str().unwrap().to_owned())
            .collect()
    };
    let words = || std::fs::read_dir(directory.join("reads")).unwrap().count();
    let backend = FileLog::open(&directory).unwrap();
    let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
    until("word to be taken up", || words() == 0).await;
    assert_eq!(reads(), ["ada"]);
    record_read(&directory, "bob", "verify").unwrap();
    std::fs::write(directory.join("reads/broken.json"), "{").unwrap();
    sink.record_read("eve", "query").await.unwrap();
    until("word to be taken up", || words() == 0).await;
    let mut all = reads();
    all.sort();
    assert_eq!(all, ["ada", "bob", "eve", "unknown"]);
    let _ = writer.shutdown(LONG).await;
    assert_eq!(reads().len(), 4, "each once");
}

#[tokio::test]
async fn a_channel_hands_events_over() {
    let (backend, mut events) = ChannelBackend::new();
    let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
    sink.append_durable(lifecycle("a")).await.unwrap();
    assert!(events.try_recv().unwrap().id().is_some());
    drop(sink);
    writer.shutdown(LONG).await;
    assert_eq!(events.recv().await, None);
}

#[tokio::test]
async fn a_channel_without_a_receiver_fails() {
    let (backend, events) = ChannelBackend::new();
    drop(events);
    let (sink, _writer) = AuditSink::builder(backend).spawn().unwrap();
    assert!(sink.append_durable(lifecycle("a")).await.is_err());
    assert!(!sink.health().accepting);
}

#[test]
fn bad_settings_are_found_at_the_start() {
    let builder = || AuditSink::builder(MemoryBackend::new().0);
    assert!(builder().capacity(0).spawn().is_err());
    assert!(builder().shards(0).spawn().is_err());
    assert!(builder().tick(Duration::ZERO).spawn().is_err());
    assert!(builder().deadline(Duration::ZERO).spawn().is_err());
    assert!(builder().heartbeat(Some(Duration::ZERO)).spawn().is_err());
}

/// Panics at its first event.
#[derive(Debug)]
pub(crate) struct Panics;

#[async_trait]
impl AuditBackend for Panics {
    fn next_seq(&self) -> u64 {
        0
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        None
    }

    async fn append(&mut self, _: &[Record]) -> Result<(), StoreError> {
        panic!("a fault of the backend")
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn health(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn a_place_that_holds_no_log_is_named_and_so_is_what_was_to_be_there() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("audit");
    std::fs::write(&file, "").unwrap();
    let error = FileLog::open(&file).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), format!("audit log {}", file.display()));
    assert!(source.source().is_some(), "the system's own error");
}
