//! What somebody takes away from a log without having its key: never "ok".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use countersign::{AuditEvent, AuditSink, FileLog, LifecycleEvent, LifecycleKind};
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A log with eight events of two companies, closed as it should be.
struct Log(TempDir);

impl Log {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let log = FileLog::options(place.path().join("audit")).origin("example.com/test");
        let (sink, writer) = AuditSink::builder(log.open().unwrap()).spawn().unwrap();
        for number in 0..8 {
            let company = ["company_12", "company_34"][number % 2];
            let event: LifecycleEvent = serde_json::from_value(json!({
                "id": format!("01J0000000000000000000000{number}"),
                "time": "2026-09-21T14:13:20.000000Z",
                "kind": LifecycleKind::CompanySuspended,
                "actor_type": "operator",
                "actor": "ada",
                "company": company,
            }))
            .unwrap();
            sink.append_durable(AuditEvent::from(event)).await.unwrap();
        }
        assert_eq!(writer.shutdown(Duration::from_secs(10)).await.lost, 0);
        Self(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("audit").join(name)
    }

    fn segment(&self, first: usize, kind: &str) -> PathBuf {
        self.path(&format!("segments/{first:020}.{kind}"))
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.segment(0, "jsonl")).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    /// This program and the script that exports hold both answer so.
    #[track_caller]
    fn expect(&self, code: i32, words: &str) {
        for ran in [self.verify(), self.verify_by_script()] {
            let said = [ran.stdout, ran.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert_eq!(ran.status.code(), Some(code), "{said}");
            assert!(said.contains(words), "{said}");
        }
    }

    fn verify(&self) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        let verify = command.args(["audit", "verify"]).arg(self.path(""));
        verify.output().unwrap()
    }

    fn verify_by_script(&self) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audit/verify.py");
        let mut command = Command::new("python3");
        let verify = command.arg(script).arg("log").arg(self.path(""));
        verify.output().unwrap()
    }
}

fn hash(line: &str) -> Vec<u8> {
    let leaf = Sha256::new().chain_update([0]);
    leaf.chain_update(line.trim_end()).finalize().to_vec()
}

#[tokio::test]
async fn one_event_in_the_middle_does_not_go_for_its_hash() {
    let log = Log::new().await;
    let lines = log.lines();
    fs::write(log.segment(4, "hashes"), hash(&lines[4])).unwrap();
    fs::write(log.segment(0, "jsonl"), lines[..4].concat()).unwrap();
    fs::write(log.segment(5, "jsonl"), lines[5..].concat()).unwrap();
    log.expect(1, "line missing at 4");
}

#[tokio::test]
async fn invented_hashes_behind_the_end_are_no_events() {
    let log = Log::new().await;
    let end = log.lines().len();
    fs::write(log.segment(end, "hashes"), [0; 64]).unwrap();
    log.expect(1, &format!("line missing at {end}"));
}

#[tokio::test]
async fn the_oldest_events_do_not_go_without_a_word() {
    let log = Log::new().await;
    let lines = log.lines();
    let hashes: Vec<u8> = lines[..4].iter().flat_map(|line| hash(line)).collect();
    fs::remove_file(log.segment(0, "jsonl")).unwrap();
    fs::write(log.segment(0, "hashes"), hashes).unwrap();
    fs::write(log.segment(4, "jsonl"), lines[4..].concat()).unwrap();
    log.expect(6, "removal not told: the first 4 events are gone");
}

#[tokio::test]
async fn a_log_without_any_checkpoint_is_not_ok() {
    let log = Log::new().await;
    fs::remove_file(log.path("checkpoint")).unwrap();
    fs::remove_file(log.path("checkpoints.jsonl")).unwrap();
    let text = log.lines().concat().replace("company_12", "company_56");
    fs::write(log.segment(0, "jsonl"), text).unwrap();
    log.expect(2, "could not check");
}

#[tokio::test]
async fn old_events_behind_an_older_checkpoint_are_not_ok() {
    let log = Log::new().await;
    let list = fs::read_to_string(log.path("checkpoints.jsonl")).unwrap();
    let early: Vec<&str> = list.split_inclusive('\n').take(2).collect();
    let newest: serde_json::Value = serde_json::from_str(early[1]).unwrap();
    fs::write(log.path("checkpoints.jsonl"), early.concat()).unwrap();
    let note = newest["note"].as_str().unwrap();
    fs::write(log.path("checkpoint"), note).unwrap();
    let lines = log.lines().concat();
    let old = lines.replace("\"time\":\"20", "\"time\":\"19");
    // The lines that are signed stay what they were.
    let size = newest["size"].as_u64().unwrap() as usize;
    let signed: usize = log.lines()[..size].iter().map(String::len).sum();
    let forged = format!("{}{}", &lines[..signed], &old[signed..]);
    fs::write(log.segment(0, "jsonl"), forged).unwrap();
    log.expect(6, "unsigned for too long");
}

#[cfg(unix)]
#[tokio::test]
async fn what_never_ends_is_not_read() {
    let log = Log::new().await;
    let path = log.segment(0, "jsonl");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    log.expect(2, "it is no regular file");
    fs::remove_file(&path).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    log.expect(2, "it is no regular file");
}
