//! The program as an operator uses it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn run(store: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .arg("--store")
        .arg(format!("sqlite:{}", store.display()))
        .args(["--actor", "ada"])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_key_from_issue_to_revocation() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("keys.db");
    let issue = "keys issue --company company_12 --scope accounts:read --expires 90d";
    let issue: Vec<&str> = issue.split(' ').collect();

    let early = run(&store, &issue);
    assert_eq!(early.status.code(), Some(1), "the company is not known yet");
    assert!(early.stdout.is_empty());
    assert!(
        run(&store, &["companies", "create", "company_12"])
            .status
            .success()
    );
    let twice = run(&store, &["companies", "create", "company_12"]);
    assert_eq!(twice.status.code(), Some(1));

    let issued = run(&store, &issue);
    assert!(issued.status.success());
    let raw = text(&issued.stdout);
    assert_eq!(
        raw.lines().count(),
        1,
        "the raw key is alone on standard output"
    );
    let (prefix, secret) = raw.trim().rsplit_once('_').unwrap();
    assert!(text(&issued.stderr).contains(prefix));
    assert!(!text(&issued.stderr).contains(secret));

    let whole = run(&store, &["keys", "show", raw.trim()]);
    assert_eq!(whole.status.code(), Some(1));
    assert!(
        !text(&whole.stderr).contains(secret),
        "a message repeats the secret"
    );

    let shown = run(&store, &["--json", "keys", "show", prefix]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["status"], "active");
    assert!(shown.get("key").is_none() && shown.get("digest").is_none());
    let id = shown["id"].as_str().unwrap();

    let rotated = run(&store, &["--json", "keys", "rotate", id, "--overlap", "1h"]);
    let rotated: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    assert!(rotated["key"].as_str().unwrap().starts_with("cs_live_"));

    let revoke = ["keys", "revoke", id, "--reason", "suspected_leakage"];
    let careless = run(&store, &revoke);
    assert_eq!(careless.status.code(), Some(1));
    assert!(text(&careless.stderr).contains("--yes"));
    let revoked = run(&store, &[&revoke[..], &["--yes"]].concat());
    assert!(revoked.status.success());
    let back = run(&store, &["keys", "reactivate", id]);
    assert_eq!(
        back.status.code(),
        Some(1),
        "a revoked key never comes back"
    );

    let list = text(&run(&store, &["keys", "list", "--company", "company_12"]).stdout);
    assert_eq!(list.lines().count(), 3, "a heading and two keys: {list}");
    assert!(list.contains("revoked") && list.contains("active"));
    assert!(!list.contains(secret));
}

#[test]
fn what_can_t_be_done_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("nowhere/keys.db");
    let output = run(&store, &["companies", "show", "company_12"]);
    assert_eq!(output.status.code(), Some(2));
    let store = directory.path().join("keys.db");
    let unknown = run(&store, &["keys", "show", "cs_live_000000000000"]);
    assert_eq!(unknown.status.code(), Some(1));
    let past = "keys issue --company c1 --scope a:b --expires 2001-01-01T00:00:00Z";
    assert!(run(&store, &["companies", "create", "c1"]).status.success());
    let past = run(&store, &past.split(' ').collect::<Vec<_>>());
    assert_eq!(past.status.code(), Some(1));
    assert!(text(&past.stderr).contains("in the past"));
}
