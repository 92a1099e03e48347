//! Conditions that events are asked for by, and what the help says of the answers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use support::Log;

/// It finds nothing, and would be taken for an answer.
#[test]
fn times_that_nothing_lies_between_are_refused() {
    let log = Log::new();
    let to = ["--unrecorded", "--to", "2026-05-01T12:00:00Z", "--from"];
    for from in [
        "2026-05-01T12:00:00Z",
        "2026-05-01T12:00:01Z",
        "9999-12-31T23:59:59Z",
    ] {
        for verb in ["query", "stats", "tail"] {
            let refused = log.audit(verb, &[&to[..], &[from]].concat());
            assert_eq!(refused.status.code(), Some(2), "{verb} {from}");
            let told = String::from_utf8(refused.stderr).unwrap();
            assert!(told.contains("--to is not after --from"), "{told}");
        }
    }
}

#[test]
fn the_end_of_the_year_9999_is_a_time() {
    let log = Log::new();
    let asked = ["--json", "--unrecorded", "--from", "2026-05-01T12:00:06Z"];
    let until = |to: &str| log.audit("query", &[&asked[..], &["--to", to]].concat());
    for to in [
        "2026-05-01T12:00:07Z",
        "9999-12-30T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999999-01:00",
    ] {
        let lines = String::from_utf8(until(to).stdout).unwrap();
        assert_eq!(lines.lines().count(), 1, "{to}");
    }
    for to in ["9999-12-32T00:00:00Z", "9999-", "9999-12-31"] {
        let told = String::from_utf8(until(to).stderr).unwrap();
        assert!(told.contains("RFC 3339"), "{to}: {told}");
    }
}

#[test]
fn the_help_of_verify_names_every_exit_code() {
    let help = Log::new().audit("verify", &["--help"]).stdout;
    let help = String::from_utf8(help).unwrap();
    for code in [
        "0 ok",
        "1 tampered",
        "2 could not check",
        "3 torn tail",
        "4 truncated",
        "5 bad signature",
        "6 what nothing signed accounts for",
    ] {
        assert!(help.contains(code), "{code}: {help}");
    }
}

/// The requests that `stats` counts as limited, of all events or of those from an address.
fn limited(log: &Log, conditions: &[&str]) -> Option<u64> {
    let stats = log.audit("stats", &[&["--json", "--unrecorded"], conditions].concat());
    assert!(stats.status.success());
    let stats: Value = serde_json::from_slice(&stats.stdout).unwrap();
    stats["decisions"]["rate_limited"].as_u64()
}

#[test]
fn refusals_that_are_told_together_count_each() {
    let log = Log::new();
    let before = limited(&log, &[]).unwrap_or(0);
    let mut seq = 7..;
    let mut append = |actor: &str, count: &str| {
        let event = format!(
            "\"time\":\"2026-05-02T12:00:00.000000Z\",\"actor\":\"{actor}\",\
             \"type\":\"external_api.request.rate_limited\",\"decision\":\"rate_limited\",\
             \"source\":\"2001:db8::/64\",\"metadata\":{{\"coalesced\":{count}}}"
        );
        log.append(seq.next().unwrap(), &event);
    };
    append("anonymous", "512");
    assert_eq!(limited(&log, &[]), Some(before + 512));
    // No number, and a handler's own word.
    append("anonymous", "\"many\"");
    append("api_key", "5");
    assert_eq!(limited(&log, &["--source", "2001:db8::7"]), Some(514));
    assert_eq!(limited(&log, &["--source", "2001:db8:0:1::7"]), None);
    append("anonymous", "18446744073709551615");
    assert_eq!(limited(&log, &[]), Some(u64::MAX));
}
