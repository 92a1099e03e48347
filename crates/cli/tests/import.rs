//! A team moves in: keys are taken over by their hashes, many at once or one by one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::Desk;

const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const BASE64: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
const FOR: &str = "--company company_12 --scope accounts:read --expires 90d";

fn line(n: u32, more: &str) -> String {
    format!(
        r#"{{"hash":"{n:064x}","company":"company_12","scopes":["accounts:read"],"expires_at":"{EXPIRES}"{more}}}"#
    )
}

const EXPIRES: &str = "2027-08-31T00:00:00Z";

#[test]
fn a_hash_becomes_a_key_and_nothing_secret_is_shown() {
    let desk = Desk::new();
    let taken = desk.json(&format!("keys import {HASH} {FOR} --label ledger"));
    let prefix = taken["prefix"].as_str().unwrap();
    assert!(prefix.starts_with("imported_live_"), "{prefix}");
    assert_eq!(
        (&taken["status"], &taken["label"]),
        (&"active".into(), &"ledger".into())
    );
    let output = desk.run(&format!("keys show {prefix} --json"));
    let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!shown.contains(HASH), "{shown}");
    for again in [HASH, BASE64] {
        let said = desk.refused(&format!("keys import {again} {FOR}"), 1);
        assert!(said.contains("taken over before"), "{said}");
    }
    let rotated = desk.json(&format!("keys rotate {prefix}"));
    assert!(rotated["key"].as_str().unwrap().starts_with("cs_live_"));
}

#[test]
fn what_is_no_hash_is_not_repeated() {
    let desk = Desk::new();
    let raw = desk.done(&format!("keys issue {FOR}"));
    let raw = raw.trim();
    for wrong in [
        format!("keys import {raw} {FOR}"),
        format!("keys import {HASH} {FOR} --prefix {raw}"),
    ] {
        let said = desk.refused(&wrong, 2);
        assert!(!said.contains(&raw[raw.len() - 49..]), "{said}");
        assert!(
            said.contains("HASH: ") || said.contains("--prefix: "),
            "{said}"
        );
    }
    let said = desk.refused("keys import --company company_12", 2);
    assert!(said.contains("HASH"), "{said}");
    assert_eq!(desk.keys(), 1);
}

#[test]
fn a_file_of_keys_is_taken_over_as_a_whole() {
    let desk = Desk::new();
    let some = [
        line(1, r#","label":"a","networks":["203.0.113.0/24"]"#),
        String::new(),
        line(2, r#","environment":"test","pending":true"#),
    ];
    let file = desk.write("keys.jsonl", &some.join("\n"));
    let taken = desk.json(&format!("keys import --file {}", file.display()));
    let status: Vec<_> = [0, 1].map(|n| taken[n]["status"].as_str().unwrap()).into();
    assert_eq!(status, ["active", "pending"]);
    assert_eq!(taken[0]["networks"][0], "203.0.113.0/24");
    assert_eq!(taken[1]["environment"], "test");
    assert_eq!(desk.keys(), 2);
}

#[test]
fn one_bad_line_and_nothing_is_taken_over() {
    let desk = Desk::new();
    let secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
    let good = line(9, "");
    for (bad, says) in [
        (good.replace("company_12", "company_99"), "companies create"),
        (good.replace("accounts:read", "accounts"), "accounts:read"),
        (good.replace("2027-08-31", "2001-01-01"), "in the past"),
        (good.replace("2027-08-31", "2127-08-31"), "days at most"),
        (good.clone(), "taken over before"),
        (line(1, r#","prefix":"cs_live_short""#), "prefix"),
        (
            line(1, r#","prefix":"cs_test_000000000000""#),
            "environment",
        ),
        (line(1, r#","environment":"staging""#), "environment"),
        (line(1, r#","networks":["here"]"#), "networks"),
        (line(1, r#","secret":"no such member""#), "column"),
        (format!("{{\"hash\":\"{secret}\""), "column"),
        (
            good.replace(&format!("\"{:064x}\"", 9), &format!("[\"{secret}\"]")),
            "column",
        ),
        (good.replace(&format!("{:064x}", 9), secret), "hash: "),
    ] {
        let file = desk.write(
            "keys.jsonl",
            &[&good, "", &bad].map(str::to_owned).join("\n"),
        );
        let said = desk.refused(&format!("keys import --file {}", file.display()), 1);
        assert!(
            said.contains("line 3: ") && said.contains(says),
            "{bad}: {said}"
        );
        assert!(!said.contains(secret), "{said}");
        assert_eq!(desk.keys(), 0, "{bad}");
    }
    let said = desk.refused("keys import --file nowhere.jsonl", 2);
    assert!(said.contains("nowhere.jsonl"), "{said}");
}
