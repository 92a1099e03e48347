//! A log that somebody changed past its triggers.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn what_a_superuser_changes_is_found() {
    let truncated = |events| Finding::Truncated {
        checkpoint: 9,
        events,
    };
    let swap =
        "UPDATE events SET seq = CASE seq WHEN 3 THEN 1004 ELSE 1003 END WHERE seq IN (3, 4);
                UPDATE events SET seq = seq - 1000 WHERE seq > 1000";
    let insert = "UPDATE events SET seq = seq + 1000 WHERE seq >= 6;
                  INSERT INTO events SELECT 6, id, line FROM events WHERE seq = 5;
                  UPDATE events SET seq = seq - 999 WHERE seq > 1000";
    for (change, expected, opens) in [
        ("SELECT 1", Finding::Ok, true),
        (
            "UPDATE events SET line = convert_to(replace(convert_from(line, 'UTF8'), 'company_12', 'company_13'), 'UTF8') WHERE seq = 4",
            Finding::LeafChanged(0, 8),
            true,
        ),
        (
            "UPDATE events SET line = 'x' WHERE seq = 4",
            Finding::LeafChanged(4, 4),
            true,
        ),
        (
            "DELETE FROM events WHERE seq = 4",
            Finding::LineMissing(4),
            true,
        ),
        ("DELETE FROM events WHERE seq >= 6", truncated(6), false),
        ("TRUNCATE events", truncated(0), false),
        (swap, Finding::OrderChanged(3), true),
        (insert, Finding::LineInserted(6), true),
        (
            "UPDATE checkpoints SET note = replace(note, E'\\n9\\n', E'\\n8\\n'), size = 8",
            Finding::BadSignature(String::new()),
            false,
        ),
    ] {
        let place = Place::new().await;
        let mut log = place.open().await;
        log.append(&records(0, 9)).await.unwrap();
        soon("a checkpoint", async || place.signed().await == 9).await;
        drop(log);
        let schema = place.schema();
        sql(&format!(
            "SET search_path TO {schema};
             ALTER TABLE events DISABLE TRIGGER ALL;
             ALTER TABLE checkpoints DISABLE TRIGGER ALL;
             {change}"
        ))
        .await;
        match (place.verify().await, expected) {
            (found @ Finding::BadSignature(_), Finding::BadSignature(_)) => {
                assert_eq!(found.exit_code(), 5);
            }
            (found, expected) => assert_eq!(found, expected, "{change}"),
        }
        let opened = place.options().open().await;
        assert_eq!(opened.is_ok(), opens, "{change}");
        if let Err(error) = opened {
            assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_log_that_was_written_anew_is_told_by_a_checkpoint_that_was_kept() {
    let place = Place::new().await;
    let write = async |count| {
        let mut log = place.open().await;
        let from = log.next_seq();
        log.append(&records(from, from + count)).await.unwrap();
        log.health().await.unwrap();
        soon("a checkpoint", async || {
            place.signed().await == from + count
        })
        .await;
    };
    write(6).await;
    let schema = place.schema();
    let newest = format!("SELECT note FROM {schema}.checkpoints ORDER BY size DESC LIMIT 1");
    let kept = sql(&newest).await.remove(0);
    write(3).await;
    assert_eq!(place.try_verify(Some(&kept)).await.unwrap(), Finding::Ok);
    sql(&format!(
        "ALTER TABLE {schema}.events DISABLE TRIGGER ALL;
         ALTER TABLE {schema}.checkpoints DISABLE TRIGGER ALL;
         TRUNCATE {schema}.events, {schema}.checkpoints"
    ))
    .await;
    write(9).await;
    assert_eq!(
        place.verify().await,
        Finding::Ok,
        "who has the key can do this"
    );
    let found = place.try_verify(Some(&kept)).await.unwrap();
    assert_eq!(found, Finding::Inconsistent);
}
