//! What is no log, no proof and no key: a precise answer and its exit code, never a panic, never
//! "ok".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use countersign::FileSigner;
use tempfile::TempDir;

const GIB: u64 = 1 << 30;
const FIRST: &str = "log/segments/00000000000000000000.jsonl";
const LAST: &str = "log/segments/00000000000000000004.jsonl";

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .arg("audit")
        .args(arguments)
        .output()
        .unwrap()
}

/// Runs it and expects this exit code, these words somewhere, and no sign of a panic.
#[track_caller]
fn expect(code: i32, words: &str, arguments: &[&str]) {
    let ran = run(arguments);
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(ran.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}");
    assert!(said.len() < 10_000, "a short answer");
    assert!(
        !said.split_whitespace().any(|word| word.starts_with("ok")),
        "{said}"
    );
}

/// Verifies a log with the commands of this program and with the script that exports hold: both
/// answer alike.
#[track_caller]
fn expect_log(code: i32, words: &str, log: &str) {
    expect(code, words, &["verify", log]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audit/verify.py");
    let ran = Command::new("python3")
        .arg(script)
        .args(["log", log])
        .output();
    let ran = ran.unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{said}");
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../audit-sink/tests/vectors/audit")
}

/// A copy of the log of the vectors, and the proof of its event 2.
struct Copy(TempDir);

impl Copy {
    fn new() -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        for entry in walkdir::WalkDir::new(vectors().join("good")) {
            let entry = entry.unwrap();
            let to = copy.0.path().join("log");
            let to = to.join(entry.path().strip_prefix(vectors().join("good")).unwrap());
            match entry.file_type().is_dir() {
                true => fs::create_dir(to).unwrap(),
                false => drop(fs::copy(entry.path(), to).unwrap()),
            }
        }
        for name in ["event-2.jsonl", "event-2.tlog-proof"] {
            fs::copy(vectors().join(name), copy.0.path().join(name)).unwrap();
        }
        copy
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn log(&self) -> String {
        self.path("log")
    }

    fn change(&self, name: &str, change: impl Fn(&str) -> String) {
        let path = self.path(name);
        let before = fs::read_to_string(&path).unwrap();
        let after = change(&before);
        assert_ne!(before, after);
        fs::write(path, after).unwrap();
    }

    fn huge(&self, name: &str) {
        // The disk holds none of it.
        File::create(self.path(name)).unwrap().set_len(GIB).unwrap();
    }

    #[track_caller]
    fn expect_proof(&self, code: i32, words: &str) {
        let (vkey, event) = (self.path("log/vkey"), self.path("event-2.jsonl"));
        let proof = self.path("event-2.tlog-proof");
        let arguments = [
            "check-proof",
            "--vkey",
            &vkey,
            "--event",
            &event,
            "--proof",
            &proof,
        ];
        expect(code, words, &arguments);
    }

    /// Another verifier key, under this name.
    fn stranger(&self, name: &str) -> String {
        let key = self.path("stranger.key");
        let signer = FileSigner::create(&key, name).unwrap();
        let vkey = self.path("stranger.vkey");
        fs::write(&vkey, signer.verifier_key()).unwrap();
        vkey
    }
}

#[test]
fn a_log_from_another_origin() {
    let copy = Copy::new();
    let vkey = copy.stranger("example.com/other");
    let named = "the given key is for the log example.com/other";
    expect(2, named, &["verify", &copy.log(), "--vkey", &vkey]);
    copy.change(FIRST, |lines| {
        lines.replacen("example.com/countersign/shared", "example.com/other", 1)
    });
    expect(1, "leaf changed at", &["verify", &copy.log()]);
    let copy = Copy::new();
    fs::copy(copy.stranger("example.com/other"), copy.path("log/vkey")).unwrap();
    expect(
        1,
        "checkpoint list: line 1 is no checkpoint",
        &["verify", &copy.log()],
    );
    copy.expect_proof(2, "the proof is not a c2sp.org/tlog-proof@v1 of this log");
}

#[test]
fn a_wrong_key() {
    let copy = Copy::new();
    let vkey = copy.stranger("example.com/countersign/shared");
    expect(
        5,
        "bad signature",
        &["verify", &copy.log(), "--vkey", &vkey],
    );
    fs::copy(&vkey, copy.path("log/vkey")).unwrap();
    expect(5, "bad signature", &["verify", &copy.log()]);
    copy.expect_proof(5, "bad signature");
    let private = copy.path("stranger.key");
    let no_key = "the verifier key is not an Ed25519 key";
    expect(2, no_key, &["verify", &copy.log(), "--vkey", &private]);
    fs::write(copy.path("log/vkey"), b"\xff\xfe\x00").unwrap();
    expect(2, "it is not UTF-8", &["verify", &copy.log()]);
    copy.expect_proof(2, "it is not UTF-8");
}

#[test]
fn a_half_written_directory() {
    let copy = Copy::new();
    let cut = |lines: &str| lines.trim_end_matches('\n').to_owned() + "\n{\"seq\":7,\"lo";
    copy.change(LAST, cut);
    expect(3, "torn tail of 12 bytes", &["verify", &copy.log()]);
    for (gone, code) in [("checkpoints.jsonl", 3), ("checkpoint", 2)] {
        fs::remove_file(copy.path(&format!("log/{gone}"))).unwrap();
        expect(code, "", &["verify", &copy.log()]);
    }
    fs::remove_dir_all(copy.path("log/segments")).unwrap();
    expect(2, "could not check", &["verify", &copy.log()]);
    expect(2, "segments", &["query", &copy.log(), "--unrecorded"]);
    fs::remove_file(copy.path("log/vkey")).unwrap();
    expect(2, "could not check", &["verify", &copy.log()]);
    expect(2, "segments", &["query", &copy.log()]);
    let empty = copy.path("empty");
    fs::create_dir(&empty).unwrap();
    let out = copy.path("out");
    for arguments in [
        &["verify", &empty][..],
        &["query", &empty],
        &["tail", &empty],
        &["stats", &empty],
        &["report", &empty, "-o", &out],
        &["export", &empty, "--all-companies", "-o", &out],
        &["verify", &copy.path("event-2.jsonl")],
        &["query", &copy.path("event-2.jsonl")],
    ] {
        expect(2, "", arguments);
    }
    expect(1, "event 0", &["prove", &empty, "0", "-o", &out]);
}

/// A word that no event has finds nothing, and would be taken for an answer.
#[test]
fn a_word_that_no_event_has() {
    let copy = Copy::new();
    let whole = format!("cs_live_000000000000_{}", "0".repeat(49));
    for (option, word, says) in [
        ("--decision", "deny", "rate_limited"),
        ("--reason", "leak", "suspected_leakage"),
        ("--type", "token.revoke", "token.revoked"),
        ("--type", "oked", "token.revoked"),
        ("--type", "", "token.revoked"),
        ("--route", "accounts", "/accounts/{id}"),
        ("--route", "GET /accounts", "/accounts/{id}"),
        ("--key", "cs_live", "never the whole key"),
        ("--key", &whole, "never the whole key"),
    ] {
        for verb in ["query", "stats", "tail"] {
            expect(2, says, &[verb, &copy.log(), option, word]);
        }
    }
    let said = run(&["query", &copy.log(), "--key", &whole]).stderr;
    assert!(!String::from_utf8(said).unwrap().contains(&whole));
    for (option, word) in [
        ("--decision", "denied"),
        ("--type", "token.revoked"),
        ("--type", "revoked"),
        ("--route", "/accounts/{id}"),
        ("--route", "/bank.v1.Accounts/List"),
    ] {
        let known = run(&["query", &copy.log(), "--unrecorded", option, word]);
        assert!(known.status.success(), "{option} {word}");
    }
}

#[test]
fn lines_of_times_to_come_are_not_removed() {
    let address = "postgres://nobody@127.0.0.1:1/none";
    let before = ["--before", "2099-01-01T00:00:00Z", "--yes"];
    expect(
        1,
        "a time to come",
        &[&["remove", address][..], &before].concat(),
    );
}

#[test]
fn a_future_version() {
    let copy = Copy::new();
    copy.change("event-2.tlog-proof", |proof| {
        proof.replacen("@v1", "@v2", 1)
    });
    copy.expect_proof(2, "the proof is not a c2sp.org/tlog-proof@v1");
    // A key of a kind that is not known: 2 in the place of 1 says another algorithm.
    let copy = Copy::new();
    copy.change("log/vkey", |vkey| {
        let (name, key) = vkey.trim_end().rsplit_once('+').unwrap();
        format!("{name}+Ag{}\n", &key[2..])
    });
    expect(2, "not an Ed25519 key", &["verify", &copy.log()]);
    copy.expect_proof(2, "the verifier key is not");
    // A checkpoint with a line more than there is today.
    let copy = Copy::new();
    copy.change("log/checkpoint", |note| {
        note.replacen("\n\n", "\nextension\n\n", 1)
    });
    let ran = run(&["verify", &copy.log()]);
    assert!(matches!(ran.status.code(), Some(1 | 5)), "{ran:?}");
}

#[test]
fn a_proof_for_another_event() {
    let copy = Copy::new();
    let lines = fs::read_to_string(copy.path(FIRST)).unwrap();
    for (number, line) in lines.lines().enumerate().filter(|(number, _)| *number != 2) {
        fs::write(copy.path("event-2.jsonl"), format!("{line}\n")).unwrap();
        let words = "the proof does not lead from this event to the signed root";
        copy.expect_proof(1, words);
        assert!(number < 7);
    }
    fs::write(copy.path("event-2.jsonl"), &lines).unwrap();
    copy.expect_proof(2, "the event is not one line of a log");
    fs::write(copy.path("event-2.jsonl"), "").unwrap();
    copy.expect_proof(2, "the event is not one line of a log");
}

#[test]
fn a_line_of_a_gibibyte() {
    let too_long = "it is too long to be what it should be";
    for name in ["event-2.jsonl", "event-2.tlog-proof", "log/vkey"] {
        let copy = Copy::new();
        copy.huge(name);
        copy.expect_proof(2, too_long);
    }
    let copy = Copy::new();
    copy.huge("huge");
    expect(
        2,
        too_long,
        &["verify", &copy.log(), "--against", &copy.path("huge")],
    );
    expect(
        2,
        too_long,
        &["verify", &copy.log(), "--vkey", &copy.path("huge")],
    );
    let behind = File::options().write(true).open(copy.path(LAST)).unwrap();
    behind.set_len(GIB).unwrap();
    expect_log(3, "torn tail of", &copy.log());
    let inside = File::options().write(true).open(copy.path(FIRST)).unwrap();
    let lines = fs::read(copy.path(FIRST)).unwrap();
    let two: usize = lines
        .split_inclusive(|b| *b == b'\n')
        .take(2)
        .map(<[u8]>::len)
        .sum();
    inside.set_len(two as u64).unwrap();
    inside.set_len(GIB).unwrap();
    let named = format!("line too long at 2 (segment 00000000000000000000, byte {two})");
    expect_log(1, &named, &copy.log());
    fs::write(copy.path(FIRST), &lines).unwrap();
    copy.huge(LAST);
    let named = "line too long at 4 (segment 00000000000000000004, byte 0)";
    expect_log(1, named, &copy.log());
    let copy = Copy::new();
    copy.huge("log/checkpoints.jsonl");
    expect_log(3, "torn tail of 1073741824 bytes", &copy.log());
    copy.huge("log/checkpoint");
    expect(
        1,
        "checkpoint file is no checkpoint",
        &["verify", &copy.log()],
    );
}

#[test]
fn the_script_of_an_export_answers_alike() {
    for (name, code, words) in [
        ("leaf-changed", 1, ""),
        ("line-missing", 1, "1"),
        ("order-changed", 1, "0"),
        ("torn-tail", 3, "torn tail of 15 bytes"),
        ("truncated", 4, "truncated: checkpoint says 7, log has 6"),
        ("bad-signature", 5, "bad signature"),
    ] {
        expect_log(code, words, vectors().join(name).to_str().unwrap());
    }
}
