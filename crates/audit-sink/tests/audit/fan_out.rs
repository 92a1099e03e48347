//! Several backends as one: who must acknowledge, and what becomes of one that does not.

use std::time::Duration;

use countersign_audit_sink::*;

use crate::common::*;
use crate::engine::Panics;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

fn quick(builder: FanOutBuilder) -> (AuditSink, AuditWriter) {
    let builder = builder.deadline(Duration::from_millis(40)).queue(2);
    let log = AuditSink::builder(builder.build().unwrap());
    let log = log.tick(Duration::from_millis(1));
    log.deadline(Duration::from_millis(500)).spawn().unwrap()
}

fn actors(log: &MemoryLog) -> Vec<String> {
    let actor = |line: &serde_json::Value| match line["metadata"]["actor"].as_str() {
        Some(actor) => actor.to_owned(),
        None => format!("gap of {}", line["metadata"]["count"]),
    };
    parse(&log.lines()).iter().map(actor).collect()
}

#[tokio::test]
async fn all_must_and_one_that_hangs_stops_what_enters() {
    let [(a, first), (b, second)] = [MemoryBackend::new(), MemoryBackend::new()];
    let (sink, writer) = quick(FanOut::all_of().required("a", a).required("b", b));
    sink.append_durable(lifecycle("one")).await.unwrap();
    assert_eq!(actors(&first), ["one"]);
    assert_eq!(actors(&second), ["one"]);
    second.hang(true);
    assert!(sink.append_durable(lifecycle("two")).await.is_err());
    assert!(!sink.health().accepting);
    second.hang(false);
    until("the gate to open", || sink.health().accepting).await;
    sink.append_durable(lifecycle("three")).await.unwrap();
    let report = writer.shutdown(LONG).await;
    assert_eq!((report.written, report.lost), (3, 0));
    for log in [first, second] {
        assert_eq!(actors(&log), ["one", "two", "three"], "each once");
        assert_contiguous(&parse(&log.lines()));
    }
}

#[tokio::test]
async fn one_of_two_is_enough_and_the_other_tells_what_it_missed() {
    let [(a, first), (b, second)] = [MemoryBackend::new(), MemoryBackend::new()];
    let (sink, writer) = quick(FanOut::any_of(1).required("a", a).required("b", b));
    second.fail(true);
    for n in 0..10 {
        sink.append_durable(lifecycle(&n.to_string()))
            .await
            .unwrap();
    }
    assert!(sink.health().accepting);
    assert_eq!(actors(&first).len(), 10);
    second.fail(false);
    until("the other to write", || !actors(&second).is_empty()).await;
    let mut sent = 10;
    while actors(&second).last().is_none_or(|actor| actor != "more") {
        sink.append_durable(lifecycle("more")).await.unwrap();
        sent += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let told = actors(&second);
    let held = told.iter().take_while(|actor| !actor.starts_with("gap"));
    let held: Vec<_> = held.cloned().collect();
    assert!(
        (1..=3).contains(&held.len()),
        "what its queue held: {told:?}"
    );
    assert!(
        held.iter()
            .enumerate()
            .all(|(n, actor)| *actor == n.to_string())
    );
    let missed = |actor: &String| actor.strip_prefix("gap of ")?.parse().ok();
    let gaps: Vec<usize> = told.iter().filter_map(missed).collect();
    let events = told.len() - gaps.len();
    assert_eq!(events + gaps.iter().sum::<usize>(), sent, "{told:?}");
    assert_contiguous(&parse(&second.lines()));
    let _ = writer.shutdown(LONG).await;
    assert_eq!(actors(&first).len(), sent);
}

#[tokio::test]
async fn nobody_waits_for_best_effort() {
    let [(a, first), (b, second)] = [MemoryBackend::new(), MemoryBackend::new()];
    let (sink, writer) = quick(FanOut::all_of().required("a", a).best_effort("b", b));
    second.hang(true);
    for n in 0..5 {
        sink.append_durable(lifecycle(&n.to_string()))
            .await
            .unwrap();
    }
    first.fail(true);
    assert!(sink.append_durable(lifecycle("x")).await.is_err());
    first.fail(false);
    until("the gate to open", || sink.health().accepting).await;
    let report = writer.shutdown(SHORT).await;
    assert_eq!((report.written, report.lost), (6, 0));
}

#[tokio::test]
async fn one_that_panics_shows_in_health_and_the_others_go_on() {
    let required = |builder: FanOutBuilder| builder.required("panics", Panics);
    let best_effort = |builder: FanOutBuilder| builder.best_effort("panics", Panics);
    for builder in [required(FanOut::any_of(1)), best_effort(FanOut::all_of())] {
        let (backend, log) = MemoryBackend::new();
        let (sink, writer) = quick(builder.required("a", backend));
        assert_eq!(sink.health().backends_ended, 0);
        for n in 0..9 {
            let appended = sink.append_durable(lifecycle(&n.to_string()));
            appended.await.unwrap();
        }
        until("it to panic", || sink.health().backends_ended == 1).await;
        let report = writer.shutdown(LONG).await;
        assert_eq!((report.written, report.lost), (9, 0));
        assert_eq!(sink.health().backends_missing, 9);
        assert_eq!(actors(&log).len(), 9);
    }
}

#[tokio::test]
async fn where_all_must_one_that_panics_lets_nothing_in() {
    let (backend, _log) = MemoryBackend::new();
    let all = FanOut::all_of().required("a", backend);
    let (sink, writer) = quick(all.required("panics", Panics));
    assert!(sink.append_durable(lifecycle("one")).await.is_err());
    assert!(!sink.health().accepting);
    assert_eq!(sink.health().backends_ended, 1);
    assert_eq!(writer.shutdown(SHORT).await.written, 0);
}

/// A log that is behind when the log is told to end: what its queue held, and a gap for the rest.
async fn ends_behind(slow: impl FnOnce(FanOutBuilder, MemoryBackend) -> FanOutBuilder) {
    let [(a, quick_log), (b, slow_log)] = [MemoryBackend::new(), MemoryBackend::new()];
    let (sink, writer) = quick(slow(FanOut::any_of(1).required("a", a), b));
    slow_log.hang(true);
    for n in 0..10 {
        sink.append_durable(lifecycle(&n.to_string()))
            .await
            .unwrap();
    }
    let closing = tokio::spawn(writer.shutdown(LONG));
    until("the log to end", || sink.health().ended).await;
    slow_log.hang(false);
    let report = closing.await.unwrap();
    assert_eq!((report.written, report.lost), (10, 0));
    assert_eq!(sink.health().backends_missing, 0);
    assert_eq!(actors(&quick_log).len(), 10);
    let told = actors(&slow_log);
    let (gap, held) = told.split_last().unwrap();
    assert_eq!(*gap, format!("gap of {}", 10 - held.len()));
    assert_contiguous(&parse(&slow_log.lines()));
}

#[tokio::test]
async fn an_end_waits_for_those_that_are_behind() {
    ends_behind(|builder, slow| builder.required("slow", slow)).await;
    ends_behind(|builder, slow| builder.best_effort("slow", slow)).await;
}

#[tokio::test]
async fn an_end_counts_what_a_log_that_hangs_is_without() {
    let [(a, _), (b, hanging)] = [MemoryBackend::new(), MemoryBackend::new()];
    let (sink, writer) = quick(FanOut::all_of().required("a", a).best_effort("b", b));
    sink.append_durable(lifecycle("one")).await.unwrap();
    until("both to write", || !actors(&hanging).is_empty()).await;
    hanging.hang(true);
    for _ in 0..7 {
        sink.append_durable(lifecycle("more")).await.unwrap();
    }
    let report = writer.shutdown(SHORT).await;
    assert_eq!((report.written, report.lost), (8, 0));
    assert_eq!(sink.health().backends_missing, 7);
}

#[tokio::test]
async fn each_log_in_files_has_its_own_name_and_number() {
    let temporary = tempfile::tempdir().unwrap();
    let logs = ["a", "b"].map(|name| temporary.path().join(name));
    let open = |index: usize| FileLog::open(&logs[index]).unwrap();
    // The second log is ahead by what it told alone.
    let (_, writer) = AuditSink::builder(open(1)).spawn().unwrap();
    let _ = writer.shutdown(LONG).await;
    let both = FanOut::all_of()
        .required("a", open(0))
        .required("b", open(1));
    let (sink, writer) = AuditSink::builder(both.build().unwrap()).spawn().unwrap();
    sink.append_durable(lifecycle("one")).await.unwrap();
    let report = writer.shutdown(LONG).await;
    assert_eq!(report.lost, 0);
    let [first, second] = logs.map(|log| file_lines(&log));
    assert_eq!((first.len(), second.len()), (3, 5));
    for lines in [&first, &second] {
        assert_contiguous(lines);
        assert!(lines.iter().all(|line| line["log"] == lines[0]["log"]));
    }
    assert_ne!(first[0]["log"], second[0]["log"]);
}

#[test]
fn a_fan_out_that_could_never_acknowledge_is_refused() {
    let backend = || MemoryBackend::new().0;
    assert!(FanOut::all_of().build().is_err());
    assert!(
        FanOut::all_of()
            .best_effort("a", backend())
            .build()
            .is_err()
    );
    assert!(FanOut::any_of(2).required("a", backend()).build().is_err());
    assert!(FanOut::any_of(0).required("a", backend()).build().is_err());
    assert!(FanOut::any_of(1).required("a", backend()).build().is_ok());
}
