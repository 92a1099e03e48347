//! That somebody read the log is an event of the log, also when another process writes it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use countersign_core::{Clock, StoreError, SystemClock, Timestamp};
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::{corrupt, unavailable};
use crate::Notice;

/// Leaves word in the log in `directory` that `actor` reads or exports it for `purpose`. The
/// log's writer records it as `external_api.audit.read`: within a minute where one runs, else at
/// the next start. The event has the time at which word was left, and no later one than when it is
/// recorded. As much of both texts is kept as an event holds, 512 characters. For tools that read a log which another process writes; within the process use
/// [`AuditSink::record_read`](crate::AuditSink::record_read).
///
/// Call it before reading: a read of which no word can be left should not take place.
///
/// # Errors
/// `Corrupt` when there is no log, `Unavailable` for all that the file system refuses.
pub fn record_read(
    directory: impl AsRef<Path>,
    actor: &str,
    purpose: &str,
) -> Result<(), StoreError> {
    let directory = directory.as_ref();
    if !directory.join(super::open::VKEY).is_file() {
        return Err(corrupt(directory, "there is no log"));
    }
    let words = directory.join(READS);
    super::open::make_directory(&words).map_err(unavailable)?;
    let word = Word {
        actor: Notice::kept(actor),
        purpose: Notice::kept(purpose),
        time: Some(SystemClock.now().wall),
    };
    let text = serde_json::to_vec(&word).map_err(unavailable)?;
    let name = format!("{:032x}.json", fastrand::u128(..));
    Disk::default()
        .replace(&words.join(name), &text, true)
        .map_err(unavailable)
}

#[derive(Debug, Serialize, Deserialize)]
struct Word {
    actor: String,
    purpose: String,
    /// When it was left. Older versions don't say.
    time: Option<Timestamp>,
}

impl Word {
    fn into_notice(self) -> Notice {
        let notice = Notice::read(self.actor, self.purpose);
        match self.time {
            Some(time) => notice.at(time),
            None => notice,
        }
    }
}

/// Word that was left, and is taken away once it is in the log.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// What stands in the batch that comes next.
    told: Vec<PathBuf>,
}

impl Reads {
    /// What was left since this was last asked. What can't be read is told as such: somebody was
    /// here.
    pub(super) fn collect(&mut self, directory: &Path) -> Vec<Notice> {
        let Ok(entries) = fs::read_dir(directory.join(READS)) else {
            return Vec::new();
        };
        let mut notices = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            let finished = path.extension().is_some_and(|e| e == "json");
            if !finished || self.told.contains(&path) || notices.len() >= MOST_AT_ONCE {
                continue;
            }
            let notice = read(&path).map(Word::into_notice);
            notices.push(notice.unwrap_or_else(|_| Notice::read("unknown", "unknown")));
            self.told.push(path);
        }
        notices
    }

    /// The events are in the log.
    pub(super) fn clear(&mut self) {
        for path in self.told.drain(..) {
            if let Err(error) = fs::remove_file(&path) {
                // It is told again at the next start: once too often rather than never.
                tracing::warn!(target: "countersign", %error, "word of a read can't be removed");
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Word> {
    if fs::metadata(path)?.len() > LONGEST_WORD {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let text = fs::read(path)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

pub(super) const READS: &str = "reads";
const MOST_AT_ONCE: usize = 1000;
const LONGEST_WORD: u64 = 16 * 1024;
