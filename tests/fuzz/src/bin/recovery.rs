//! Opening a log that a crash, or somebody, left anything behind in: it is refused, or it opens and
//! verifies, with every signed line as it was.
#![no_main]

use std::cell::OnceCell;
use std::fs;
use std::path::PathBuf;

use countersign_audit_sink::{FileLog, FileSigner, LogVerifier};
use countersign_fuzz::directory;
use libfuzzer_sys::fuzz_target;

thread_local!(static LOG: OnceCell<New> = const { OnceCell::new() });

fuzz_target!(|tail: &[u8]| LOG.with(|log| {
    let log = log.get_or_init(New::make);
    log.begin();
    fs::write(log.segments().join("00000000000000000000.jsonl"), tail).expect("room for lines");
    let Some(open) = log.open() else { return };
    drop(open);
    let report = LogVerifier::new(log.path()).verify().expect("a log");
    assert!(report.finding.is_ok(), "{}", report.finding);
}));

/// A log in which nothing is signed yet.
struct New {
    directory: tempfile::TempDir,
    /// What a new log has in its directory.
    files: Vec<(&'static str, Vec<u8>)>,
}

impl New {
    fn make() -> Self {
        let directory = directory();
        let mut log = Self { directory, files: Vec::new() };
        FileSigner::create(log.key(), ORIGIN).expect("a key");
        drop(log.open().expect("a new log"));
        let read = |name| (name, fs::read(log.path().join(name)).expect("a file"));
        log.files = ["vkey", "checkpoint", "checkpoints.jsonl"].map(read).into();
        log
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    fn segments(&self) -> PathBuf {
        self.path().join("segments")
    }

    /// Takes away what the case before left.
    fn begin(&self) {
        for entry in fs::read_dir(self.segments()).expect("segments") {
            fs::remove_file(entry.expect("a segment").path()).expect("a segment");
        }
        let _ = fs::remove_file(self.path().join("subtrees.jsonl"));
        for (name, content) in &self.files {
            fs::write(self.path().join(name), content).expect("room for a log");
        }
    }

    fn open(&self) -> Option<FileLog> {
        let options = FileLog::options(self.path()).origin(ORIGIN);
        options.signing_key(self.key()).open().ok()
    }
}

const ORIGIN: &str = "example.com/fuzz";
