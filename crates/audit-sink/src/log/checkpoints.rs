//! The log's checkpoints: made, signed and stored here, and read again when the log is opened.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use countersign_core::{Moment, Monotonic, StoreError};
use ed25519_dalek::{Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, read_small};
use super::signer::{CheckpointSigner, key_id};
use super::tree::Hash;
use super::{corrupt, unavailable};

/// A size of the tree and its root then, as a checkpoint says them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Head {
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

/// A log's name and the key that its checkpoints are verified with.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) origin: Arc<str>,
    key: VerifyingKey,
    id: u32,
}

impl Identity {
    pub(super) fn new(origin: &str, public_key: &[u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(public_key).ok()?;
        Some(Self {
            origin: origin.into(),
            id: key_id(origin, &key),
            key,
        })
    }

    /// As the file `vkey` has it, without the newline.
    pub(super) fn parse(vkey: &str) -> Option<Self> {
        let (origin, rest) = vkey.split_once('+')?;
        let (_, key) = rest.split_once('+')?;
        let key = BASE64_STANDARD.decode(key).ok()?;
        let identity = Self::new(origin, key.get(1..)?.try_into().ok()?)?;
        (identity.to_string() == vkey).then_some(identity)
    }

    /// What the checkpoint `note` says, if this key signed it; tells a note that is whole but not
    /// signed so apart from what is no note of this log.
    pub(super) fn open(&self, note: &str) -> Result<Head, NoteFault> {
        let parsed = signed_note::Note::from_bytes(note.as_bytes());
        if parsed.is_err() {
            return Err(NoteFault::Malformed);
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteFault::Malformed)?;
        let text = format!("{text}\n");
        let head = Head::parse(&text, &self.origin).ok_or(NoteFault::Malformed)?;
        let ours = signatures.lines().filter_map(|line| self.signature(line));
        let mut signed = false;
        for signature in ours {
            let valid = self.key.verify(text.as_bytes(), &signature);
            signed = valid.map(|()| true).map_err(|_| NoteFault::BadSignature)?;
        }
        signed.then_some(head).ok_or(NoteFault::Unsigned)
    }

    /// The signature in a line of a note, if it claims to be by this key.
    fn signature(&self, line: &str) -> Option<ed25519_dalek::Signature> {
        let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
        let signature = BASE64_STANDARD.decode(signature).ok()?;
        let signature = signature.strip_prefix(&self.id.to_be_bytes()[..])?;
        let bytes = signature.try_into().unwrap_or([0; 64]);
        (name == &*self.origin).then(|| ed25519_dalek::Signature::from_bytes(&bytes))
    }

    pub(super) fn note(&self, text: &str, signature: &[u8; 64]) -> String {
        let signature = [&self.id.to_be_bytes()[..], signature].concat();
        let signature = BASE64_STANDARD.encode(signature);
        format!("{text}\n— {} {signature}\n", self.origin)
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&signed_note::new_ed25519_verifier_key(
            &self.origin,
            &self.key,
        ))
    }
}

/// Why a note is no checkpoint of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoteFault {
    Malformed,
    BadSignature,
    /// It is signed, and not by this key.
    Unsigned,
}

impl Head {
    pub(super) fn text(&self, origin: &str) -> String {
        format!("{origin}\n{}\n{}\n", self.size, self.root)
    }

    fn parse(text: &str, origin: &str) -> Option<Self> {
        let mut lines = text.lines();
        let named = lines.next()? == origin;
        let size = lines.next()?.parse().ok()?;
        let root = Hash::parse_hash(lines.next()?).ok()?;
        let head = Self { size, root };
        // Printed again it is the same: no leading zeros, no extension, no other base64.
        (named && head.text(origin) == text).then_some(head)
    }
}

/// The files `checkpoint` and `checkpoints.jsonl` of a log.
#[derive(Debug)]
pub(super) struct Checkpoints {
    pub(super) identity: Identity,
    signer: Arc<dyn CheckpointSigner>,
    directory: PathBuf,
    /// How long the newest checkpoint may be in the page cache only.
    sync_after: Duration,
    /// Absent until it is opened, and after a failure.
    list: Option<File>,
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
        if self.list.is_none() {
            let file = disk.append_to(&self.directory.join(LIST))?;
            // What an earlier attempt left behind is no line.
            file.set_len(self.length)?;
            self.list = Some(file);
        }
        let Some(file) = &mut self.list else {
            return Ok(());
        };
        disk.write(file, line)
    }

    fn settle(&mut self, disk: &Disk, note: &str, durable: bool) -> io::Result<()> {
        if let Some(list) = &self.list
            && durable
            && let Err(error) = disk.sync(list)
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
        let mut file = match File::open(&path) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn a_verifier_key_is_read_as_it_is_written() {
        let identity = Identity::parse(VKEY).unwrap();
        assert_eq!(identity.to_string(), VKEY);
        assert!(Identity::parse(&VKEY.replace("530d", "530e")).is_none());
        assert!(Identity::parse("example.com/foo").is_none());
    }

    #[test]
    fn a_head_has_one_form() {
        let good = "a/b\n17\ndiLVQMgofBxdCynqALYAxGgnAkiY313Kp3A/nEjJnKo=\n";
        let head = Head::parse(good, "a/b").unwrap();
        assert_eq!(head.size, 17);
        assert_eq!(head.text("a/b"), good);
        for wrong in [
            good.replace("17", "017"),
            good.replace("17", "+17"),
            good.replace("a/b", "a/c"),
            good.replace("=\n", "=\nmore\n"),
            good.replace("=\n", "\n"),
            good.trim_end().to_owned(),
        ] {
            assert_eq!(Head::parse(&wrong, "a/b"), None, "{wrong}");
        }
    }
}
