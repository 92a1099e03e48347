//! Word of reads and of removals, whatever it says and whoever leaves it.

use std::time::Duration;

use countersign_audit_sink::{AuditSink, AuditSinkBuilder, Finding};
use countersign_postgres::PostgresOptions;
use countersign_postgres::audit::{PostgresLog, record_read};

use crate::support::audit::{Place, event};
use crate::support::{address, soon, sql, try_sql};

const LONG: Duration = Duration::from_secs(20);

fn builder(log: PostgresLog) -> AuditSinkBuilder<PostgresLog> {
    AuditSink::builder(log).heartbeat(Some(Duration::from_millis(100)))
}

async fn taken_up(place: &Place) {
    let untold = format!("SELECT count(*) FROM {}.reads", place.schema());
    soon("the words to be taken up", async || {
        sql(&untold).await == ["0"]
    })
    .await;
}

/// Those of `lines` that are of this type.
fn of_type<'a>(lines: &'a [String], kind: &str) -> Vec<&'a String> {
    let kind = format!("\"external_api.audit.{kind}\"");
    lines.iter().filter(|line| line.contains(&kind)).collect()
}

/// A role that may verify, ask, and do what `grant` says to `reads`.
async fn inspector(place: &Place, grant: &str) -> PostgresOptions {
    let (schema, role) = (place.schema(), format!("{}_inspector", place.name));
    sql(&format!(
        "CREATE ROLE {role} LOGIN;
         GRANT USAGE ON SCHEMA {schema} TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
         GRANT {grant} ON {schema}.reads TO {role}"
    ))
    .await;
    let address = address().replace("postgres@", &format!("{role}@"));
    let options: PostgresOptions = address.parse().unwrap();
    options.schema(&place.name).unwrap()
}

/// What an older version let everybody write.
async fn leave(place: &Place, words: &str) {
    let schema = place.schema();
    sql(&format!(
        "ALTER TABLE {schema}.reads DROP CONSTRAINT IF EXISTS of_a_read_or_of_lines;
         ALTER TABLE {schema}.reads DISABLE TRIGGER ALL;
         INSERT INTO {schema}.reads (actor, purpose, first, count, at) VALUES {words}"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_word_that_makes_no_sense_does_not_stop_the_log() {
    let place = Place::new().await;
    let words = "('eve', 'x', -1, 5, NULL), ('eve', 'x', 0, 999, 'infinity'), ('eve', 'x', 3, NULL, '-infinity'),
                 ('eve', 'x', 9223372036854775807, 9223372036854775807, '9999-12-31'), ('eve', 'x', 0, 0, '1900-01-01')";
    leave(&place, words).await;
    let (sink, writer) = builder(place.open().await).spawn().unwrap();
    sink.append_durable(event("first")).await.unwrap();
    taken_up(&place).await;
    leave(&place, words).await;
    taken_up(&place).await;
    sink.append_durable(event("last")).await.unwrap();
    assert_eq!(writer.shutdown(LONG).await.lost, 0);
    let lines = place.lines().await;
    let reads = of_type(&lines, "read");
    assert_eq!(reads.len(), 10, "{lines:?}");
    for line in reads {
        assert!(line.contains("\"actor\":\"unknown\""), "{line}");
    }
    assert_eq!(of_type(&lines, "removed").len(), 0, "{lines:?}");
    assert!(!lines.concat().contains("eve"));
    assert_eq!(place.verify().await, Finding::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn words_of_an_older_version_are_taken_up() {
    let place = Place::new().await;
    let schema = place.schema();
    sql(&format!(
        "SET search_path TO {schema};
         DROP TRIGGER word_of_who_may ON reads;
         DROP FUNCTION word_of_who_may;
         ALTER TABLE reads DROP CONSTRAINT of_a_read_or_of_lines, DROP COLUMN at;
         UPDATE schema_version SET version = 2;
         INSERT INTO reads (actor, purpose, first, count)
             VALUES ('ada', 'query', NULL, NULL), ('eve', 'x', -1, 5)"
    ))
    .await;
    drop(place.as_owner().open().await.unwrap());
    let (sink, writer) = builder(place.open().await).spawn().unwrap();
    taken_up(&place).await;
    drop(sink);
    assert_eq!(writer.shutdown(LONG).await.lost, 0);
    let lines = place.lines().await;
    let reads = of_type(&lines, "read");
    assert!(reads[0].contains("\"ada\"") && reads[1].contains("\"unknown\""));
    assert_eq!(reads.len(), 2, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn only_who_may_remove_lines_leaves_word_of_it() {
    let place = Place::new().await;
    let schema = place.schema();
    let inspector = inspector(&place, "INSERT").await;
    for lines in ["0, 999", "-1, 5", "0, NULL", "NULL, 1"] {
        let word = format!(
            "SET ROLE {}_inspector;
             INSERT INTO {schema}.reads (actor, purpose, first, count) VALUES ('bob', 'x', {lines})",
            place.name
        );
        let refused = try_sql(&word).await.unwrap_err();
        assert!(refused.contains("only who may remove lines"), "{refused}");
    }
    for lines in ["-1, 5", "0, 0", "0, NULL", "NULL, 1"] {
        let word = format!(
            "INSERT INTO {schema}.reads (actor, purpose, first, count) VALUES ('bob', 'x', {lines})"
        );
        let refused = try_sql(&word).await.unwrap_err();
        assert!(refused.contains("of_a_read_or_of_lines"), "{refused}");
    }
    record_read(inspector, "ada", "query").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_read_has_the_time_at_which_word_of_it_was_left() {
    let place = Place::new().await;
    let schema = place.schema();
    let inspector = inspector(&place, "INSERT (actor, purpose)").await;
    record_read(inspector, "ada", "query").await.unwrap();
    let chosen = "INSERT INTO reads (actor, purpose, at) VALUES ('eve', 'query', '1999-01-01')";
    sql(&format!("SET search_path TO {schema}; {chosen}")).await;
    let times = "SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    let left = sql(&format!("{times} FROM {schema}.reads ORDER BY id")).await;
    leave(&place, "('old', 'query', NULL, NULL, NULL)").await;
    leave(&place, "('to come', 'query', NULL, NULL, '9999-01-01')").await;
    let (sink, writer) = builder(place.open().await).spawn().unwrap();
    taken_up(&place).await;
    drop(sink);
    assert_eq!(writer.shutdown(LONG).await.lost, 0);
    let lines = place.lines().await;
    let time = |actor: &str| {
        let told = |line: &&&String| line.contains(&format!("\"actor\":\"{actor}\""));
        let reads = of_type(&lines, "read");
        let line: serde_json::Value =
            serde_json::from_str(reads.iter().find(told).unwrap()).unwrap();
        line["time"].as_str().unwrap().to_owned()
    };
    assert_eq!([time("ada"), time("eve")], left[..]);
    assert!(!left[1].starts_with("1999"), "nobody chooses it");
    for actor in ["old", "to come"] {
        let taken_up = time(actor);
        assert!(
            taken_up > left[1] && taken_up.starts_with("20"),
            "{taken_up}"
        );
    }
}
