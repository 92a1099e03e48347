//! Our own backends run the suite that everybody else's run.

use std::fs;

use countersign_audit_sink::conformance::{Harness, run};
use countersign_audit_sink::{FileLog, MemoryBackend, MemoryLog};
use tempfile::TempDir;

struct Memory(MemoryLog);

#[async_trait::async_trait]
impl Harness for Memory {
    type Backend = MemoryBackend;

    async fn open(&mut self) -> MemoryBackend {
        MemoryBackend::reopen(&self.0)
    }

    async fn lines(&mut self) -> Vec<Vec<u8>> {
        self.0.lines().into_iter().map(String::into_bytes).collect()
    }

    async fn fail(&mut self, _: &mut MemoryBackend, fails: bool) -> bool {
        self.0.fail(fails);
        true
    }
}

struct Files {
    directory: TempDir,
    segment_bytes: u64,
}

#[async_trait::async_trait]
impl Harness for Files {
    type Backend = FileLog;

    async fn open(&mut self) -> FileLog {
        let options = FileLog::options(self.directory.path().join("log"));
        options.segment_bytes(self.segment_bytes).open().unwrap()
    }

    async fn lines(&mut self) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(self.directory.path().join("log/segments")).unwrap();
        let mut segments: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
            .collect();
        segments.sort();
        let text: Vec<u8> = segments.iter().flat_map(|s| fs::read(s).unwrap()).collect();
        let lines = text.split_inclusive(|b| *b == b'\n');
        lines
            .map(|l| l.strip_suffix(b"\n").unwrap().to_vec())
            .collect()
    }

    /// A log whose directory is gone can't begin a segment; with segments of no size, each batch
    /// begins one.
    async fn fail(&mut self, _: &mut FileLog, fails: bool) -> bool {
        let [log, hidden] = ["log", "hidden"].map(|name| self.directory.path().join(name));
        let (from, to) = if fails { (log, hidden) } else { (hidden, log) };
        fs::rename(from, to).unwrap();
        true
    }
}

#[tokio::test]
async fn the_memory_backend_conforms() {
    run(|| Memory(MemoryBackend::new().1)).await;
}

#[tokio::test]
async fn the_file_backend_conforms() {
    run(|| Files {
        directory: TempDir::new().unwrap(),
        segment_bytes: 0,
    })
    .await;
}
