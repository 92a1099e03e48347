//! A key that may still work is found and never called harmless.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::Stdio;

use support::{Desk, command};

const ISSUE: &str = "keys issue --company company_12 --scope a:read --expires 30d";

fn scan(desk: &Desk, more: &str) -> (Option<i32>, String) {
    let leaked = desk.path("leaked");
    let scanned = desk.run(&format!("keys scan {}{more}", leaked.display()));
    let told = String::from_utf8(scanned.stdout).unwrap();
    (scanned.status.code(), told)
}

#[test]
fn a_key_whose_pepper_is_not_known_may_still_work() {
    let desk = Desk::new();
    let peppers = |name: &str, text: &str| desk.write(name, text).display().to_string();
    let new = peppers("new", "2:00112233445566778899aabbccddeeff\n");
    let old = peppers("old", "1:ffeeddccbbaa99887766554433221100\n");
    let key = desk.done(&format!("{ISSUE} --peppers {new}"));
    desk.write("leaked", &key);
    for unknown in [String::new(), format!(" --peppers {old}")] {
        let (code, told) = scan(&desk, &unknown);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(" active  ?  "), "{told}");
    }
    let (code, told) = scan(&desk, &format!(" --peppers {new}"));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(" yes "), "{told}");
    let prefix = key.rsplit_once('_').unwrap().0;
    desk.done(&format!(
        "keys revoke {prefix} --reason suspected_leakage --yes"
    ));
    let (code, told) = scan(&desk, "");
    assert_eq!(code, Some(0), "a revoked key works with no pepper: {told}");
}

#[test]
fn a_key_behind_an_escape_is_found() {
    let desk = Desk::new();
    let key = desk.done(ISSUE);
    let key = key.trim();
    let no_key = format!("ab_live_000000000000_{}", "x".repeat(47));
    for before in [
        "{\"env\":\"A=1\\n",
        "\\t",
        "%22",
        "\u{1b}[0m",
        "key",
        &no_key,
    ] {
        desk.write("leaked", &format!("{before}{key}\"}}"));
        let (code, told) = scan(&desk, "");
        assert_eq!(code, Some(1), "{before:?}: {told}");
        let prefix = key.rsplit_once('_').unwrap().0;
        assert!(told.contains(prefix), "{before:?}: {told}");
    }
}

#[cfg(unix)]
#[test]
fn what_is_named_is_read_through_links_and_pipes_or_is_an_error() {
    let desk = Desk::new();
    desk.write("leaked", &desk.done(ISSUE));
    std::os::unix::fs::symlink(desk.path("leaked"), desk.path("link")).unwrap();
    let link = format!("keys scan {}", desk.path("link").display());
    assert_eq!(desk.run(&link).status.code(), Some(1));
    std::os::unix::fs::symlink(desk.path("nowhere"), desk.path("broken")).unwrap();
    desk.refused(&format!("keys scan {}", desk.path("broken").display()), 2);
    let mut piped = command(&desk.store(), "keys scan /dev/stdin");
    let mut piped = piped
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut leaked = std::fs::File::open(desk.path("leaked")).unwrap();
    std::io::copy(&mut leaked, piped.stdin.as_mut().unwrap()).unwrap();
    assert_eq!(piped.wait_with_output().unwrap().status.code(), Some(1));
}

#[test]
fn no_name_steers_the_terminal_and_no_argument_that_is_a_key_is_repeated() {
    let desk = Desk::new();
    let key = desk.done(ISSUE);
    let (_, secret) = key.trim().rsplit_once('_').unwrap();
    let key = key.trim();
    for arguments in [
        format!("keys scan {key}"),
        format!("keys scan-rule {key}"),
        format!("keys issue --company {key}"),
        format!("--peppers {key} companies list"),
        format!("{key} list"),
    ] {
        let output = desk.run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains(secret), "{said}");
    }
    std::fs::create_dir(desk.path("tree")).unwrap();
    desk.write(&format!("tree/a\n\u{1b}[2J{key}"), key);
    let scanned = desk.run(&format!("keys scan {}", desk.path("tree").display()));
    let told = String::from_utf8(scanned.stdout).unwrap();
    assert!(told.contains("a\\u{a}\\u{1b}[2J"), "{told}");
    assert!(!told.contains('\u{1b}') && !told.contains(secret), "{told}");
}
