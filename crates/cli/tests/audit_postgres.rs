//! A log in PostgreSQL from the command line: verified, asked, proved, handed over and copied.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use countersign::postgres::PostgresOptions;
use countersign::postgres::audit::PostgresLog;
use countersign::{
    AuditEvent, AuditSink, Clock, FileSigner, LifecycleEvent, LifecycleKind, SystemClock,
};
use serde_json::{Value, json};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .env("USER", "ada")
        .arg("audit")
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a directory in which a copy is made stands there still.
fn left_behind(directory: impl AsRef<Path>) -> bool {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.any(|name| name.starts_with("countersign-"))
}

async fn write(options: PostgresOptions, signer: FileSigner, events: usize) {
    let log = PostgresLog::options(options).origin("example.com/cli");
    let log = log.signer(signer).open().await.unwrap();
    let sink = AuditSink::builder(log).heartbeat(Some(Duration::from_millis(100)));
    let (sink, writer) = sink.spawn().unwrap();
    for number in 0..events {
        let event: LifecycleEvent = serde_json::from_value(json!({
            "id": format!("01J0000000000000000000000{number}"),
            "time": "2026-09-21T14:13:20.000000Z",
            "kind": LifecycleKind::CompanySuspended,
            "actor_type": "operator",
            "actor": "ada",
            "company": if number % 2 == 0 { "company_12" } else { "company_34" },
        }))
        .unwrap();
        sink.append_durable(AuditEvent::from(event)).await.unwrap();
    }
    // Word of reads is taken up after a heartbeat.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(writer.shutdown(Duration::from_secs(20)).await.lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_log_on_a_server_is_read_like_one_in_a_directory() {
    let server = std::env::var("COUNTERSIGN_TEST_POSTGRES").unwrap();
    let address = format!("{server}?schema=cli_{}", std::process::id());
    let options: PostgresOptions = address.parse().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let none = run(&["verify", &address]);
    assert_eq!(none.status.code(), Some(2));
    assert!(
        text(&none.stderr).contains("there is no audit log"),
        "{none:?}"
    );
    let signer = || match FileSigner::open(place("key")) {
        Ok(signer) => signer,
        Err(_) => FileSigner::create(place("key"), "example.com/cli").unwrap(),
    };
    write(options.clone(), signer(), 8).await;

    let verified = run(&["verify", &address, "--json"]);
    let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(
        (&verified["answer"], &verified["origin"]),
        (&json!("ok"), &json!("example.com/cli"))
    );
    let asked = run(&["query", &address, "--company", "company_12", "--json"]);
    assert_eq!(
        text(&asked.stdout).lines().count(),
        4,
        "{}",
        text(&asked.stderr)
    );
    assert!(run(&["stats", &address]).status.success());
    assert!(
        run(&["prove", &address, "3", "-o", &place("3")])
            .status
            .success()
    );
    let cut = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_countersign"))
        .args(["audit", "pull", &address, &place("copy"), "--unrecorded"])
        .output();
    assert_eq!(
        cut.unwrap().status.code(),
        Some(2),
        "no file can be written"
    );
    assert!(!directory.path().join("copy").exists());
    assert!(!left_behind(directory.path()));
    assert!(run(&["pull", &address, &place("copy")]).status.success());
    let copied = run(&["verify", &place("copy")]);
    assert!(copied.status.success(), "{}", text(&copied.stdout));
    let empty = place("empty");
    std::fs::create_dir(&empty).unwrap();
    let within = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["audit", "pull", &address, ".", "--unrecorded"])
        .current_dir(&empty)
        .output();
    assert!(within.unwrap().status.success());
    assert!(run(&["verify", &empty]).status.success());
    assert!(!left_behind(&empty));
    let vkey = place("copy/vkey");
    let event = place("3.jsonl");
    let proof = [
        "check-proof",
        "--vkey",
        &vkey,
        "--event",
        &event,
        "--proof",
        &place("3"),
    ];
    assert!(run(&proof).status.success());
    let exported = run(&[
        "export",
        &address,
        "--company",
        "company_34",
        "-o",
        &place("x.tar"),
    ]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert_eq!(
        run(&["pull", &address, &place("copy")]).status.code(),
        Some(2),
        "not empty"
    );
    assert_eq!(run(&["tail", "-f", &address]).status.code(), Some(2));
    assert!(run(&["tail", &address, "--unrecorded"]).status.success());

    // Whoever read it stands in it.
    write(options, signer(), 0).await;
    let reads = run(&[
        "query",
        &address,
        "--type",
        "audit.read",
        "--json",
        "--unrecorded",
    ]);
    let reads = text(&reads.stdout);
    for purpose in [
        "query of company company_12",
        "stats",
        "prove 3",
        "pull",
        "export of company company_34",
    ] {
        let told =
            |line: &&str| line.contains(&format!("\"{purpose}\"")) && line.contains("\"ada\"");
        assert!(reads.lines().any(|line| told(&line)), "{purpose}: {reads}");
    }
    let kept = place("copy/checkpoint");
    let against = run(&["verify", &address, "--against", &kept]);
    assert_eq!(against.status.code(), Some(0), "{}", text(&against.stdout));
    // Old lines go, and the log is what it was, also against what was kept. Nobody signs any more,
    // and so no event tells of it.
    let now = SystemClock.now().wall.to_string();
    let remove = ["remove", &address, "--before", &now];
    let asked = run(&remove);
    assert_eq!(asked.status.code(), Some(1));
    assert!(text(&asked.stderr).contains("--yes"), "{asked:?}");
    let removed = run(&[&remove[..], &["--yes"]].concat());
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    let against = run(&["verify", &address, "--against", &kept]);
    let answer = text(&against.stdout);
    assert_eq!(against.status.code(), Some(6), "{answer}");
    assert!(answer.contains("removal not told"), "{answer}");
    assert!(answer.contains("of them only hashes"), "{answer}");
    assert!(
        run(&["prove", &address, "3", "-o", &place("3")])
            .status
            .success()
    );
    assert!(run(&proof).status.success(), "by the line that was kept");
    let directory = run(&["remove", &place("copy"), "--before", remove[3], "--yes"]);
    assert_eq!(directory.status.code(), Some(2));
    assert!(text(&directory.stderr).contains("keep_for"));
    let wrong = run(&["verify", &server.replace("postgres@", "nobody:hunter2@")]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!text(&wrong.stderr).contains("hunter2"));
}
