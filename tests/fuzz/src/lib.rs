//! What the targets share: a small signed log to build upon.

use std::fs;
use std::path::{Path, PathBuf};

/// The vectors' log of seven lines, all of them signed.
pub struct Log {
    directory: tempfile::TempDir,
}

impl Log {
    /// A copy of the log of the vectors.
    ///
    /// # Panics
    /// When there is no room for it.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("room for a log");
        let log = Self { directory };
        log.restore();
        log
    }

    /// As it was in the beginning.
    ///
    /// # Panics
    /// When there is no room for it.
    pub fn restore(&self) {
        let _ = fs::remove_dir_all(self.path().join("segments"));
        fs::create_dir(self.path().join("segments")).expect("room for a log");
        for (name, content) in FILES {
            fs::write(self.path().join(name), content).expect("room for a log");
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The segment with its last lines.
    #[must_use]
    pub fn last_segment(&self) -> PathBuf {
        self.path().join(FILES[1].0)
    }

    /// What stands in it.
    #[must_use]
    pub fn last_lines() -> &'static [u8] {
        FILES[1].1
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! vector {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!(
                "../../../crates/audit-sink/tests/vectors/audit/good/",
                $name
            )),
        )
    };
}

const FILES: [(&str, &[u8]); 5] = [
    vector!("segments/00000000000000000000.jsonl"),
    vector!("segments/00000000000000000004.jsonl"),
    vector!("vkey"),
    vector!("checkpoint"),
    vector!("checkpoints.jsonl"),
];
