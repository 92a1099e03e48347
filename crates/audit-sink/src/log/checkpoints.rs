//! The files that a log keeps its checkpoints in: written as it grows, and read again when it is
//! opened.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Moment, Monotonic, StoreError};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, open_regular, read_small};
use super::held::{Found, Held};
use super::note::{Head, Identity, NoteFault};
use super::signer::CheckpointSigner;
use super::{corrupt, unavailable};

/// The files `checkpoint` and `checkpoints.jsonl` of a log.
#[derive(Debug)]
pub(super) struct Checkpoints {
    pub(super) identity: Identity,
    signer: Arc<dyn CheckpointSigner>,
    directory: PathBuf,
    /// How long the newest checkpoint may be in the page cache only.
    sync_after: Duration,
    /// Absent until it is opened, and after a failure.
    list: Option<Held>,
    /// How much of the list counts.
    length: u64,
    /// The newest checkpoint in the list.
    listed: Option<(u64, String)>,
    /// The newest checkpoint that stands in both files.
    pub(super) stored: Option<u64>,
    synced: Option<Monotonic>,
}

/// One line of `checkpoints.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
struct Listed<'a> {
    size: u64,
    time: std::borrow::Cow<'a, str>,
    note: std::borrow::Cow<'a, str>,
}

impl Checkpoints {
    pub(super) fn new(
        identity: Identity,
        signer: Arc<dyn CheckpointSigner>,
        directory: &Path,
        sync_after: Duration,
    ) -> Self {
        Self {
            identity,
            signer,
            directory: directory.to_owned(),
            sync_after,
            list: None,
            length: 0,
            listed: None,
            stored: None,
            synced: None,
        }
    }

    /// Signs and stores `head`. The newest checkpoint is made durable when the last that was is
    /// old enough, or `durable` asks for it.
    pub(super) fn store(
        &mut self,
        disk: &Disk,
        head: Head,
        now: Moment,
        durable: bool,
    ) -> Result<(), StoreError> {
        let due = |last| now.monotonic.duration_since(last) >= self.sync_after;
        let durable = durable || self.synced.is_none_or(due);
        if self.stored == Some(head.size) && !durable {
            return Ok(());
        }
        let note = match &self.listed {
            Some((size, note)) if *size == head.size => note.clone(),
            _ => self.list(disk, head, now)?,
        };
        self.settle(disk, &note, durable).map_err(unavailable)?;
        self.stored = Some(head.size);
        if durable {
            self.synced = Some(now.monotonic);
        }
        Ok(())
    }

    /// The newest checkpoint, as a note.
    pub(super) fn newest(&self) -> Option<&str> {
        self.listed.as_ref().map(|(_, note)| note.as_str())
    }

    fn list(&mut self, disk: &Disk, head: Head, now: Moment) -> Result<String, StoreError> {
        let text = head.text(&self.identity.origin);
        let signature = self.signer.sign(text.as_bytes())?;
        let note = self.identity.note(&text, &signature);
        let listed = Listed {
            size: head.size,
            time: now.wall.to_string().into(),
            note: note.as_str().into(),
        };
        let mut line = serde_json::to_vec(&listed).map_err(unavailable)?;
        line.push(b'\n');
        let written = self.append(disk, &line);
        if written.is_err() {
            self.list = None;
        }
        written.map_err(unavailable)?;
        self.length += line.len() as u64;
        self.listed = Some((head.size, note.clone()));
        Ok(note)
    }

    fn append(&mut self, disk: &Disk, line: &[u8]) -> io::Result<()> {
        let path = self.directory.join(LIST);
        let is_whole = |list: &Held| matches!(list.look(&path), Ok(Found::Itself(length)) if length == self.length);
        let list = match self.list.take().filter(is_whole) {
            Some(list) => list,
            None => self.open(disk, &path)?,
        };
        disk.write(self.list.insert(list).file_mut(), line)
    }

    /// The list, with the lines that count and are still there.
    fn open(&mut self, disk: &Disk, path: &Path) -> io::Result<Held> {
        let mut list = Held::new(disk.append_to(path)?, path)?;
        // What an earlier attempt left behind is no line, nor is what somebody cut off.
        let there = end_of_lines(list.file_mut())?;
        if there < self.length {
            tracing::error!(
                target: "countersign",
                list = %path.display(),
                "somebody removed or cut off the list of checkpoints: earlier ones are gone from it"
            );
        }
        self.length = self.length.min(there);
        list.file().set_len(self.length)?;
        Ok(list)
    }

    fn settle(&mut self, disk: &Disk, note: &str, durable: bool) -> io::Result<()> {
        if let Some(list) = &self.list
            && durable
            && let Err(error) = disk.sync(list.file())
        {
            self.list = None;
            return Err(error);
        }
        let path = self.directory.join(NEWEST);
        disk.replace(&path, note.as_bytes(), durable)
    }

    /// Reads what is stored; the newest checkpoint, or `None` for a log that never had one.
    pub(super) fn load(&mut self) -> Result<Option<Head>, StoreError> {
        let listed = self.load_list()?;
        let path = self.directory.join(NEWEST);
        let own = self.load_newest(&path, listed.is_some())?;
        let newest = match (listed, own) {
            (Some(listed), Some(own)) if listed.size == own.size && listed.root != own.root => {
                return Err(corrupt(&path, "it is not the checkpoint of the list"));
            }
            (Some(listed), Some(own)) if listed.size > own.size => Some(listed),
            (listed, own) => own.or(listed),
        };
        // Where one of the two lacks it, it is stored again.
        let stored = newest.filter(|_| listed == own);
        self.stored = stored.map(|head| head.size);
        Ok(newest)
    }

    /// What the file `checkpoint` says. A crash of the machine may leave less than a note there;
    /// then the list has the newest, if there is one.
    fn load_newest(&self, path: &Path, has_list: bool) -> Result<Option<Head>, StoreError> {
        let note = match read_small(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => Vec::new(),
            Err(error) => return Err(unavailable(error)),
        };
        match self.identity.open(&String::from_utf8_lossy(&note)) {
            Ok(head) => Ok(Some(head)),
            Err(NoteFault::Malformed) if has_list => Ok(None),
            Err(NoteFault::Malformed) => Err(corrupt(path, "it is no checkpoint")),
            Err(NoteFault::BadSignature | NoteFault::Unsigned) => {
                Err(corrupt(path, "bad signature"))
            }
        }
    }

    /// The last checkpoint of the list. What follows its last whole line counts no longer.
    fn load_list(&mut self) -> Result<Option<Head>, StoreError> {
        let path = self.directory.join(LIST);
        let mut file = match open_regular(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        self.length = end_of_lines(&mut file).map_err(unavailable)?;
        let tail = read_before(&mut file, self.length).map_err(unavailable)?;
        let Some(lines) = tail.strip_suffix(b"\n") else {
            return Ok(None);
        };
        let line = lines.rsplit(|b| *b == b'\n').next().unwrap_or(lines);
        let wrong = || corrupt(&path, "its last line is no checkpoint of this log");
        let listed: Listed<'_> = serde_json::from_slice(line).map_err(|_| wrong())?;
        let head = self.identity.open(&listed.note).map_err(|_| wrong())?;
        self.listed = Some((head.size, listed.note.into_owned()));
        Ok(Some(head))
    }
}

/// Where the last newline of a file ends, however much follows it.
fn end_of_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    loop {
        let tail = read_before(file, end)?;
        end -= tail.len() as u64;
        if let Some(at) = memchr::memrchr(b'\n', &tail) {
            return Ok(end + at as u64 + 1);
        }
        if tail.is_empty() {
            return Ok(0);
        }
    }
}

/// The bytes of a file before `end`, as many as the last line may have.
fn read_before(file: &mut File, end: u64) -> io::Result<Vec<u8>> {
    let from = end.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(end - from).read_to_end(&mut tail)?;
    Ok(tail)
}

pub(super) const NEWEST: &str = "checkpoint";
pub(super) const LIST: &str = "checkpoints.jsonl";
/// More than the longest line of the list.
const TAIL: u64 = 64 * 1024;
