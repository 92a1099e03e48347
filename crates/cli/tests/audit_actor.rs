//! The name under which somebody reads a log.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use countersign::FileLog;

fn run(actor: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["--actor", actor])
        .args(arguments)
        .output()
        .unwrap()
}

fn words(log: &Path) -> usize {
    std::fs::read_dir(log.join("reads")).map_or(0, Iterator::count)
}

#[test]
fn a_name_that_no_log_should_hold_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    drop(FileLog::open(&log).unwrap());
    let path = log.to_str().unwrap();
    let to = place.path().join("x");
    let to = to.to_str().unwrap();
    let reading: [&[&str]; 7] = [
        &["audit", "query", path],
        &["audit", "tail", path],
        &["audit", "stats", path],
        &["audit", "report", path, "-o", to],
        &["audit", "export", path, "--company", "company_12", "-o", to],
        &["audit", "prove", path, "0", "-o", to],
        &["contract", "usage", path],
    ];
    let server = "postgres://nobody@127.0.0.1:1/none";
    let before = "2026-01-01T00:00:00.000000Z";
    let remove = ["audit", "remove", server, "--before", before, "--yes"];
    for name in ["", "a\u{202e}b", "a\nb", "a\u{200b}b", &"x".repeat(20_000)] {
        for arguments in reading.into_iter().chain([&remove[..]]) {
            let refused = run(name, arguments);
            let said = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {said}");
            assert!(said.contains("--actor NAME: "), "{arguments:?}: {said}");
            assert!(refused.stdout.is_empty(), "{arguments:?}");
        }
        // Where no word is left, no name is needed.
        let unrecorded = run(name, &["audit", "stats", path, "--unrecorded"]);
        assert!(unrecorded.status.success(), "{unrecorded:?}");
    }
    assert_eq!(words(&log), 0);
    assert!(run(&"x".repeat(64), reading[0]).status.success());
    assert_eq!(words(&log), 1);
}
