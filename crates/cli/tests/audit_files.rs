//! What is written of a log: whose events, and who may read the file.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::Log;

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

/// The names and contents of all files.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let files = walkdir::WalkDir::new(directory).sort_by_file_name();
    let files = files.into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file());
    let read = |entry: walkdir::DirEntry| {
        let name = entry.path().display().to_string();
        (name, fs::read(entry.path()).unwrap())
    };
    files.map(read).collect()
}

const VERBS: [(&str, &[&str]); 3] = [
    ("report", &["--unrecorded"]),
    ("export", &["--all-companies", "--unrecorded"]),
    ("prove", &["1", "--unrecorded"]),
];

#[test]
fn nothing_is_written_over_a_file_of_the_log() {
    let log = Log::new();
    fs::write(log.beside("log.key"), "the signing key").unwrap();
    fs::write(log.beside("other"), "").unwrap();
    let mut names: Vec<_> = ["vkey", "checkpoint", Log::FIRST, "new", "segments/../vkey"]
        .map(|name| log.path(name))
        .into();
    names.push(log.beside("log.key"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(log.path("checkpoint"), log.beside("link")).unwrap();
        std::os::unix::fs::symlink(log.path("vkey"), log.beside("x.jsonl")).unwrap();
        names.push(log.beside("link"));
    }
    let before = files(&log.beside(""));
    for (verb, arguments) in VERBS {
        for name in &names {
            let out = ["-o", name.to_str().unwrap()];
            let refused = log.audit(verb, &[arguments, &out].concat());
            let told = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(1), "{verb} {name:?}: {told}");
            assert!(told.contains("it belongs to the log"), "{told}");
        }
    }
    #[cfg(unix)]
    {
        let x = log.beside("x");
        let refused = log.audit("prove", &["1", "--unrecorded", "-o", x.to_str().unwrap()]);
        assert_eq!(
            refused.status.code(),
            Some(1),
            "its line would go to the vkey"
        );
    }
    assert_eq!(files(&log.beside("")), before);
}

#[test]
fn what_was_there_stays_until_all_of_it_is_written() {
    let log = Log::new();
    let out = log.beside("out");
    fs::write(&out, "what was there").unwrap();
    let arguments = ["-o", out.to_str().unwrap()];
    let whole = fs::read(log.path(Log::LAST)).unwrap();
    fs::write(log.path(Log::LAST), [&whole[..], &[b'x'; 60_001]].concat()).unwrap();
    let before = files(&log.beside(""));
    for (verb, more) in &VERBS[..2] {
        let failed = log.audit(verb, &[more, &arguments[..]].concat());
        assert_eq!(failed.status.code(), Some(2), "{verb}: {failed:?}");
        assert_eq!(files(&log.beside("")), before, "{verb}");
    }
    fs::write(log.path(Log::LAST), whole).unwrap();
    for (verb, more) in VERBS {
        fs::write(&out, "what was there").unwrap();
        let written = log.audit(verb, &[more, &arguments[..]].concat());
        assert!(written.status.success(), "{verb}: {written:?}");
        assert_ne!(fs::read(&out).unwrap(), b"what was there");
        let names = fs::read_dir(log.beside("")).unwrap().count();
        assert_eq!(names, if verb == "prove" { 3 } else { 2 }, "{verb}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_written_and_not_replaced() {
    let log = Log::new();
    let report = log.audit("report", &["--unrecorded", "-o", "/dev/stdout"]);
    assert!(report.status.success(), "{report:?}");
    assert!(report.stdout.starts_with(b"<!doctype html>"));
}
