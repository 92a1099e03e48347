//! Copies of a log that is written, or that nobody signs any more.

use countersign_audit_sink::LogVerifier;
use countersign_postgres::audit::copy_log;

use super::*;

/// Nobody signs a copy any further: lines behind its checkpoint would be unsigned for too long one day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_copy_of_a_log_that_is_written_ends_at_a_checkpoint_and_has_all_that_was_there() {
    let place = Place::new().await;
    let log = place
        .options()
        .checkpoint_interval(Duration::from_millis(300));
    let (sink, writer) = AuditSink::builder(log.open().await.unwrap())
        .spawn()
        .unwrap();
    let busy =
        tokio::spawn(async move { while sink.append_durable(event("ada")).await.is_ok() {} });
    soon("a checkpoint", async || place.signed().await > 0).await;
    for _ in 0..3 {
        let copies = tempfile::tempdir().unwrap();
        let there = place.number("max(seq) + 1").await;
        let copied = copy_log(place.owner(), copies.path()).await.unwrap();
        let report = LogVerifier::new(copies.path()).verify().unwrap();
        assert_eq!((report.finding, report.events), (Finding::Ok, copied));
        assert!(copied >= there, "{copied} of {there}");
    }
    busy.abort();
    let _ = busy.await;
    assert_eq!(writer.shutdown(LONG).await.lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_copy_of_a_log_whose_newest_checkpoints_were_taken_away_has_all_of_its_lines() {
    let place = Place::new().await;
    let mut log = place.open().await;
    for (from, to) in [(0, 9), (9, 12)] {
        log.append(&records(from, to)).await.unwrap();
        soon("a checkpoint", async || place.signed().await == to).await;
    }
    drop(log);
    let schema = place.schema();
    sql(&format!(
        "ALTER TABLE {schema}.checkpoints DISABLE TRIGGER ALL;
         DELETE FROM {schema}.checkpoints WHERE size > 9"
    ))
    .await;
    assert_eq!(place.verify().await, Finding::UnsignedTail(3));
}
