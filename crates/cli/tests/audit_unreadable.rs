//! A line that can't be read as an event keeps nobody from the others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::Log;

#[test]
fn a_log_with_a_line_that_can_t_be_read_is_asked_all_the_same() {
    let deep = "[".repeat(20_000) + &"]".repeat(20_000);
    for value in [r#""\ud800""#, "1e999", &deep] {
        let log = Log::new();
        log.append(7, &format!("\"y\":{value}"));
        let verified = log.audit("verify", &[]);
        assert_eq!(verified.status.code(), Some(3), "{verified:?}");
        let out = log.beside("out");
        let out = ["--unrecorded", "-o", out.to_str().unwrap()];
        for (verb, arguments) in [
            ("query", &out[..1]),
            ("query", &["--unrecorded", "--json"]),
            ("tail", &out[..1]),
            ("stats", &out[..1]),
            ("report", &out),
            ("export", &[&out[..], &["--all-companies"]].concat()),
        ] {
            let ran = log.audit(verb, arguments);
            assert!(ran.status.success(), "{verb}: {ran:?}");
            let told = String::from_utf8(ran.stderr).unwrap();
            assert!(
                told.contains("events: 1, the first at 7;"),
                "{verb}: {told}"
            );
        }
        let lines = log.audit("query", &["--unrecorded", "--json"]).stdout;
        assert_eq!(String::from_utf8(lines).unwrap().lines().count(), 7);
    }
}
