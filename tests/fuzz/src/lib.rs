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
        let directory = directory();
        fs::create_dir(directory.path().join("segments")).expect("room for a log");
        for (name, content) in FILES {
            fs::write(directory.path().join(name), content).expect("room for a log");
        }
        Self { directory }
    }

    /// Its newest checkpoint as it was in the beginning.
    ///
    /// # Panics
    /// When there is no room for it.
    pub fn restore_checkpoint(&self) {
        let (name, content) = FILES[3];
        fs::write(self.path().join(name), content).expect("room for a checkpoint");
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

/// A new directory, in memory where there is such a place: a case is tried in microseconds there.
///
/// # Panics
/// When there is no room for it.
#[must_use]
pub fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("room for a directory")
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
