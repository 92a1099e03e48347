//! The audit log from the command line: verified, asked, proved and handed over.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use countersign::{AuditEvent, AuditSink, FileLog, LifecycleEvent, LifecycleKind};
use serde_json::{Value, json};
use tempfile::TempDir;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .arg("audit")
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../audit-sink/tests/vectors/audit")
}

/// A log with eight events of two companies, closed as it should be.
async fn log() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit");
    let log = FileLog::options(&path)
        .origin("example.com/test")
        .open()
        .unwrap();
    let (sink, writer) = AuditSink::builder(log).spawn().unwrap();
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
    let report = writer.shutdown(Duration::from_secs(10)).await;
    assert_eq!(report.lost, 0);
    (directory, path)
}

#[test]
fn each_kind_of_damage_has_its_exit_code() {
    for (name, code, answer) in [
        ("good", 0, "ok"),
        ("leaf-changed", 1, "leaf changed"),
        ("line-missing", 1, "line missing at 1"),
        ("order-changed", 1, "order changed at 0"),
        ("torn-tail", 3, "torn tail"),
        ("truncated", 4, "truncated: checkpoint says 7, log has 6"),
        ("bad-signature", 5, "bad signature"),
        ("absent", 2, "could not check"),
    ] {
        let log = vectors().join(name);
        let verified = run(&["verify", log.to_str().unwrap(), "--json"]);
        assert_eq!(verified.status.code(), Some(code), "{name}");
        let said: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert!(
            said["answer"].as_str().unwrap().starts_with(answer),
            "{said}"
        );
        assert_eq!(said["ok"], code == 0);
    }
}

#[tokio::test]
async fn an_event_is_proved_and_no_other_one_by_its_proof() {
    let (directory, log) = log().await;
    let log = log.to_str().unwrap();
    assert!(run(&["verify", log]).status.success());
    let proof = directory.path().join("3.tlog-proof");
    let proof = proof.to_str().unwrap();
    assert!(run(&["prove", log, "3", "-o", proof]).status.success());
    let vkey = format!("{log}/vkey");
    let check = |event: &str| {
        run(&[
            "check-proof",
            "--vkey",
            &vkey,
            "--event",
            event,
            "--proof",
            proof,
        ])
    };
    let event = format!("{proof}.jsonl");
    let checked = check(&event);
    assert!(text(&checked.stdout).starts_with("ok: event 3 of the first"));
    let other = directory.path().join("other");
    let changed = fs::read_to_string(&event)
        .unwrap()
        .replace("company", "c0mpany");
    fs::write(&other, changed).unwrap();
    assert_eq!(check(other.to_str().unwrap()).status.code(), Some(1));
    assert_eq!(
        run(&["prove", log, "999", "-o", proof]).status.code(),
        Some(1)
    );
    let kept = directory.path().join("kept");
    fs::copy(format!("{log}/checkpoint"), &kept).unwrap();
    let against = run(&["verify", log, "--against", kept.to_str().unwrap()]);
    assert!(against.status.success());
    let foreign = vectors().join("good/checkpoint");
    let against = run(&["verify", log, "--against", foreign.to_str().unwrap()]);
    assert_eq!(against.status.code(), Some(2));
}

#[tokio::test]
async fn events_are_asked_for_and_counted() {
    let (_directory, log) = log().await;
    let log = log.to_str().unwrap();
    let asked = run(&["query", log, "--company", "company_12", "--json"]);
    let lines = text(&asked.stdout);
    assert_eq!(lines.lines().count(), 4);
    assert!(lines.lines().all(|line| line.contains("company_12")));
    let none = run(&[
        "query",
        log,
        "--company",
        "company_12",
        "--to",
        "2020-01-01T00:00:00Z",
    ]);
    assert_eq!(text(&none.stdout).lines().count(), 1, "a head and no row");
    let counted = run(&["stats", log, "--json"]);
    let counted: Value = serde_json::from_slice(&counted.stdout).unwrap();
    assert_eq!(counted["decisions"]["lifecycle_changed"], 8);
    let last = run(&["tail", log, "-n", "2", "--company", "company_34"]);
    assert_eq!(text(&last.stdout).lines().count(), 2);
}

#[tokio::test]
async fn whoever_reads_the_log_is_recorded_in_it() {
    let (directory, log) = log().await;
    let path = log.to_str().unwrap();
    let out = directory.path().join("x.tar");
    let out = out.to_str().unwrap();
    let company = ["export", path, "--company", "company_12", "-o", out];
    for arguments in [
        &["query", path][..],
        &["--actor", "bob", "tail", path],
        &["stats", path],
        &["report", path, "-o", out],
        &company,
        &["prove", path, "1", "-o", out],
    ] {
        let ran = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .env("USER", "ada")
            .arg("audit")
            .args(arguments)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", text(&ran.stderr));
    }
    assert!(run(&["verify", path]).status.success());
    assert!(run(&["query", path, "--unrecorded"]).status.success());
    // The writer takes the word up when it starts.
    let (_sink, writer) = AuditSink::builder(FileLog::open(&log).unwrap())
        .spawn()
        .unwrap();
    assert_eq!(writer.shutdown(Duration::from_secs(10)).await.lost, 0);
    let asked = run(&[
        "query",
        path,
        "--type",
        "audit.read",
        "--json",
        "--unrecorded",
    ]);
    let mut reads: Vec<String> = text(&asked.stdout)
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let told = &line["metadata"];
            format!("{} {}", told["actor"], told["purpose"]).replace('"', "")
        })
        .collect();
    reads.sort();
    let expected = [
        "ada export of company company_12",
        "ada prove 1",
        "ada query",
        "ada report",
        "ada stats",
        "bob tail",
    ];
    assert_eq!(reads, expected);
    fs::remove_dir_all(log.join("reads")).unwrap();
    fs::write(log.join("reads"), "no directory").unwrap();
    let refused = run(&["query", path]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--unrecorded"));
    assert!(refused.stdout.is_empty(), "nothing is shown");
}

#[tokio::test]
async fn an_archive_is_checked_with_nothing_but_what_is_in_it() {
    let (directory, log) = log().await;
    let archive = directory.path().join("company_12.tar");
    let log = log.to_str().unwrap();
    let out = archive.to_str().unwrap();
    let exported = run(&["export", log, "--company", "company_12", "-o", out]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let bytes = fs::read(&archive).unwrap();
    assert!(
        !text_of(&bytes).contains("company_34"),
        "another company's event is shown"
    );

    let opened = directory.path().join("opened");
    tar::Archive::new(&bytes[..]).unpack(&opened).unwrap();
    let python = Command::new("python3").arg("--version").output();
    assert!(python.is_ok(), "this test needs python3");
    let events: Vec<_> = fs::read_dir(opened.join("events")).unwrap().collect();
    assert_eq!(events.len(), 4);
    for event in events {
        let event = event.unwrap().path();
        let number = event.file_stem().unwrap().to_str().unwrap();
        let proof = opened.join(format!("proofs/{number}.tlog-proof"));
        let checked = Command::new("python3")
            .args([
                opened.join("verify.py"),
                "proof".into(),
                opened.join("vkey"),
            ])
            .args([&event, &proof])
            .output()
            .unwrap();
        assert!(checked.status.success(), "{}", text(&checked.stderr));
    }
    // The whole log, by the independent verifier too.
    let whole = |log: &Path| {
        let script = opened.join("verify.py");
        let checked = Command::new("python3")
            .arg(script)
            .arg("log")
            .arg(log)
            .output();
        checked.unwrap().status.success()
    };
    assert!(whole(Path::new(log)));
    assert!(whole(&vectors().join("good")));
    assert!(!whole(&vectors().join("leaf-changed")));
    assert!(!whole(&vectors().join("truncated")));
    assert!(!whole(&vectors().join("bad-signature")));
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_key_is_made_once_and_its_secret_half_is_told_to_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    let make = || run(&["keygen", "example.com/audit", "-o", key.to_str().unwrap()]);
    let made = make();
    assert!(text(&made.stdout).starts_with("example.com/audit+"));
    let secret = fs::read_to_string(&key).unwrap();
    let secret = secret.trim().splitn(5, '+').nth(4).unwrap();
    assert!(!text(&made.stdout).contains(secret) && !text(&made.stderr).contains(secret));
    assert_eq!(make().status.code(), Some(1));
}
