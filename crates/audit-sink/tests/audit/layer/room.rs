//! What happens where the log has no room, or no time left.

use super::*;

#[tokio::test]
async fn no_audit_no_access_and_the_refusals_are_counted() {
    let (sink, _writer, log) = memory_log().await;
    let probe = ReadinessProbe::default();
    let service = layer_over(&AuditLayer::new(sink.clone()), probe.clone());
    log.fail(true);
    let _ = sink.append_durable(lifecycle("a")).await;
    for _ in 0..7 {
        let response = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
    }
    assert_eq!(probe.calls(), 0);
    log.fail(false);
    until("the gate to open", || sink.health().accepting).await;
    service.oneshot(request()).await.unwrap();
    assert_eq!(probe.calls(), 1);
    let lines = lines(&sink, &log).await;
    assert_contiguous(&lines);
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| line["type"].as_str().unwrap())
        .collect();
    let expected = [
        "external_api.token.revoked",
        "external_api.audit.gap",
        "external_api.request.allowed",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(lines[1]["metadata"]["count"], 7);
    assert_eq!(lines[1]["actor"], "system");
}

#[tokio::test]
async fn a_full_queue_refuses_and_places_come_back() {
    let (backend, log) = MemoryBackend::new();
    let (sink, _writer) = AuditSink::builder(backend)
        .capacity(3)
        .shards(2)
        .spawn()
        .unwrap();
    let mut service = layer_over(&AuditLayer::new(sink.clone()), NeverAnswers);
    let mut inside: Vec<_> = (0..3).map(|_| service.call(request())).collect();
    let refused = service.call(request()).await.unwrap();
    assert_eq!(refused.status(), 503);
    inside.pop();
    until("a place", || sink.health().reserved == 2).await;
    inside.push(service.call(request()));
    assert_eq!(service.call(request()).await.unwrap().status(), 503);
    drop(inside);
    let lines = lines(&sink, &log).await;
    assert_contiguous(&lines);
    let count = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
    assert_eq!(count("external_api.request.failed"), 4);
    let gaps = lines
        .iter()
        .filter_map(|line| line["metadata"]["count"].as_u64());
    assert_eq!(gaps.sum::<u64>(), 2);
    assert_eq!(sink.health().lost, 2);
}

#[tokio::test]
async fn shutdown_waits_for_those_inside() {
    let (sink, writer, log) = memory_log().await;
    let mut service = layer_over(&AuditLayer::new(sink.clone()), NeverAnswers);
    let inside = service.call(request());
    let shutdown = tokio::spawn(writer.shutdown(Duration::from_secs(20)));
    until("the gate to close", || !sink.health().accepting).await;
    assert_eq!(service.call(request()).await.unwrap().status(), 503);
    drop(inside);
    let report = shutdown.await.unwrap();
    assert_eq!((report.written, report.lost), (2, 1));
    assert_eq!(log.lines().len(), 2, "the outcome and the gap");
}

#[tokio::test]
async fn shutdown_counts_those_who_stay_inside() {
    let (sink, writer, log) = memory_log().await;
    let mut service = layer_over(&AuditLayer::new(sink.clone()), NeverAnswers);
    let inside = service.call(request());
    let report = writer.shutdown(Duration::from_millis(20)).await;
    assert_eq!((report.written, report.lost), (1, 1));
    assert_eq!(parse(&log.lines())[0]["metadata"]["count"], 1);
    drop(inside);
    assert_eq!(sink.health().reserved, 0);
    assert_eq!(sink.health().lost, 1, "they are counted once");
    assert_eq!(log.lines().len(), 1);
}

/// Whoever was let in, and has perhaps done its work, is told at least as well as who was refused.
#[tokio::test]
async fn the_log_itself_tells_of_those_who_stay_inside() {
    let directory = tempfile::tempdir().unwrap();
    let log = FileLog::open(directory.path()).unwrap();
    let (sink, writer) = AuditSink::builder(log).spawn().unwrap();
    let mut service = layer_over(&AuditLayer::new(sink.clone()), NeverAnswers);
    let inside: Vec<_> = (0..3).map(|_| service.call(request())).collect();
    let report = writer.shutdown(Duration::from_millis(20)).await;
    drop(inside);
    let lines = file_lines(directory.path());
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str()).collect();
    let expected = ["started", "gap", "stopped"].map(|kind| format!("external_api.audit.{kind}"));
    assert!(kinds.iter().flatten().eq(&expected), "{kinds:?}");
    assert_eq!(lines[1]["metadata"]["count"], 3);
    assert_eq!((report.written, report.lost), (3, 3));
}
