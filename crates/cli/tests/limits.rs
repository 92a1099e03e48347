//! What the program refuses, what it never shows, and what it says instead.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn command(store: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .env_remove("COUNTERSIGN_STORE")
        .arg("--store")
        .arg(format!("sqlite:{}", store.display()))
        .args(["--actor", "ada"])
        .args(arguments.split(' '));
    command
}

fn run(store: &Path, arguments: &str) -> Output {
    command(store, arguments).output().unwrap()
}

fn done(store: &Path, arguments: &str) -> String {
    let output = run(store, arguments);
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(store: &Path, arguments: &str, code: i32, says: &str) {
    let output = run(store, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
    assert!(said.contains(says), "{arguments}: {said}");
    assert!(output.stdout.is_empty(), "{arguments}: {output:?}");
}

fn json(store: &Path, arguments: &str) -> Value {
    serde_json::from_str(&done(store, arguments)).unwrap()
}

const ISSUE: &str = "keys issue --company company_12 --scope accounts:read --expires 90d";

#[test]
fn a_raw_key_is_written_once_and_kept_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("keys.db");
    done(&store, "companies create company_12");
    let issued = run(&store, ISSUE);
    let raw = String::from_utf8(issued.stdout).unwrap();
    let (prefix, secret) = raw.trim_end().rsplit_once('_').unwrap();
    assert_eq!(raw, format!("{prefix}_{secret}\n"), "alone on its line");
    assert!(!String::from_utf8(issued.stderr).unwrap().contains(secret));
    for arguments in [
        format!("keys show {prefix}"),
        "keys list --company company_12".into(),
    ] {
        for json in ["", " --json"] {
            let shown = done(&store, &format!("{arguments}{json}"));
            assert!(shown.contains(prefix), "{shown}");
            assert!(
                !shown.contains(secret) && !shown.contains("digest"),
                "{shown}"
            );
            assert!(!shown.contains("sha256"), "{shown}");
        }
    }
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!found, "a secret is in the store");
    }
    let pasted = run(&store, &format!("keys show {}", raw.trim_end()));
    assert_eq!(pasted.status.code(), Some(1));
    let said = String::from_utf8(pasted.stderr).unwrap();
    assert!(
        said.contains("never the whole key") && !said.contains(secret),
        "{said}"
    );
}

#[test]
fn issuing_and_rotating_in_json_tell_the_same_fields() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("keys.db");
    done(&store, "companies create company_12");
    let issued = json(
        &store,
        &format!("--json {ISSUE} --brand acme --environment test"),
    );
    let id = issued["id"].as_str().unwrap();
    let rotated = json(&store, &format!("keys rotate {id} --json"));
    for key in [&issued, &rotated] {
        let mut names: Vec<_> = key
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        let fields = [
            "company",
            "environment",
            "expires_at",
            "id",
            "key",
            "prefix",
            "scopes",
            "status",
        ];
        assert_eq!(names, fields);
        assert!(
            key["key"].as_str().unwrap().starts_with("acme_test_"),
            "the brand stays"
        );
    }
    let old = json(&store, &format!("keys show {id} --json"));
    assert_eq!(old["status"], "rotated");
    assert_eq!(old["successor"], rotated["id"]);
    assert!(old["accepted_until"].is_string());
}

#[test]
fn a_key_s_life_from_pending_to_revoked() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("keys.db");
    done(&store, "companies create company_12");
    let issued = json(
        &store,
        &format!("{ISSUE} --pending --network 10.1.2.3/8 --label ledger --json"),
    );
    let prefix = issued["prefix"].as_str().unwrap();
    let key = |verb: &str| json(&store, &format!("keys {verb} {prefix} --json"));
    assert_eq!(key("show")["networks"][0], "10.0.0.0/8");
    assert_eq!(key("activate")["status"], "active");
    assert_eq!(key("suspend")["status"], "suspended");
    refused(
        &store,
        &format!("keys rotate {prefix}"),
        1,
        "issue a new one",
    );
    assert_eq!(key("reactivate")["status"], "active");
    assert_eq!(
        key("set-scopes --scope payments:create")["scopes"][0],
        "payments:create"
    );
    refused(&store, &format!("keys set-networks {prefix}"), 2, "--any");
    assert_eq!(
        key("set-networks --any")["networks"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    refused(
        &store,
        &format!("keys set-subsidiaries {prefix} --company company_34"),
        1,
        "company_34",
    );
    done(&store, "companies create company_34");
    assert_eq!(
        key("set-subsidiaries --company company_34")["subsidiaries"][0],
        "company_34"
    );
    assert!(key("set-subsidiaries --none").get("subsidiaries").is_none());
    let revoke = format!("keys revoke {prefix} --reason company_request");
    refused(&store, &revoke, 1, "--yes");
    assert_eq!(key("show")["status"], "active", "it was not revoked");
    let revoked = json(&store, &format!("{revoke} --yes --json"));
    assert_eq!(
        (&revoked["status"], &revoked["reason"]),
        (&"revoked".into(), &"company_request".into())
    );
    refused(&store, &format!("{revoke} --yes"), 1, "already");
}

#[test]
fn a_company_is_suspended_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("keys.db");
    refused(&store, "companies show company_12", 1, "companies create");
    assert!(!store.exists(), "a mistyped name makes no store");
    done(&store, "companies create company_12");
    refused(&store, "companies create company_12", 1, "exists already");
    refused(
        &store,
        "keys list --company company_99",
        1,
        "companies create company_99",
    );
    let company = |verb: &str| json(&store, &format!("companies {verb} company_12 --json"));
    assert_eq!(company("suspend")["status"], "suspended");
    refused(&store, "companies suspend company_12", 1, "already");
    assert_eq!(company("reactivate")["status"], "active");
    assert!(done(&store, "companies show company_12").contains("active"));
}

#[test]
fn errors_say_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("keys.db");
    done(&store, "companies create company_12");
    let unknown = "keys show cs_live_000000000000";
    refused(&store, unknown, 1, "keys list --company");
    refused(&store, &ISSUE.replace("90d", "500d"), 1, "days at most");
    refused(&store, &ISSUE.replace("90d", "soon"), 2, "RFC 3339");
    refused(
        &store,
        &ISSUE.replace("accounts:read", "accounts"),
        2,
        "accounts:read",
    );
    refused(&store, &format!("{ISSUE} --brand a_b"), 2, "brand");
    let text = directory.path().join("notes.txt");
    std::fs::write(
        &text,
        "these are notes, and long enough to be read as a header",
    )
    .unwrap();
    refused(&text, unknown, 2, "not a key store");
    let mut nowhere = Command::new(env!("CARGO_BIN_EXE_countersign"));
    nowhere
        .env_remove("COUNTERSIGN_STORE")
        .args(["companies", "show", "company_12"]);
    let nowhere = nowhere.args(["--actor", "ada"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("COUNTERSIGN_STORE"));
}

#[test]
fn completions_are_a_script() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    let output = command.args(["completions", "bash"]).output().unwrap();
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("set-networks")
    );
}
