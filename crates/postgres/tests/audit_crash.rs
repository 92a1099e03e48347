//! A server that is killed in the middle of writing. Alone in its file: it takes every session on
//! the server with it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign_audit_sink::AuditSink;
use support::audit::{Place, event};
use support::{address, client, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn nothing_is_acknowledged_that_a_killed_server_does_not_have() {
    let place = Place::new().await;
    let (sink, writer) = AuditSink::builder(place.open().await).spawn().unwrap();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut senders = Vec::new();
    for sender in 0..16 {
        let (sink, acknowledged) = (sink.clone(), Arc::clone(&acknowledged));
        senders.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            for number in 0..400 {
                let name = format!("sender-{sender}-{number}");
                if sink.append_durable(event(&name)).await.is_ok() {
                    mine.push(name);
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                } else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            mine
        }));
    }
    for _ in 0..4 {
        let before = acknowledged.load(Ordering::SeqCst);
        soon("events to be written", async || {
            acknowledged.load(Ordering::SeqCst) > before + 200
        })
        .await;
        kill_the_server().await;
    }
    let mut told = Vec::new();
    for sender in senders {
        told.extend(sender.await.unwrap());
    }
    // The process that signs lost its connection too, and stands for election again.
    soon("the log to be signed again", async || {
        place.verify().await.to_string() == "ok"
    })
    .await;
    let report = writer.shutdown(Duration::from_secs(30)).await;
    let lines = place.lines().await;
    let mut times = HashMap::new();
    for line in &lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let actor = line["metadata"]["actor"].as_str().unwrap_or_default();
        *times.entry(actor.to_owned()).or_insert(0) += 1;
    }
    for name in &told {
        assert_eq!(times.get(name), Some(&1), "{name} was acknowledged");
    }
    assert_eq!(lines.len() as u64, report.written);
    assert_eq!(place.verify().await.to_string(), "ok");
}

/// A session that dies by a signal makes the server end all others and recover from its log, as
/// after a crash of the machine.
async fn kill_the_server() {
    let victim = client().await;
    let pid = "SELECT pg_backend_pid()";
    let pid: i32 = victim.query_one(pid, &[]).await.unwrap().get(0);
    let kill = format!("COPY (SELECT 1) TO PROGRAM 'kill -9 {pid}'");
    // Nobody is left to answer.
    let _ = client().await.batch_execute(&kill).await;
    soon("the server to be back", async || {
        let connected = tokio_postgres::connect(&address(), tokio_postgres::NoTls).await;
        connected.is_ok() && victim.is_closed()
    })
    .await;
}
