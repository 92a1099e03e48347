//! Word that readers of a log leave beside it.

use std::time::Duration;

use crate::common::*;
use countersign_audit_sink::*;
use countersign_core::{Clock, ManualClock, Timestamp};
use serde_json::json;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_read_has_the_time_at_which_word_of_it_was_left() {
    let temporary = TempDir::new().unwrap();
    let directory = temporary.path().join("log");
    let clock = ManualClock::new(Timestamp::from_micros(1_790_000_000_000_000));
    let open = || FileLog::options(&directory).clock(clock.clone()).open();
    drop(open().unwrap());
    let now = clock.now().wall;
    let (before, after) = (Duration::from_secs(20), Duration::from_secs(3600));
    let words = [
        ("ada", json!(now.saturating_sub(before))),
        ("bob", json!(now.saturating_add(after))),
        ("old", json!(null)),
        ("eve", json!("1900-01-01T00:00:00.000000Z")),
    ];
    std::fs::create_dir_all(directory.join("reads")).unwrap();
    for (actor, time) in words {
        let word = json!({"actor": actor, "purpose": "query", "time": time});
        let path = directory.join(format!("reads/{actor}.json"));
        std::fs::write(path, word.to_string()).unwrap();
    }
    let word = json!({"actor": "older", "purpose": "query"});
    std::fs::write(directory.join("reads/older.json"), word.to_string()).unwrap();
    let (_sink, writer) = AuditSink::builder(open().unwrap())
        .clock(clock)
        .spawn()
        .unwrap();
    let _ = writer.shutdown(LONG).await;
    let lines = file_lines(&directory);
    let time = |actor: &str| {
        let read = lines.iter().find(|line| line["metadata"]["actor"] == actor);
        read.unwrap()["time"].clone()
    };
    assert_eq!(time("ada"), json!(now.saturating_sub(before)));
    for actor in ["bob", "old", "older", "eve"] {
        assert_eq!(time(actor), json!(now), "{actor}");
    }
}

#[tokio::test]
async fn word_of_a_read_can_always_be_read() {
    let temporary = TempDir::new().unwrap();
    let directory = temporary.path().join("log");
    drop(FileLog::open(&directory).unwrap());
    let (long, turned) = ("\u{1f4b8}".repeat(20_000), "a\u{202e}\u{1b}b");
    record_read(&directory, &long, turned).unwrap();
    let (_sink, writer) = AuditSink::builder(FileLog::open(&directory).unwrap())
        .spawn()
        .unwrap();
    let _ = writer.shutdown(LONG).await;
    let lines = file_lines(&directory);
    let read = |line: &&serde_json::Value| line["type"] == "external_api.audit.read";
    let told = &lines.iter().find(read).unwrap()["metadata"];
    assert_eq!(told["actor"], json!("\u{1f4b8}".repeat(512)));
    assert_eq!(told["purpose"], json!("ab"));
}
