//! The checkpoints of a log: those that it keeps, and those that somebody kept elsewhere.

use std::collections::HashSet;
use std::path::Path;

use countersign_core::Timestamp;
use serde::Deserialize;

use super::{CannotVerify, Finding, read_text};
use crate::log::lines::Lines;
use crate::log::note::{Head, Identity, NoteFault};

/// What the checkpoints say, each signature checked.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// In the order of their sizes, each size once.
    pub(super) heads: Vec<Head>,
    /// How many there were in the log's own files.
    pub(super) checked: u64,
    /// Those that were kept elsewhere.
    pub(super) given: Vec<Head>,
    /// A given one is signed with another key: whoever wrote this log had no access to that one's.
    pub(super) foreign_key: bool,
    /// The newest checkpoint is not in the list: the writer was interrupted, or somebody took it
    /// out.
    pub(super) ends_early: bool,
    /// The bytes at the end of a file of checkpoints that are none.
    pub(super) torn: u64,
}

/// One line of `checkpoints.jsonl`.
#[derive(Deserialize)]
struct Listed {
    size: u64,
    time: String,
    note: String,
}

impl Listed {
    /// The time is not signed; that it is one is all that can be asked of it.
    fn is_timed(&self) -> bool {
        self.time.parse::<Timestamp>().is_ok()
    }
}

/// Either what was read, or what is wrong with it.
type Read<T> = Result<T, Finding>;

impl Notes {
    pub(super) fn read(
        directory: &Path,
        identity: &Identity,
        given: &[String],
    ) -> Result<Read<Self>, CannotVerify> {
        let mut notes = Self::default();
        for note in given {
            if let Err(finding) = notes.take_given(identity, note)? {
                return Ok(Err(finding));
            }
        }
        if let Err(finding) = notes.read_list(&directory.join("checkpoints.jsonl"), identity)? {
            return Ok(Err(finding));
        }
        if let Err(finding) = notes.read_newest(&directory.join("checkpoint"), identity)? {
            return Ok(Err(finding));
        }
        Ok(Ok(notes))
    }

    /// The size that the newest checkpoint of the log itself signs.
    pub(super) fn signed(&self) -> u64 {
        self.heads.last().map_or(0, |head| head.size)
    }

    /// Whether the log has a newer checkpoint by now than when this was read.
    pub(super) fn is_outdated(&self, directory: &Path, identity: &Identity) -> bool {
        let note = read_text(&directory.join("checkpoint")).ok();
        let head = note.and_then(|note| identity.open(&note).ok());
        head.is_some_and(|head| head.size > self.signed())
    }

    fn take_given(&mut self, identity: &Identity, note: &str) -> Result<Read<()>, CannotVerify> {
        match identity.open(note) {
            Ok(head) => self.given.push(head),
            Err(NoteFault::Malformed) => {
                let problem = "the given file is no checkpoint of this log";
                return Err(CannotVerify::new(problem));
            }
            Err(NoteFault::BadSignature) => {
                return Ok(Err(Finding::BadSignature(
                    "the given checkpoint".to_owned(),
                )));
            }
            Err(NoteFault::Unsigned) => self.foreign_key = true,
        }
        Ok(Ok(()))
    }

    fn read_list(&mut self, path: &Path, identity: &Identity) -> Result<Read<()>, CannotVerify> {
        let mut lines = match Lines::open(path) {
            Ok(lines) => lines,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Ok(())),
            Err(error) => return Err(CannotVerify::reading(path, error)),
        };
        let reading = |error| CannotVerify::reading(path, error);
        while let Some(line) = lines.next().map_err(reading)? {
            self.checked += 1;
            let number = self.checked;
            let listed: Option<Listed> = serde_json::from_slice(line.bytes).ok();
            let Some(listed) = listed.filter(|listed| line.is_whole() && listed.is_timed()) else {
                if line.ended {
                    let problem = if line.is_too_long() {
                        "too long"
                    } else {
                        "no checkpoint"
                    };
                    let problem = format!("list: line {number} is {problem}");
                    return Ok(Err(Finding::Checkpoints(problem)));
                }
                self.checked -= 1;
                self.torn = line.length;
                continue;
            };
            if let Err(finding) = self.take_listed(identity, number, &listed) {
                return Ok(Err(finding));
            }
        }
        Ok(Ok(()))
    }

    fn take_listed(&mut self, identity: &Identity, number: u64, listed: &Listed) -> Read<()> {
        let head = identity.open(&listed.note).map_err(|fault| match fault {
            NoteFault::BadSignature | NoteFault::Unsigned => {
                Finding::BadSignature(format!("checkpoint {number}"))
            }
            NoteFault::Malformed => {
                Finding::Checkpoints(format!("list: line {number} is no checkpoint"))
            }
        })?;
        if head.size != listed.size {
            let problem = format!("list: line {number} says another size than its note");
            return Err(Finding::Checkpoints(problem));
        }
        if self.heads.last().is_some_and(|last| last.size >= head.size) {
            let problem = format!("list: line {number} is not after the one before");
            return Err(Finding::Checkpoints(problem));
        }
        self.heads.push(head);
        Ok(())
    }

    fn read_newest(&mut self, path: &Path, identity: &Identity) -> Result<Read<()>, CannotVerify> {
        if !path.exists() {
            if self.heads.is_empty() {
                return Ok(Ok(()));
            }
            let problem = "file is missing".to_owned();
            return Ok(Err(Finding::Checkpoints(problem)));
        }
        let opened = match read_text(path) {
            Ok(note) if !repeats_itself(&note) => identity.open(&note),
            Ok(_) | Err(_) => Err(NoteFault::Malformed),
        };
        let finding = match opened {
            Err(NoteFault::BadSignature | NoteFault::Unsigned) => {
                Finding::BadSignature("the newest checkpoint".to_owned())
            }
            Err(NoteFault::Malformed) => Finding::Checkpoints("file is no checkpoint".into()),
            Ok(head) if self.heads.contains(&head) => return Ok(Ok(())),
            Ok(head) if self.signed() < head.size => {
                self.heads.push(head);
                self.ends_early = true;
                return Ok(Ok(()));
            }
            Ok(_) => Finding::Checkpoints("file contradicts the list of checkpoints".to_owned()),
        };
        Ok(Err(finding))
    }
}

/// Whether a signature stands in the note twice.
fn repeats_itself(note: &str) -> bool {
    let mut seen = HashSet::new();
    let signatures = note.rsplit("\n\n").next().unwrap_or(note);
    signatures.lines().any(|line| !seen.insert(line))
}
