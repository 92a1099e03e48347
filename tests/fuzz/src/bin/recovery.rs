//! Opening a log that a crash, or somebody, left anything behind in: it is refused, or it opens and
//! verifies, with every signed line as it was.
#![no_main]

use std::fs;

use countersign_audit_sink::{FileLog, FileSigner, LogVerifier};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|tail: &[u8]| {
    let directory = tempfile::tempdir().expect("room for a log");
    let (path, key) = (directory.path().join("log"), directory.path().join("key"));
    FileSigner::create(&key, ORIGIN).expect("a key");
    let open = || FileLog::options(&path).origin(ORIGIN).signing_key(&key).open();
    drop(open().expect("a new log"));
    let segments = path.join("segments");
    fs::create_dir_all(&segments).expect("room for a segment");
    fs::write(segments.join("00000000000000000000.jsonl"), tail).expect("room for lines");
    let Ok(log) = open() else { return };
    drop(log);
    let report = LogVerifier::new(&path).verify().expect("a log");
    assert!(report.finding.is_ok(), "{}", report.finding);
});

const ORIGIN: &str = "example.com/fuzz";
