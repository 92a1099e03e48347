//! Lines of a log in PostgreSQL whose time is over: their hashes stay, or they do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::time::Duration;

use countersign_audit_sink::{
    AuditBackend, AuditSink, Finding, LogVerifier, Record, Stamp, check_proof, prove_event,
};
use countersign_core::{StoreErrorKind, Timestamp};
use countersign_postgres::PostgresOptions;
use countersign_postgres::audit::{copy_log, remove_lines};
use support::audit::{ORIGIN, Place, START, event_at};
use support::{address, soon, sql, try_sql};

/// The time of line `seq`.
fn time(seq: u64) -> Timestamp {
    Timestamp::from_micros(START + seq as i64 * 1_000_000)
}

fn records(from: u64, to: u64) -> Vec<Record> {
    let stamp = Stamp::new(ORIGIN.into());
    let record = |seq| Record::stamped(seq, event_at("ada", time(seq)), &stamp);
    (from..to).map(record).collect()
}

/// A log of thirty signed lines, a second apart.
async fn thirty() -> Place {
    let place = Place::new().await;
    append(&place, 30).await;
    place
}

/// Appends lines and waits until they are signed.
async fn append(place: &Place, count: u64) {
    let mut log = place.open().await;
    let from = log.next_seq();
    log.append(&records(from, from + count)).await.unwrap();
    soon("a checkpoint", async || {
        place.signed().await == from + count
    })
    .await;
}

/// A role that may remove lines and no more.
async fn keeper(place: &Place) -> PostgresOptions {
    let (schema, role) = (place.schema(), keeper_of(place));
    sql(&format!(
        "CREATE ROLE {role} LOGIN;
         GRANT USAGE ON SCHEMA {schema} TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
         GRANT DELETE ON {schema}.events TO {role};
         GRANT INSERT ON {schema}.removed TO {role};
         GRANT INSERT (actor, purpose, first, count) ON {schema}.reads TO {role}"
    ))
    .await;
    let address = address().replace("postgres@", &format!("{role}@"));
    let options: PostgresOptions = address.parse().unwrap();
    options.schema(&place.name).unwrap()
}

fn keeper_of(place: &Place) -> String {
    format!("{}_keeper", place.name)
}

/// What the verifier says of a copy, and of how many lines there only hashes are.
async fn verify(place: &Place, directory: &Path) -> (Finding, u64) {
    copy_log(place.owner(), directory).await.unwrap();
    // The events have times of the test's own.
    let verifier = LogVerifier::new(directory).unsigned_for(Duration::MAX);
    let report = verifier.verify().unwrap();
    (report.finding, report.removed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn old_lines_go_and_everything_is_proved_as_before() {
    let place = thirty().await;
    let keeper = keeper(&place).await;
    let kept = place.lines().await;
    let remove = async |before| remove_lines(keeper.clone(), before, "grace").await;
    assert_eq!(remove(time(10)).await.unwrap(), 10);
    assert_eq!(remove(time(10)).await.unwrap(), 0);
    assert_eq!(remove(time(12)).await.unwrap(), 2);
    assert_eq!(place.lines().await, kept[12..]);
    let copies = tempfile::tempdir().unwrap();
    let copy = |name: &str| copies.path().join(name);
    let untold = |lines| (Finding::RemovalUntold(lines), lines);
    assert_eq!(verify(&place, &copy("a")).await, untold(12));
    let vkey = std::fs::read_to_string(copy("a").join("vkey")).unwrap();
    for seq in [0, 9, 10, 11, 12, 29] {
        let proof = prove_event(copy("a"), seq).unwrap();
        assert_eq!(proof.line.is_some(), seq >= 12);
        let line = kept[seq as usize].as_bytes();
        assert_eq!(check_proof(&vkey, line, &proof.proof).unwrap().index, seq);
    }
    // The log goes on, also with a signer that must read it again, and the newest line stays.
    append(&place, 3).await;
    let end = Timestamp::from_micros(i64::MAX / 2);
    assert_eq!(remove(end).await.unwrap(), 20);
    let schema = place.schema();
    sql(&format!(
        "ALTER TABLE {schema}.checkpoints DISABLE TRIGGER ALL;
         UPDATE {schema}.checkpoints SET edge = ''"
    ))
    .await;
    append(&place, 2).await;
    assert_eq!(verify(&place, &copy("b")).await, untold(32));
    // Each step is an event of the log.
    let (sink, writer) = AuditSink::builder(place.open().await)
        .heartbeat(Some(Duration::from_millis(100)))
        .spawn()
        .unwrap();
    let untold = format!("SELECT count(*) FROM {schema}.reads");
    soon("the words to be taken up", async || {
        sql(&untold).await == ["0"]
    })
    .await;
    drop(sink);
    assert_eq!(writer.shutdown(Duration::from_secs(20)).await.lost, 0);
    let lines = place.lines().await;
    for (first, count) in [(0, 10), (10, 2), (12, 20)] {
        let told = |line: &&String| {
            line.contains("external_api.audit.removed")
                && line.contains("\"grace\"")
                && line.contains(&format!("\"first\":{first},"))
                && line.contains(&format!("\"count\":{count}"))
        };
        assert_eq!(lines.iter().filter(told).count(), 1, "{first}: {lines:?}");
    }
    assert_eq!(verify(&place, &copy("c")).await.0, Finding::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_line_whose_hash_does_not_stay_stays() {
    let place = thirty().await;
    drop(keeper(&place).await);
    let schema = place.schema();
    let hashes = |range: &str| {
        format!(
            "INSERT INTO removed SELECT min(seq), string_agg(sha256('\\x00'::bytea || line), ''::bytea ORDER BY seq)
             FROM events WHERE {range};"
        )
    };
    let unsigned = format!(
        "RESET ROLE; ALTER TABLE checkpoints DISABLE TRIGGER ALL; DELETE FROM checkpoints WHERE size > 5;
         SET ROLE {};",
        keeper_of(&place)
    );
    let of =
        |range: &str, delete: &str| format!("{}DELETE FROM events WHERE {delete}", hashes(range));
    for change in [
        "DELETE FROM events WHERE seq < 5".to_owned(),
        "INSERT INTO removed VALUES (0, sha256('x')); DELETE FROM events WHERE seq = 0".to_owned(),
        // Fewer, more, and others than those whose hashes stay.
        of("seq < 5", "seq < 4"),
        of("seq < 5", "seq < 6"),
        of("seq < 5", "seq IN (0, 1, 2, 3, 5)"),
        of("seq IN (0, 2)", "seq IN (0, 2)"),
        // From the middle, from the end, and all of them.
        of("seq BETWEEN 3 AND 5", "seq BETWEEN 3 AND 5"),
        of("seq > 25", "seq > 25"),
        of("true", "true"),
        // What is not signed.
        format!("{unsigned}{}", of("seq < 6", "seq < 6")),
        "TRUNCATE events".to_owned(),
        "UPDATE events SET line = 'x' WHERE seq = 0".to_owned(),
        format!(
            "{}UPDATE removed SET hashes = sha256('x')",
            hashes("seq < 5")
        ),
        format!("{}DELETE FROM removed", hashes("seq < 5")),
    ] {
        for role in [keeper_of(&place), "postgres".to_owned()] {
            let statements = format!(
                "BEGIN; SET LOCAL search_path TO {schema}; SET ROLE {role}; {change}; COMMIT"
            );
            let refused = try_sql(&statements).await.unwrap_err();
            let known = refused.contains("only ever added") || refused.contains("denied");
            assert!(known, "{statements}: {refused}");
        }
    }
    // Those who write the log may not, with hashes or without.
    let refused = remove_lines(place.postgres(""), time(10), "ada").await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(place.lines().await.len(), 30);
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy");
    assert_eq!(verify(&place, &copy).await, (Finding::Ok, 0));
    let nowhere = place.owner().schema("nowhere").unwrap();
    let absent = remove_lines(nowhere, time(10), "ada").await.unwrap_err();
    assert_eq!(absent.kind(), StoreErrorKind::NotFound);
}
