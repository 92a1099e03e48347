//! What is no store is left as it is, and no key is made as its store's are not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;

use support::{Desk, command};

const ISSUE: &str = "keys issue --company company_12 --scope accounts:read --expires 90d";

#[test]
fn no_verb_but_the_first_makes_a_store_of_a_file_that_is_there() {
    let desk = Desk::empty();
    let raw = rusqlite::Connection::open(desk.path("bare.db")).unwrap();
    raw.execute_batch("PRAGMA application_id = 7").unwrap();
    drop(raw);
    fs::write(desk.path("empty.db"), "").unwrap();
    fs::write(desk.path("text.db"), "not a database, ".repeat(20)).unwrap();
    for name in ["bare.db", "empty.db", "text.db"] {
        let file = desk.path(name);
        let before = (
            fs::read(&file).unwrap(),
            fs::metadata(&file).unwrap().permissions(),
        );
        for arguments in [
            "companies list",
            "companies suspend company_12",
            "review",
            ISSUE,
        ] {
            let refused = command(&file, arguments).output().unwrap();
            let said = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(
                refused.status.code(),
                Some(2),
                "{name}, {arguments}: {said}"
            );
            assert!(said.contains("it is not a key store"), "{name}: {said}");
            let after = (
                fs::read(&file).unwrap(),
                fs::metadata(&file).unwrap().permissions(),
            );
            assert_eq!(after, before, "{name}, {arguments}");
        }
    }
    let begun = command(&desk.path("empty.db"), "companies create company_12").output();
    assert!(begun.unwrap().status.success(), "it begins a store");
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_no_store_and_is_not_touched() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    let desk = Desk::new();
    let pipe = desk.path("pipe");
    let made = std::process::Command::new("mkfifo")
        .args(["-m", "644"])
        .arg(&pipe)
        .status();
    assert!(made.unwrap().success());
    for arguments in ["companies list", "companies create company_34"] {
        for file in [&pipe, &desk.path("")] {
            let refused = command(file, arguments).output().unwrap();
            let said = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(2), "{said}");
            assert!(said.contains("no regular file"), "{said}");
        }
    }
    let kind = fs::metadata(&pipe).unwrap();
    assert!(kind.file_type().is_fifo());
    assert_eq!(kind.permissions().mode() & 0o777, 0o644);
    symlink(desk.store(), desk.path("link")).unwrap();
    let linked = command(&desk.path("link"), "companies list").output();
    assert!(linked.unwrap().status.success(), "a link to a store is one");
}

#[test]
fn no_key_without_a_pepper_is_made_beside_keys_that_have_one() {
    let desk = Desk::new();
    desk.done("companies create company_34");
    let bare = desk.json(ISSUE);
    let bare = bare["prefix"].as_str().unwrap();
    let peppers = desk.write("peppers", "1:00112233445566778899aabbccddeeff\n");
    let peppers = format!("--peppers {}", peppers.display());
    let theirs = ISSUE.replace("company_12", "company_34");
    let key = desk.json(&format!("{peppers} {theirs}"));
    let key = key["prefix"].as_str().unwrap();
    for arguments in [
        ISSUE,
        &theirs,
        &format!("keys rotate {key}"),
        &format!("keys rotate {bare}"),
    ] {
        let said = desk.refused(arguments, 2);
        assert!(said.contains("--peppers FILE"), "{said}");
    }
    assert_eq!(desk.keys(), 1, "nothing is written");
    desk.done(&format!("{peppers} keys rotate {bare}"));
    desk.done(&format!("{peppers} {ISSUE}"));
}
