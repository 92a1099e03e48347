//! That somebody read the log is an event of the log, also when another process writes it.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use countersign_core::{Clock, StoreError, SystemClock, Timestamp};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, open_regular};
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
    told: HashSet<PathBuf>,
    /// What is in the log and could not be taken away. It is told again at the next start: once too
    /// often rather than never.
    stuck: HashSet<PathBuf>,
}

impl Reads {
    /// What was left since this was last asked. What can't be read is told as such: somebody was
    /// here.
    pub(super) fn collect(&mut self, directory: &Path) -> Vec<Notice> {
        let Ok(entries) = fs::read_dir(directory.join(READS)) else {
            return Vec::new();
        };
        let words = entries.flatten().map(|entry| entry.path());
        let (mut new, mut stuck) = (Vec::new(), HashSet::new());
        for path in words.filter(|path| path.extension().is_some_and(|e| e == "json")) {
            if self.stuck.contains(&path) {
                stuck.insert(path);
            } else if new.len() < MOST_AT_ONCE && !self.told.contains(&path) {
                new.push(path);
            }
        }
        self.stuck = stuck;
        let notices = new.iter().map(|path| notice(path)).collect();
        self.told.extend(new);
        notices
    }

    /// The events are in the log.
    pub(super) fn clear(&mut self) {
        for path in self.told.drain() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(
                        target: "countersign",
                        %error,
                        word = ?path,
                        "word of a read can't be removed, and will be told again at the next start"
                    );
                    self.stuck.insert(path);
                }
                _ => {}
            }
        }
    }
}

fn notice(path: &Path) -> Notice {
    let word = read(path).map(Word::into_notice);
    word.unwrap_or_else(|_| Notice::read("unknown", "unknown"))
}

fn read(path: &Path) -> io::Result<Word> {
    let mut text = Vec::new();
    let file = open_regular(path)?;
    file.take(LONGEST_WORD + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST_WORD {
        return Err(ErrorKind::InvalidData.into());
    }
    serde_json::from_slice(&text).map_err(io::Error::other)
}

pub(super) const READS: &str = "reads";
const MOST_AT_ONCE: usize = 1000;
const LONGEST_WORD: u64 = 16 * 1024;
