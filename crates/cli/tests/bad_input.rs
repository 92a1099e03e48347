//! What can't be is refused, with what to do instead, and nothing of it is written.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use countersign::KeyStore;
use countersign::sqlite::SqliteKeyStore;
use support::{Desk, command};

const ISSUE: &str = "keys issue --company company_12 --scope accounts:read --expires 90d";

/// Everything that the store holds: its companies, its keys, and what the audit log will be told.
async fn contents(desk: &Desk) -> String {
    let store = SqliteKeyStore::open(desk.store()).unwrap();
    let companies = store.companies(None, 100).await.unwrap();
    let mut all = format!("{companies:?}");
    for company in &companies {
        all += &format!("{:?}", store.list(&company.id, None, 100).await.unwrap());
    }
    all += &format!("{:?}", store.pending_events(1000).await.unwrap());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_with_what_to_do_and_nothing_is_written() {
    let desk = Desk::new();
    let contract = desk.write("contract.yaml", support::CONTRACT);
    let key = desk.json(ISSUE);
    let prefix = key["prefix"].as_str().unwrap();
    let before = contents(&desk).await;
    let known = format!("--contract {}", contract.display());
    for (arguments, code, says) in [
        (
            ISSUE.replace("accounts:read", "accounts"),
            2,
            "accounts:read",
        ),
        (
            ISSUE.replace("accounts:read", "accounts:*"),
            2,
            "accounts:read",
        ),
        (
            format!("{known} {}", ISSUE.replace(":read", ":close")),
            1,
            "no endpoint asks for the scope accounts:close; known are accounts:read, ",
        ),
        (
            format!("{known} keys set-scopes {prefix} --scope tokens:manage"),
            1,
            "known are accounts:read",
        ),
        (
            ISSUE.replace("90d", "2001-01-01T00:00:00Z"),
            1,
            "a time to come",
        ),
        (ISSUE.replace("90d", "0d"), 1, "a time to come"),
        (ISSUE.replace("90d", "401d"), 1, "400 days at most"),
        (format!("--max-lifetime 30d {ISSUE}"), 1, "30 days at most"),
        (ISSUE.replace("90d", "tomorrow"), 2, "RFC 3339"),
        (
            ISSUE.replace("company_12", "company_99"),
            1,
            "companies create company_99",
        ),
        (ISSUE.replace("company_12", "com/pany"), 2, "company"),
        (
            format!("{ISSUE} --label {}", "x".repeat(101)),
            1,
            "100 printable",
        ),
        (
            format!("{ISSUE} --network 203.0.113.0/33"),
            2,
            "203.0.113.0/24",
        ),
        (
            format!("keys revoke {prefix} --yes --reason because"),
            2,
            "suspected_leakage",
        ),
        (format!("keys revoke {prefix} --yes"), 2, "--reason"),
        (
            "keys revoke-all --company company_99 --yes --reason company_request".to_owned(),
            1,
            "companies create company_99",
        ),
        (
            format!("keys rotate {prefix} --overlap 31d"),
            1,
            "hours at most",
        ),
        (format!("keys rotate {prefix} --overlap 0h"), 1, "--yes"),
        (
            format!("keys set-limits {prefix} --limit key=5"),
            2,
            "key=200:50/s",
        ),
        (
            format!("keys set-limits {prefix} --limit key=5:5/s --limit key=6:6/s"),
            2,
            "the policy key stands there twice",
        ),
        (
            format!("keys set-limits {prefix} --limit key\u{1b}[2J=5:5/s"),
            2,
            "a-z 0-9 -",
        ),
        (
            format!("keys set-networks {prefix} --network ::ffff:127.0.0.0/95"),
            2,
            "203.0.113.0/24",
        ),
        (
            format!("keys set-subsidiaries {prefix} --company company_99"),
            1,
            "company_99",
        ),
        (
            "companies suspend company_99".to_owned(),
            1,
            "companies create",
        ),
    ] {
        let said = desk.refused(&arguments, code);
        assert!(said.contains(says), "{arguments}: {said}");
        assert_eq!(contents(&desk).await, before, "{arguments}");
    }
    desk.json(&format!("{known} {ISSUE}"));
    let missing = desk.refused(&format!("--contract nowhere {ISSUE}"), 2);
    assert!(missing.contains("nowhere"), "{missing}");
    let odd = desk.write("odd.yaml", "openapi: 3.1.0\npaths: nothing\n");
    let odd = desk.refused(&format!("--contract {} {ISSUE}", odd.display()), 1);
    assert!(odd.contains("no contract"), "{odd}");
}

#[test]
fn a_mistyped_store_is_not_made() {
    let desk = Desk::empty();
    let prefix = "cs_live_000000000000";
    for reading in [
        "companies list".to_owned(),
        "companies show company_12".to_owned(),
        "companies suspend company_12".to_owned(),
        "keys list --company company_12".to_owned(),
        format!("keys show {prefix}"),
        format!("keys rotate {prefix}"),
        format!("keys revoke {prefix} --reason company_request --yes"),
        format!("keys scan {}", desk.path("").display()),
        "keys revoke-all --company company_12 --reason company_request --yes".to_owned(),
        "review".to_owned(),
        ISSUE.to_owned(),
    ] {
        let said = desk.refused(&reading, 1);
        assert!(said.contains("look at --store"), "{reading}: {said}");
        assert_eq!(
            std::fs::read_dir(desk.path("")).unwrap().count(),
            0,
            "{reading}"
        );
    }
}

#[test]
fn a_store_of_a_newer_version_and_another_program_s_are_left_alone() {
    let desk = Desk::new();
    let newer = desk.path("newer.db");
    std::fs::copy(desk.store(), &newer).unwrap();
    let raw = rusqlite::Connection::open(&newer).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    let foreign = desk.path("foreign.db");
    let raw = rusqlite::Connection::open(&foreign).unwrap();
    raw.execute_batch("CREATE TABLE invoices (id)").unwrap();
    drop(raw);
    for (path, says) in [
        (&newer, "a newer countersign wrote it"),
        (&foreign, "it is not a key store"),
    ] {
        let before = std::fs::read(path).unwrap();
        for arguments in [
            "companies create company_34",
            "keys list --company company_12",
            "review",
            ISSUE,
        ] {
            let output = command(path, arguments).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
            assert!(said.contains(says), "{arguments}: {said}");
            assert_eq!(std::fs::read(path).unwrap(), before, "{arguments}");
        }
    }
}

/// Every command that does something tells of it in JSON on standard output, and in nothing else.
#[test]
fn every_command_answers_in_json() {
    let desk = Desk::new();
    let issued = desk.json(&format!("{ISSUE} --pending"));
    let prefix = issued["prefix"].as_str().unwrap();
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for arguments in [
        "companies create company_34".to_owned(),
        "companies list".to_owned(),
        "companies show company_34".to_owned(),
        "companies suspend company_34".to_owned(),
        "companies reactivate company_34".to_owned(),
        "keys list --company company_12".to_owned(),
        format!("keys show {prefix}"),
        format!("keys activate {prefix}"),
        format!("keys suspend {prefix}"),
        format!("keys reactivate {prefix}"),
        format!("keys set-scopes {prefix} --scope payments:read"),
        format!("keys set-networks {prefix} --network 203.0.113.0/24"),
        format!("keys set-limits {prefix} --limit key=5:5/s"),
        format!("keys set-subsidiaries {prefix} --company company_34"),
        format!("keys rotate {prefix} --overlap 0h --yes"),
        format!("keys revoke {prefix} --reason company_request --yes"),
        format!("keys import {hash} --company company_12 --scope a:read --expires 9d"),
        "keys expire".to_owned(),
        "keys scan-rule".to_owned(),
        "review".to_owned(),
        "keys revoke-all --company company_12 --reason company_request --yes".to_owned(),
    ] {
        let value = desk.json(&arguments);
        assert!(value.is_object() || value.is_array(), "{arguments}");
    }
}

#[test]
fn there_are_completions_for_every_shell() {
    let desk = Desk::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = desk.done(&format!("completions {shell}"));
        assert!(
            script.contains("revoke-all") && script.contains("review"),
            "{shell}"
        );
    }
}
