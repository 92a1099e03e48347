//! Whoever tries again does nothing twice: what is done is not said to have failed, and no key is
//! made that nobody gets.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs::File;
use std::process::{Command, Output, Stdio};

use support::Desk;

const ISSUE: &str = "keys issue --company company_12 --scope accounts:read --expires 90d";

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn what_is_done_is_said_to_be_done_by_the_exit_code() {
    let desk = Desk::new();
    let key = desk.json(ISSUE);
    let prefix = key["prefix"].as_str().unwrap();
    for (arguments, done) in [
        (ISSUE.to_owned(), "keys list --company company_12"),
        (
            "companies suspend company_12".to_owned(),
            "companies show company_12",
        ),
        (
            format!("keys revoke {prefix} --reason company_request --yes"),
            &format!("keys show {prefix}"),
        ),
    ] {
        let before = desk.done(done);
        let untold = desk.command(&arguments).stderr(full()).output().unwrap();
        assert_eq!(untold.status.code(), Some(6), "{arguments}");
        assert_ne!(desk.done(done), before, "{arguments}");
        desk.run("companies reactivate company_12");
    }
    let json = desk
        .command("companies suspend company_12 --json")
        .stdout(full())
        .output();
    let json = json.unwrap();
    assert_eq!(json.status.code(), Some(6));
    assert!(said(&json).contains("it is done"), "{}", said(&json));
    let listed = desk
        .command("companies list")
        .stdout(full())
        .output()
        .unwrap();
    assert_eq!(listed.status.code(), Some(2), "nothing is done by a list");
}

#[test]
fn a_key_that_nobody_would_get_is_not_made() {
    let desk = Desk::new();
    let key = desk.json(ISSUE);
    let rotate = format!("keys rotate {}", key["prefix"].as_str().unwrap());
    for arguments in [ISSUE, &rotate] {
        for json in ["", " --json"] {
            let command = || desk.command(&format!("{arguments}{json}"));
            let mut closed = Command::new("sh");
            let itself = command();
            closed
                .args(["-c", "exec \"$0\" \"$@\" >&-"])
                .arg(itself.get_program());
            closed.args(itself.get_args());
            for (name, value) in itself.get_envs().filter_map(|(n, v)| Some((n, v?))) {
                closed.env(name, value);
            }
            for refused in [
                closed.output().unwrap(),
                command().stdout(Stdio::null()).output().unwrap(),
                command().stdout(full()).output().unwrap(),
            ] {
                assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
                assert!(
                    said(&refused).contains("none is made"),
                    "{}",
                    said(&refused)
                );
                assert_eq!(desk.keys(), 1);
            }
        }
    }
}

#[test]
fn a_key_that_was_lost_is_named() {
    let desk = Desk::new();
    for json in ["", " --json"] {
        let key = desk.json(ISSUE);
        let rotate = format!("keys rotate {}", key["prefix"].as_str().unwrap());
        for arguments in [ISSUE, &rotate] {
            let (reader, nobody) = std::io::pipe().unwrap();
            drop(reader);
            let mut command = desk.command(&format!("{arguments}{json}"));
            let lost = command.stdout(nobody).output().unwrap();
            assert_eq!(lost.status.code(), Some(6), "{}", said(&lost));
            let said = said(&lost);
            assert!(said.contains("revoke it"), "{said}");
            let mut words = said.split(' ');
            let named = words.find(|word| word.starts_with("cs_live_")).unwrap();
            desk.done(&format!(
                "keys revoke {named} --reason operational_mistake --yes"
            ));
        }
    }
}
