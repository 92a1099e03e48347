//! What is written of a log: whose events, and who may read the file.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs a command on the log of the vectors, as one that can only be read.
fn run(arguments: &[&str]) -> Output {
    let log = Path::new(env!("CARGO_MANIFEST_DIR"));
    let log = log.join("../audit-sink/tests/vectors/audit/good");
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["audit", arguments[0]])
        .arg(log)
        .args(&arguments[1..])
        .arg("--unrecorded")
        .output()
        .unwrap()
}

#[test]
fn an_export_says_whose_events_it_hands_over() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("x.tar");
    let out = file.to_str().unwrap();
    let company = ["--company", "company_12"];
    let nobodys = ["export", "-o", out];
    for arguments in [
        nobodys.to_vec(),
        [&nobodys, &company[..], &["--all-companies"]].concat(),
    ] {
        let refused = run(&arguments);
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("--all-companies"), "{said}");
        assert!(!file.exists(), "nothing is written");
    }
    let events = |arguments: &[&str]| {
        let exported = run(arguments);
        assert!(exported.status.success(), "{exported:?}");
        let mut archive = tar::Archive::new(std::fs::File::open(&file).unwrap());
        let paths = archive.entries().unwrap();
        let paths = paths.map(|entry| entry.unwrap().path().unwrap().into_owned());
        paths.filter(|path| path.starts_with("events")).count()
    };
    let one = events(&[&nobodys, &company[..]].concat());
    let all = events(&[&nobodys, &["--all-companies"][..]].concat());
    assert!(one < all, "{one} of {all}");
}

#[cfg(unix)]
#[test]
fn what_is_written_of_a_log_is_its_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt;

    let place = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("report.html", &["report"][..]),
        ("x.tar", &["export", "--all-companies"]),
        ("proof", &["prove", "1"]),
    ] {
        let out = place.path().join(name);
        let written = run(&[arguments, &["-o", out.to_str().unwrap()]].concat());
        assert!(written.status.success(), "{written:?}");
        let mode = std::fs::metadata(&out).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
