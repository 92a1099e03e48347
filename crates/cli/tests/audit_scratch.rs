//! A copy of a log goes with the program that made it, also when a signal ends that.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};

use tempfile::TempDir;

/// A server that takes connections and never answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (
        listener,
        format!("postgres://ada@127.0.0.1:{port}/none?connect_timeout=600"),
    )
}

/// Runs it until a directory for a copy is there.
fn copying(arguments: &[&str], place: &Path, shell: &str) -> Child {
    let mut child = Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .args([env!("CARGO_BIN_EXE_countersign"), "audit"])
        .args(arguments)
        .env("TMPDIR", place)
        .spawn()
        .unwrap();
    while fs::read_dir(place).unwrap().next().is_none() {
        assert_eq!(child.try_wait().unwrap(), None, "it goes on");
        std::thread::yield_now();
    }
    child
}

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill")
        .args(["-s", signal, &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Whether this program was started with the signal ignored, as a shell does with SIGINT for what it
/// runs in the background: what this starts ignores it too.
fn is_ignored_here(code: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    mask >> (code - 128 - 1) & 1 == 1
}

#[test]
fn a_copy_of_a_log_goes_when_a_signal_ends_the_program() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        if is_ignored_here(code) {
            continue;
        }
        let (_server, address) = silent();
        let place = TempDir::new().unwrap();
        let to = place.path().join("copy");
        for arguments in [
            &["verify", &address][..],
            &["pull", &address, to.to_str().unwrap(), "--unrecorded"],
        ] {
            let mut child = copying(arguments, place.path(), "");
            send(signal, &child);
            assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
            assert_eq!(
                fs::read_dir(place.path()).unwrap().count(),
                0,
                "{arguments:?}"
            );
        }
    }
}

#[test]
fn a_signal_that_is_ignored_stays_so() {
    let (_server, address) = silent();
    let place = TempDir::new().unwrap();
    let mut child = copying(&["verify", &address], place.path(), "trap '' HUP;");
    send("HUP", &child);
    send("TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}
