//! Nothing that stands in a log steers the terminal of whoever reads it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;

use support::Log;

const HOSTILE: &str = r"\u001b[5A\ranswer        ok\u001b[K\u202e\u0007\u009b2J";

/// What a verb says of the log, on both outputs.
#[track_caller]
fn said(log: &Log, verb: &str, arguments: &[&str], code: i32) -> String {
    let ran = log.audit(verb, arguments);
    let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    assert_eq!(ran.status.code(), Some(code), "{verb}: {said}");
    let steers = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!said.contains(steers), "{verb}: {said:?}");
    said
}

#[test]
fn a_changed_log_is_not_shown_as_a_good_one() {
    let log = Log::new();
    let lines = fs::read_to_string(log.path(Log::FIRST)).unwrap();
    let time = "2026-05-01T12:00:00.000000Z";
    let changed = lines.replacen(time, &format!("{time}{HOSTILE}"), 1);
    assert_ne!(changed, lines);
    fs::write(log.path(Log::FIRST), changed).unwrap();
    let told = said(&log, "verify", &[], 1);
    assert!(told.starts_with("answer        leaf changed"), "{told}");
    assert!(!told.contains("first "), "what is no time is not shown");
    assert!(told.contains("last "), "{told}");
}

#[test]
fn no_field_of_an_event_steers_the_terminal() {
    let log = Log::new();
    let fields = [
        "time",
        "type",
        "decision",
        "reason",
        "key_prefix",
        "route",
        "method",
        "request_id",
        "owner_company",
    ];
    let fields = fields.map(|field| format!("\"{field}\":\"x{HOSTILE}\""));
    log.append(7, &fields.join(","));
    said(&log, "verify", &[], 6);
    for verb in ["query", "stats", "tail"] {
        let told = said(&log, verb, &["--unrecorded"], 0);
        assert!(told.contains("\\u{1b}[5A"), "{verb}: {told}");
    }
}

#[test]
fn no_name_of_a_file_steers_the_terminal() {
    let log = Log::new();
    let name = "x\u{1b}[2J\u{202e}";
    let against = ["--against", name];
    assert!(said(&log, "verify", &against, 2).contains("x\\u{1b}[2J"));
    let out = log.beside(name);
    let report = ["--unrecorded", "-o", out.to_str().unwrap()];
    said(&log, "report", &report, 0);
}
