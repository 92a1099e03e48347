//! The audit log from the command line: verified, asked, proved and handed over.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use countersign::{
    AuditEvent, AuditLayer, AuditSink, CompanyId, Edge, Environment, FileLog, Identity,
    LifecycleEvent, LifecycleKind, PeerAddr, ScopeSet, SourceForm, SourceKey,
};
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

/// Runs what the README of an archive tells its reader to run, word by word, with nothing of ours
/// in reach.
#[tokio::test]
async fn the_readme_of_an_archive_is_all_that_its_reader_needs() {
    let (directory, log) = log().await;
    let archive = directory.path().join("x.tar");
    let (path, out) = (log.to_str().unwrap(), archive.to_str().unwrap());
    let exported = run(&["export", path, "--company", "company_34", "-o", out]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let opened = directory.path().join("opened");
    let bytes = fs::read(&archive).unwrap();
    tar::Archive::new(&bytes[..]).unpack(&opened).unwrap();
    fs::remove_dir_all(&log).unwrap();
    let readme = fs::read_to_string(opened.join("README.txt")).unwrap();
    let commands: Vec<_> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .collect();
    assert_eq!(commands.len(), 2, "{readme}");
    let follow = |command: &str| {
        Command::new("sh")
            .args(["-c", command])
            .current_dir(&opened)
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/local/bin")
            .output()
            .unwrap()
    };
    for command in &commands {
        let followed = follow(command);
        assert!(text(&followed.stdout).starts_with("ok"), "{command}");
        assert!(followed.status.success(), "{command}");
    }
    let file = |kind: usize| commands[0].split(' ').rev().nth(kind).unwrap();
    let other = |kind: &str| {
        let mut all: Vec<_> = fs::read_dir(opened.join(kind)).unwrap().collect();
        all.sort_by_key(|entry| entry.as_ref().unwrap().path());
        all.pop().unwrap().unwrap().path()
    };
    let spoilt = [
        (
            file(1),
            fs::read(opened.join(file(1))).unwrap(),
            "company_34",
            "company_35",
        ),
        (
            file(0),
            fs::read(opened.join(file(0))).unwrap(),
            "example.com/test\n",
            "example.com/test\n1",
        ),
        ("vkey", fs::read(opened.join("vkey")).unwrap(), "+A", "+B"),
        (file(0), fs::read(other("proofs")).unwrap(), "", ""),
        (file(1), fs::read(other("events")).unwrap(), "", ""),
    ];
    for (name, content, from, to) in spoilt {
        let before = fs::read(opened.join(name)).unwrap();
        let changed = text(&content).replacen(from, to, 1);
        assert_ne!(changed.as_bytes(), before, "{name}");
        fs::write(opened.join(name), changed).unwrap();
        for command in &commands {
            let followed = follow(command);
            assert!(!followed.status.success(), "{command}: {name}");
            assert!(!text(&followed.stdout).contains("ok"), "{command}: {name}");
        }
        fs::write(opened.join(name), before).unwrap();
    }
    assert!(
        follow(commands[1]).status.success(),
        "put back it holds again"
    );
}

#[tokio::test]
async fn a_company_is_not_given_what_another_one_tried() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit");
    let log = FileLog::options(&path).open().unwrap();
    let (sink, writer) = AuditSink::builder(log).spawn().unwrap();
    let key = directory.path().join("source.key");
    let form = SourceForm::KeyedHash(SourceKey::open(&key).unwrap());
    let service = tower::ServiceBuilder::new()
        .layer(AuditLayer::new(sink).with_source_form(form))
        .service_fn(|mut request: http::Request<()>| async move {
            let entered = Edge::default().enter(&mut request);
            let context = entered.context(&request);
            let company: CompanyId = "company_12".parse().unwrap();
            let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
            let identity = Identity::new(company, Environment::Live, scopes);
            context.identify(identity).unwrap();
            context.claim_company("company_34".parse().unwrap());
            let body = http_body_util::Full::<bytes::Bytes>::default();
            Ok::<_, std::convert::Infallible>(http::Response::new(body))
        });
    let mut request = http::Request::new(());
    let peer: std::net::SocketAddr = "192.0.2.7:4711".parse().unwrap();
    request.extensions_mut().insert(PeerAddr(peer));
    tower::ServiceExt::oneshot(service, request).await.unwrap();
    assert_eq!(writer.shutdown(Duration::from_secs(10)).await.lost, 0);
    let path = path.to_str().unwrap();
    let exported = |company: &str| {
        let out = directory.path().join(format!("{company}.tar"));
        let out = out.to_str().unwrap();
        let exported = run(&["export", path, "--company", company, "-o", out]);
        assert!(exported.status.success(), "{}", text(&exported.stderr));
        text_of(&fs::read(out).unwrap())
    };
    assert!(exported("company_12").contains("claimed_company"));
    assert!(!exported("company_34").contains("company_12"));
    let asked = |more: &[&str]| {
        let asked = run(&[&["query", path, "--json"][..], more].concat());
        (asked.status.code(), text(&asked.stdout).lines().count())
    };
    assert_eq!(
        asked(&["--company", "company_34"]),
        (Some(0), 1),
        "an operator sees it"
    );
    let by_source = |file: &str| asked(&["--source", "192.0.2.7", "--source-key", file]);
    assert_eq!(by_source(key.to_str().unwrap()), (Some(0), 1));
    assert_eq!(
        asked(&["--source", "192.0.2.7"]),
        (Some(0), 0),
        "not without the key"
    );
    // The key is destroyed: nobody finds the address any longer, and the log verifies.
    fs::remove_file(&key).unwrap();
    assert_eq!(by_source(key.to_str().unwrap()), (Some(2), 0));
    assert!(!key.exists(), "asking makes no new key");
    drop(SourceKey::open(&key).unwrap());
    assert_eq!(by_source(key.to_str().unwrap()), (Some(0), 0));
    assert!(run(&["verify", path]).status.success());
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
