//! The leak drill: keys that got out are found, and ended.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

struct World {
    directory: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        for company in ["company_12", "company_34"] {
            assert!(
                world
                    .run(&["companies", "create", company])
                    .status
                    .success()
            );
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        let store = format!("sqlite:{}", self.path("keys.db").display());
        command.env("COUNTERSIGN_STORE", store).args(arguments);
        command.args(["--actor", "ada"]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn issue(&self, company: &str) -> String {
        let scope = ["--scope", "accounts:read", "--expires", "90d"];
        let issued = self.run(&[&["keys", "issue", "--company", company], &scope[..]].concat());
        assert!(issued.status.success());
        text(&issued.stdout).trim().to_owned()
    }

    fn scan(&self, path: &Path) -> (Option<i32>, Vec<Value>) {
        let path = path.to_str().unwrap();
        let scanned = self.run(&["keys", "scan", path, "--json"]);
        let found = serde_json::from_slice(&scanned.stdout).unwrap();
        (scanned.status.code(), found)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn prefix(key: &str) -> &str {
    key.rsplit_once('_').unwrap().0
}

#[test]
fn keys_in_a_tree_are_found_and_said_to_work_or_not() {
    let world = World::new();
    let (first, second) = (world.issue("company_12"), world.issue("company_34"));
    let tree = world.path("tree/deep");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("config.yml"), format!("a: 1\nkey: {first}\n")).unwrap();
    // Beyond the first window, and cut by its end.
    let mut big = vec![b'x'; (1 << 20) - 20];
    big.push(b' ');
    big.extend(second.as_bytes());
    fs::write(tree.join("dump.bin"), big).unwrap();
    let mut mistyped = first.clone().into_bytes();
    *mistyped.last_mut().unwrap() ^= 1;
    fs::write(tree.join("mistyped"), mistyped).unwrap();

    let (code, found) = world.scan(&world.path("tree"));
    assert_eq!((code, found.len()), (Some(1), 2));
    assert!(
        found
            .iter()
            .all(|key| key["works"] == true && key["status"] == "active")
    );
    let yml = found
        .iter()
        .find(|key| key["prefix"] == prefix(&first))
        .unwrap();
    assert_eq!(yml["line"], 2);

    let listed = format!("\n{}\n{}\n", prefix(&first), prefix(&second));
    fs::write(world.path("leaked"), listed).unwrap();
    let leaked = world.path("leaked");
    let end = [
        "keys",
        "revoke-all",
        "--reason",
        "suspected_leakage",
        "--prefixes",
    ];
    let end = [&end[..], &[leaked.to_str().unwrap()]].concat();
    assert_eq!(world.run(&end).status.code(), Some(1), "it asks for --yes");
    let ended = world.run(&[&end[..], &["--yes"]].concat());
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let (code, found) = world.scan(&world.path("tree"));
    assert_eq!(code, Some(0));
    assert!(
        found
            .iter()
            .all(|key| key["works"] == false && key["status"] == "revoked")
    );
}

#[test]
fn a_scan_repeats_no_secret_and_needs_no_store() {
    let world = World::new();
    let key = world.issue("company_12");
    fs::write(world.path("note"), &key).unwrap();
    let scanned = world
        .command(&["keys", "scan", world.path("note").to_str().unwrap()])
        .env_remove("COUNTERSIGN_STORE")
        .output()
        .unwrap();
    assert_eq!(scanned.status.code(), Some(1));
    let said = text(&scanned.stdout) + &text(&scanned.stderr);
    assert!(
        said.contains(prefix(&key)) && said.contains("unchecked"),
        "{said}"
    );
    assert!(!said.contains(key.rsplit_once('_').unwrap().1));
    assert_eq!(
        world.run(&["keys", "scan", "absent"]).status.code(),
        Some(2)
    );
}

#[test]
fn a_company_s_keys_end_together_and_nobody_else_s() {
    let world = World::new();
    let keys = [world.issue("company_12"), world.issue("company_12")];
    let other = world.issue("company_34");
    let end = "keys revoke-all --company company_12 --reason suspected_leakage --yes";
    let end: Vec<&str> = end.split(' ').collect();
    assert!(world.run(&end).status.success());
    let status = |key: &str| {
        let shown = world.run(&["keys", "show", prefix(key), "--json"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        shown["status"].as_str().unwrap().to_owned()
    };
    assert!(keys.iter().all(|key| status(key) == "revoked"));
    assert_eq!(status(&other), "active");
    assert!(
        world.run(&end).status.success(),
        "there is nothing left to do"
    );
}

#[test]
fn a_list_that_names_an_unknown_key_ends_none() {
    let world = World::new();
    let key = world.issue("company_12");
    for wrong in ["cs_live_000000000000", "nonsense", key.as_str()] {
        let mut ending = world
            .command(&["keys", "revoke-all", "--prefixes", "-", "--yes"])
            .args(["--reason", "suspected_leakage"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let list = format!("{}\n{wrong}\n", prefix(&key));
        ending
            .stdin
            .take()
            .unwrap()
            .write_all(list.as_bytes())
            .unwrap();
        let ended = ending.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        assert!(!text(&ended.stderr).contains(key.rsplit_once('_').unwrap().1));
    }
    let shown = world.run(&["keys", "show", prefix(&key)]);
    assert!(text(&shown.stdout).contains("active"));
}

#[test]
fn the_rule_finds_what_was_issued() {
    let world = World::new();
    let key = world.issue("company_12");
    let rule = world.run(&["keys", "scan-rule"]);
    let rule: Value = serde_json::from_slice(&rule.stdout).unwrap();
    let expression = regex::Regex::new(rule["regex"].as_str().unwrap()).unwrap();
    assert!(expression.is_match(&format!("token={key};")));
    assert!(!expression.is_match(prefix(&key)));
    let bad = world.run(&["keys", "scan-rule", "--brand", "A b"]);
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn peppers_come_from_a_file_and_are_told_to_nobody() {
    let world = World::new();
    let peppers = world.path("peppers");
    fs::write(
        &peppers,
        "2:00112233445566778899aabbccddeeff\n1:ffeeddccbbaa99887766554433221100\n",
    )
    .unwrap();
    let peppers = peppers.to_str().unwrap();
    let issue = "keys issue --company company_12 --scope accounts:read --expires 1d --peppers";
    let issue: Vec<&str> = issue.split(' ').chain([peppers]).collect();
    let key = text(&world.run(&issue).stdout).trim().to_owned();
    fs::write(world.path("note"), &key).unwrap();
    let note = world.path("note");
    let scan = [
        "keys",
        "scan",
        note.to_str().unwrap(),
        "--json",
        "--peppers",
        peppers,
    ];
    let found: Value = serde_json::from_slice(&world.run(&scan).stdout).unwrap();
    assert_eq!(found[0]["works"], true);
    fs::write(world.path("short"), "1:00ff\n").unwrap();
    let short = world.path("short");
    let refused = world.run(&[&issue[..issue.len() - 1], &[short.to_str().unwrap()]].concat());
    assert_eq!(refused.status.code(), Some(2));
    assert!(!text(&refused.stderr).contains("00ff"));
}
