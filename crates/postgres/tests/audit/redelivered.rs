//! Events that two processes took out of one outbox.

use countersign_audit_sink::{AuditBackend, AuditEvent, Finding, Record, Stamp};
use countersign_postgres::PostgresOptions;
use countersign_postgres::audit::PostgresLog;

use super::support::audit::{ORIGIN, Place, event};
use super::support::proxy::{Lost, Proxy};
use super::support::soon;

/// The log, by a way that can be lost.
async fn open_through(proxy: &Proxy, place: &Place) -> PostgresLog {
    let (role, port) = (&place.name, proxy.port);
    let address = format!("postgres://{role}@127.0.0.1:{port}/postgres");
    let options: PostgresOptions = address.parse().unwrap();
    let options = PostgresLog::options(options.schema(role).unwrap());
    options.open().await.unwrap()
}

/// The same events, as one process's writer makes records of them.
fn records(events: &[AuditEvent]) -> Vec<Record> {
    let stamp = Stamp::new(ORIGIN.into());
    let record = |(seq, event): (u64, &AuditEvent)| Record::stamped(seq, event.clone(), &stamp);
    (0..).zip(events).map(record).collect()
}

async fn assert_each_stands_once_and_in_order(place: &Place, events: &[AuditEvent]) {
    let ids = |line: &String| -> String {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["id"].as_str().unwrap().to_owned()
    };
    let written: Vec<String> = place.lines().await.iter().map(ids).collect();
    let given = events.iter().map(|event| event.id().unwrap().to_string());
    assert_eq!(written, given.collect::<Vec<_>>());
}

/// One process is cut off in the middle of a batch, another goes on with the outbox, and then the
/// first one's way is free again: its writer still has the batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn what_another_process_told_meanwhile_stands_once() {
    let (place, proxy) = (Place::new().await, Proxy::start().await);
    let mut log = open_through(&proxy, &place).await;
    let mut other = place.open().await;
    let events: Vec<_> = (0..16).map(|n| event(&format!("number-{n}"))).collect();
    let (mine, theirs) = (records(&events), records(&events));

    proxy.lose(Lost::Commit);
    log.append(&mine[..8]).await.unwrap_err();
    other.append(&theirs[..5]).await.unwrap();
    proxy.restore();
    log.append(&mine[..8]).await.unwrap();
    assert_eq!(log.next_seq(), 8);
    assert_each_stands_once_and_in_order(&place, &events[..8]).await;

    // Of this batch a part is there before it, and nobody knows of the rest.
    other.append(&theirs[5..10]).await.unwrap();
    proxy.lose(Lost::Answer);
    log.append(&mine[8..]).await.unwrap_err();
    other.append(&theirs[10..13]).await.unwrap();
    proxy.restore();
    log.append(&mine[8..]).await.unwrap();
    assert_eq!(log.next_seq(), 16);
    other.append(&theirs[13..]).await.unwrap();
    assert_each_stands_once_and_in_order(&place, &events).await;
    soon("a checkpoint", async || place.signed().await == 16).await;
    assert_eq!(place.verify().await, Finding::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn an_event_that_comes_twice_in_a_batch_stands_once() {
    let place = Place::new().await;
    let mut log = place.open().await;
    let [first, second] = ["first", "second"].map(event);
    let twice = [&first, &second, &first].map(Clone::clone);
    log.append(&records(&twice)).await.unwrap();
    assert_eq!(log.next_seq(), 3);
    assert_each_stands_once_and_in_order(&place, &[first, second]).await;
}
