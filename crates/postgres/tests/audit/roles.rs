//! The roles of `docs/postgres.md` and `docs/audit-log.md`, made by the statements that stand there.

use std::sync::Arc;
use std::time::Duration;

use countersign_audit_sink::{AuditSink, Finding, LogVerifier};
use countersign_core::Timestamp;
use countersign_postgres::PostgresOptions;
use countersign_postgres::audit::{
    PostgresLog, PostgresLogOptions, copy_log, record_read, remove_lines,
};

use crate::support::audit::{ORIGIN, Place, event};
use crate::support::{address, soon, sql, try_sql};

const LONG: Duration = Duration::from_secs(20);
const KEYS: &str = include_str!("../../../../docs/postgres.md");
const LOG: &str = include_str!("../../../../docs/audit-log.md");

/// The blocks of SQL in a guide, for roles and schemas whose names begin with `name`.
fn statements(guide: &str, name: &str) -> Vec<String> {
    let blocks = guide.split("```sql\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap());
    blocks
        .map(|block| block.replace("countersign", name))
        .collect()
}

fn role(place: &Place, name: &str) -> PostgresOptions {
    let role = format!("{}_{name}@", place.name);
    let options: PostgresOptions = address().replace("postgres@", &role).parse().unwrap();
    options.schema(&place.name).unwrap()
}

fn log_of(place: &Place, name: &str) -> PostgresLogOptions {
    PostgresLog::options(role(place, name))
        .origin(ORIGIN)
        .signer(Arc::clone(&place.signer))
        .checkpoint_interval(Duration::from_millis(20))
}

/// A log that the guides' statements were run for, in their order.
async fn as_the_guides_say() -> Place {
    let place = Place::without_log();
    let (keys, log) = (statements(KEYS, &place.name), statements(LOG, &place.name));
    sql(&keys[0]).await;
    sql(&log[0]).await;
    drop(log_of(&place, "owner").open().await.unwrap());
    sql(&format!("SET ROLE {}_owner; {}", place.name, log[1])).await;
    place
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn each_role_of_the_log_may_do_what_it_is_for() {
    let place = as_the_guides_say().await;
    let auditor = log_of(&place, "auditor").open().await.unwrap();
    let sink = AuditSink::builder(auditor).heartbeat(Some(Duration::from_millis(100)));
    let (sink, writer) = sink.spawn().unwrap();
    for number in 0..5 {
        let event = event(&format!("number-{number}"));
        sink.append_durable(event).await.unwrap();
    }
    soon("a checkpoint", async || place.signed().await >= 5).await;
    let inspector = role(&place, "inspector");
    record_read(inspector.clone(), "ada", "query")
        .await
        .unwrap();
    let is_told = async |kind: &str| {
        let told = format!("convert_from(line, 'UTF8') LIKE '%audit.{kind}%'");
        let count = format!("count(*) FILTER (WHERE {told})");
        soon(kind, async || place.number(&count).await == 1).await;
    };
    is_told("read").await;
    let end = Timestamp::from_micros(i64::MAX / 2);
    let removed = remove_lines(role(&place, "remover"), end, "grace");
    assert!(removed.await.unwrap() > 0);
    is_told("removed").await;
    assert_eq!(writer.shutdown(LONG).await.lost, 0);
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy");
    copy_log(inspector, &copy).await.unwrap();
    let verified = LogVerifier::new(&copy).verify().unwrap();
    assert_eq!(verified.finding, Finding::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn no_role_of_the_log_may_do_more() {
    let place = as_the_guides_say().await;
    let more = [
        ("auditor", "DELETE FROM events"),
        ("auditor", "INSERT INTO removed VALUES (0, sha256('x'))"),
        ("inspector", "INSERT INTO events VALUES (0, 'x', 'x')"),
        ("inspector", "DELETE FROM reads"),
        ("remover", "INSERT INTO events VALUES (0, 'x', 'x')"),
        ("remover", "DELETE FROM reads"),
    ];
    let lines = "INSERT INTO reads (actor, purpose, first, count) VALUES ('bob', 'x', 0, 999)";
    let dated = "INSERT INTO reads (actor, purpose, at) VALUES ('bob', 'x', '1999-01-01')";
    let words = ["auditor", "inspector"].map(|role| (role, lines));
    let dates = ["auditor", "inspector", "remover"].map(|role| (role, dated));
    for (role, change) in more.into_iter().chain(words).chain(dates) {
        let (schema, name) = (place.schema(), &place.name);
        let change = format!("SET ROLE {name}_{role}; SET search_path TO {schema}; {change}");
        let refused = try_sql(&change).await.unwrap_err();
        assert!(refused.contains("permission denied"), "{change}: {refused}");
    }
}
