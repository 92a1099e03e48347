//! The audit log in PostgreSQL: what every backend does, and what a shared one must besides.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copies;
mod lost;
mod redelivered;
mod roles;
#[path = "../support/mod.rs"]
mod support;
mod tampered;
mod words;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use countersign_audit_sink::conformance::{self, Harness};
use countersign_audit_sink::{AuditBackend, AuditSink, Finding, Record, Stamp};
use countersign_core::StoreErrorKind;
use countersign_postgres::audit::{PostgresLog, record_read};
use support::audit::{ORIGIN, Place, event};
use support::proxy::{Lost, Proxy};
use support::{soon, sql, try_sql};
use tokio_postgres::types::Type;

const LONG: Duration = Duration::from_secs(20);

struct Shared(Option<Place>);

impl Shared {
    async fn place(&mut self) -> &Place {
        if self.0.is_none() {
            self.0 = Some(Place::new().await);
        }
        self.0.as_ref().unwrap()
    }
}

#[async_trait]
impl Harness for Shared {
    type Backend = PostgresLog;

    async fn open(&mut self) -> PostgresLog {
        self.place().await.open().await
    }

    async fn lines(&mut self) -> Vec<Vec<u8>> {
        let lines = self.place().await.lines().await;
        lines.into_iter().map(String::into_bytes).collect()
    }

    async fn fail(&mut self, _: &mut PostgresLog, fails: bool) -> bool {
        let place = self.place().await;
        let (schema, role) = (place.schema(), &place.name);
        let change = match fails {
            true => format!("REVOKE INSERT ON {schema}.events FROM {role}"),
            false => format!("GRANT INSERT ON {schema}.events TO {role}"),
        };
        sql(&change).await;
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn postgres_conforms() {
    conformance::run(|| Shared(None)).await;
}

fn records(from: u64, to: u64) -> Vec<Record> {
    let stamp = Stamp::new(ORIGIN.into());
    let record = |seq| Record::stamped(seq, event(&format!("number-{seq}")), &stamp);
    (from..to).map(record).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn what_was_written_stays_whoever_asks() {
    let place = Place::new().await;
    let mut log = place.open().await;
    log.append(&records(0, 5)).await.unwrap();
    soon("a checkpoint", async || place.signed().await == 5).await;
    let (schema, role) = (place.schema(), &place.name);
    let changes = [
        "UPDATE events SET line = 'x' WHERE seq = 2",
        "UPDATE events SET seq = 9 WHERE seq = 4",
        "DELETE FROM events WHERE seq = 4",
        "TRUNCATE events",
        "UPDATE checkpoints SET note = 'x'",
        "DELETE FROM checkpoints",
        "TRUNCATE checkpoints",
        "UPDATE log SET vkey = 'x'",
        "DELETE FROM log",
        "TRUNCATE log",
    ];
    let before = place.lines().await;
    let mut sessions = Vec::new();
    for change in changes {
        let refused = [
            (
                "denied",
                format!("SET ROLE {role}; SET search_path TO {schema}; {change}"),
            ),
            (
                "only ever added",
                format!("SET search_path TO {schema}; {change}"),
            ),
            (
                "only ever added",
                format!(
                    "SET session_replication_role TO replica; SET search_path TO {schema}; {change}"
                ),
            ),
        ];
        sessions.extend(refused);
    }
    for at in [3, 4, 6, 70, -1] {
        let line = format!(
            "SET ROLE {role}; INSERT INTO {schema}.events (seq, id, line) VALUES ({at}, 'x', 'x')"
        );
        let why = if at > 5 {
            "without holes"
        } else {
            "constraint"
        };
        sessions.push((why, line));
    }
    for (why, statements) in sessions {
        let refused = try_sql(&statements).await.unwrap_err();
        assert!(refused.contains(why), "{statements}: {refused}");
    }
    assert_eq!(place.lines().await, before);
    assert_eq!(place.verify().await, Finding::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn several_processes_write_one_log() {
    let place = Place::new().await;
    let mut writers = Vec::new();
    let mut senders = Vec::new();
    for process in 0..3 {
        // The last one has no signing key.
        let log = match process {
            2 => PostgresLog::options(place.postgres("")).open().await,
            _ => place.options().open().await,
        };
        let (sink, writer) = AuditSink::builder(log.unwrap()).spawn().unwrap();
        writers.push(writer);
        for sender in 0..8 {
            let sink = sink.clone();
            senders.push(tokio::spawn(async move {
                for number in 0..50 {
                    let name = format!("{process}-{sender}-{number}");
                    sink.append_durable(event(&name)).await.unwrap();
                }
            }));
        }
    }
    for sender in senders {
        sender.await.unwrap();
    }
    // The signer may end first: another takes over, and the one without the key needs nobody.
    for writer in writers {
        let report = writer.shutdown(LONG).await;
        assert_eq!(
            (report.written, report.lost),
            (402, 0),
            "each with start and stop"
        );
    }
    let lines = place.lines().await;
    assert_eq!(lines.len(), 3 * 402);
    for (seq, line) in lines.iter().enumerate() {
        let begin = format!("{{\"seq\":{seq},\"log\":\"{ORIGIN}\",");
        assert!(line.starts_with(&begin), "{line}");
    }
    for process in 0..3 {
        for (sender, number) in (0..8).flat_map(|s| (0..50).map(move |n| (s, n))) {
            let name = format!("\"{process}-{sender}-{number}\"");
            let times = lines.iter().filter(|line| line.contains(&name)).count();
            assert_eq!(times, 1, "{name}");
        }
    }
    let found = place.verify().await;
    assert!(found.is_ok(), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn another_process_signs_when_the_one_that_did_is_gone() {
    let place = Place::new().await;
    let (first, first_writer) = AuditSink::builder(place.open().await).spawn().unwrap();
    first.append_durable(event("first")).await.unwrap();
    soon("a signer", async || place.signed().await == 2).await;
    let (second, second_writer) = AuditSink::builder(place.open().await).spawn().unwrap();
    let all_signed = async || place.signed().await == place.number("count(*)").await;
    for round in 0..4 {
        // Whoever signs loses its session, in the middle of whatever it does.
        let killed = sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_locks
             WHERE locktype = 'advisory' AND granted
               AND (classid::bigint << 32) | objid::bigint
                   = hashtextextended('countersign audit signer {}', 0)",
            place.schema()
        ))
        .await;
        assert_eq!(killed, ["t"], "one held the lock");
        let name = format!("round-{round}");
        second.append_durable(event(&name)).await.unwrap();
        soon("the next signer", all_signed).await;
    }
    assert_eq!(first_writer.shutdown(LONG).await.lost, 0);
    second.append_durable(event("last")).await.unwrap();
    soon("the last signer", all_signed).await;
    assert_eq!(second_writer.shutdown(LONG).await.lost, 0);
    assert_eq!(
        place.verify().await,
        Finding::Ok,
        "the last one signs its own end"
    );
    // What was kept beside the checkpoint is of no use: the lines are read again.
    let schema = place.schema();
    sql(&format!(
        "ALTER TABLE {schema}.checkpoints DISABLE TRIGGER ALL;
         UPDATE {schema}.checkpoints SET edge = 'x'"
    ))
    .await;
    let (third, third_writer) = AuditSink::builder(place.open().await).spawn().unwrap();
    third.append_durable(event("third")).await.unwrap();
    soon("a signer that reads", all_signed).await;
    assert_eq!(third_writer.shutdown(LONG).await.lost, 0);
    assert_eq!(place.verify().await, Finding::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_batch_whose_answer_was_lost_stands_once() {
    let place = Place::new().await;
    let proxy = Proxy::start().await;
    let through = || {
        let address = format!(
            "postgres://{}@127.0.0.1:{}/postgres",
            place.name, proxy.port
        );
        let options: countersign_postgres::PostgresOptions = address.parse().unwrap();
        PostgresLog::options(options.schema(&place.name).unwrap())
    };
    let mut log = through().open().await.unwrap();
    let mut other = place.open().await;
    let all = records(0, 40);
    log.append(&all[..5]).await.unwrap();
    let mut next = 5;
    for lost in [Lost::Answer, Lost::Commit, Lost::Answer] {
        proxy.lose(lost);
        for more in [3, 5] {
            log.append(&all[next..next + more]).await.unwrap_err();
            assert_eq!(log.next_seq(), next as u64);
        }
        proxy.restore();
        // Somebody else goes on in between.
        let theirs = other.next_seq();
        other.append(&records(theirs, theirs + 2)).await.unwrap();
        log.append(&all[next..next + 9]).await.unwrap();
        next += 9;
        assert_eq!(log.next_seq(), next as u64);
    }
    let lines = place.lines().await;
    assert_eq!(lines.len(), next + 6);
    for record in &all[..next] {
        let id = record.id().to_string();
        let times = lines.iter().filter(|line| line.contains(&id)).count();
        assert_eq!(times, 1, "{id}");
    }
    drop((log, other));
    soon("all to be signed", async || {
        let _signs = place.open().await.health().await;
        place.signed().await == place.number("count(*)").await
    })
    .await;
    assert_eq!(place.verify().await, Finding::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn word_of_a_read_becomes_an_event() {
    let place = Place::new().await;
    let reader = || place.postgres("");
    record_read(reader(), "ada", "export of company company_12")
        .await
        .unwrap();
    let (sink, writer) = AuditSink::builder(place.open().await)
        .heartbeat(Some(Duration::from_millis(100)))
        .spawn()
        .unwrap();
    record_read(reader(), "bob", "query").await.unwrap();
    let schema = place.schema();
    let untold = format!("SELECT count(*) FROM {schema}.reads");
    soon("the words to be taken up", async || {
        sql(&untold).await == ["0"]
    })
    .await;
    sink.record_read("eve", "stats").await.unwrap();
    assert_eq!(writer.shutdown(LONG).await.lost, 0);
    let lines = place.lines().await;
    for actor in ["ada", "bob", "eve"] {
        let told =
            |line: &&String| line.contains("audit.read") && line.contains(&format!("\"{actor}\""));
        assert_eq!(lines.iter().filter(told).count(), 1, "{actor}");
    }
    let nowhere = Place::without_log();
    let refused = record_read(nowhere.owner(), "ada", "query").await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::NotFound);
    let refused = nowhere.try_verify(None).await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_log_has_one_name_and_one_key() {
    let place = Place::without_log();
    let kind = |opened: Result<PostgresLog, countersign_core::StoreError>| {
        opened.map(drop).map_err(|error| error.kind())
    };
    let unsigned = PostgresLog::options(place.owner()).open().await;
    assert_eq!(kind(unsigned), Err(StoreErrorKind::Conflict));
    let both = tokio::join!(place.as_owner().open(), place.as_owner().open());
    assert_eq!(
        (kind(both.0), kind(both.1)),
        (Ok(()), Ok(())),
        "one of them makes it"
    );
    let other_name = place.as_owner().origin("example.com/other").open().await;
    assert_eq!(kind(other_name), Err(StoreErrorKind::Conflict));
    let stranger = Place::without_log();
    let other_key = place.as_owner().signer(Arc::clone(&stranger.signer));
    assert_eq!(kind(other_key.open().await), Err(StoreErrorKind::Conflict));
    let role = PostgresLog::options(place.owner()).open().await.unwrap();
    assert_eq!(role.origin().unwrap().as_ref(), ORIGIN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn nothing_is_appended_for_long_while_nobody_signs() {
    let place = Place::new().await;
    let unsigned = PostgresLog::options(place.postgres(""));
    let unsigned = unsigned.signed_within(Duration::from_millis(50));
    let mut log = unsigned.open().await.unwrap();
    let all = records(0, 6);
    log.append(&all[..2]).await.unwrap();
    log.append(&all[2..3]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    let refused = log.append(&all[3..4]).await.unwrap_err();
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("one with the signing key runs"), "{why}");
    let stranger = support::client().await;
    let lock = "SELECT pg_backend_pid()::text, pg_try_advisory_lock(hashtextextended($1, 0))";
    let name = format!("countersign audit signer {}", place.schema());
    let held = stranger.query_typed_one(lock, &[(&name, Type::TEXT)]).await;
    let held: String = held.unwrap().get(0);
    let refused = log.append(&all[3..4]).await.unwrap_err();
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(
        why.contains(&format!("pid {held} of the role postgres")),
        "{why}"
    );
    drop(stranger);
    let mut signs = place.open().await;
    signs.health().await.unwrap();
    soon("a signer", async || place.signed().await == 3).await;
    log.append(&all[3..]).await.unwrap();
    assert_eq!(place.lines().await.len(), 6);
}
