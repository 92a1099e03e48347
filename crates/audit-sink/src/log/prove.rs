//! Proving one event without showing another.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::Path;

use countersign_core::{StoreError, StoreErrorKind};

use super::checkpoints::NEWEST;
use super::disk::read_small;
use super::lines::Lines;
use super::note::{Head, Identity};
use super::open::VKEY;
use super::scan::leaves;
use super::sealed::{self, Sealed, kept_leaves, segment_path};
use super::store::SEGMENTS;
use super::tree::{Hash, Nodes, check_inclusion};
use super::{corrupt, unavailable};

/// The evidence for one event: its line, and the proof that the line stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventProof {
    /// The event's line without its newline; `None` when it was deleted because its time was over.
    /// Whoever kept the line can still use the proof.
    pub line: Option<Vec<u8>>,
    /// The content of a `.tlog-proof` file (C2SP tlog-proof v1): the index, the hashes from the
    /// leaf's sibling up, and the newest checkpoint.
    pub proof: String,
}

/// Proves that event `seq` stands in the log in `directory`, under the log's newest checkpoint. The
/// log may be open, here or in another process. Reads the event's own segment and the one that is
/// being written; of the others their hashes are known.
///
/// # Errors
/// `NotFound` when no checkpoint covers the event yet, or there never was one, `Corrupt` when the
/// log is not what its checkpoint says, `Unavailable` for all that the file system refuses.
pub fn prove_event(directory: impl AsRef<Path>, seq: u64) -> Result<EventProof, StoreError> {
    let directory = directory.as_ref();
    let vkey = read(&directory.join(VKEY))?;
    let identity = Identity::parse(vkey.trim_end());
    let identity = identity.ok_or_else(|| corrupt(directory, "its vkey is no verifier key"))?;
    let checkpoint = read(&directory.join(NEWEST))?;
    let head = identity.open(&checkpoint);
    let head = head.map_err(|_| corrupt(directory, "its checkpoint is none of this log"))?;
    if seq >= head.size {
        let problem = format!("the newest checkpoint covers {} events", head.size);
        return Err(StoreError::with_source(StoreErrorKind::NotFound, problem));
    }
    let mut reader = Reader::new(directory, seq, head)?;
    let hashes = match reader.prove(false)? {
        Some(hashes) => hashes,
        // What was kept of finished segments is wrong or gone; they themselves are not.
        None => reader
            .prove(true)?
            .ok_or_else(|| corrupt(directory, "the log is not what its checkpoint says"))?,
    };
    Ok(EventProof {
        line: reader.line()?,
        proof: text(seq, &hashes, &checkpoint),
    })
}

/// What of a log is read for one proof.
struct Reader {
    segments: std::path::PathBuf,
    seq: u64,
    head: Head,
    firsts: Vec<(u64, bool)>,
    known: Vec<Sealed>,
}

impl Reader {
    fn new(directory: &Path, seq: u64, head: Head) -> Result<Self, StoreError> {
        let segments = directory.join(SEGMENTS);
        Ok(Self {
            firsts: sealed::list(&segments)?,
            known: sealed::load(directory)?,
            segments,
            seq,
            head,
        })
    }

    /// The hashes of the proof, if they make one. With `all`, nothing but the lines is believed.
    fn prove(&mut self, all: bool) -> Result<Option<Vec<Hash>>, StoreError> {
        let mut nodes = Nodes::default();
        let mut leaf = None;
        for (index, (first, present)) in self.firsts.iter().copied().enumerate() {
            let end = self.firsts.get(index + 1).map(|(next, _)| *next);
            let own = self.seq >= first && end.is_none_or(|end| self.seq < end);
            let same = |s: &&Sealed| s.edge.first() == first && Some(s.edge.end()) == end;
            match self.known.iter().rfind(same) {
                Some(known) if !own && !all && known.edge.end() <= self.head.size => {
                    nodes.insert_edge(&known.edge);
                }
                _ if first < self.head.size => {
                    let leaves = match present {
                        true => leaves(&segment_path(&self.segments, first))?,
                        false => {
                            let end = end.unwrap_or(self.head.size);
                            kept_leaves(&self.segments, first, end.min(self.head.size) - first)?
                        }
                    };
                    nodes.insert_leaves(first, &leaves);
                    if own {
                        leaf = leaves.get((self.seq - first) as usize).copied();
                    }
                }
                _ => {}
            }
        }
        let Head { size, root } = self.head;
        let path = nodes.prove_inclusion(self.seq, size).ok();
        let leads = |path: &Vec<Hash>| {
            leaf.is_some_and(|leaf| check_inclusion(path, self.seq, leaf, size, root))
        };
        Ok(path.filter(leads))
    }

    /// The event's line, if it is still there.
    fn line(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let own = self.firsts.iter().rfind(|(first, _)| *first <= self.seq);
        let Some((first, true)) = own.copied() else {
            return Ok(None);
        };
        let path = segment_path(&self.segments, first);
        let mut lines = Lines::open(&path).map_err(unavailable)?;
        for _ in first..self.seq {
            lines.next().map_err(unavailable)?;
        }
        let line = lines.next().map_err(unavailable)?;
        Ok(line.map(|line| line.bytes.to_vec()))
    }
}

fn text(seq: u64, hashes: &[Hash], checkpoint: &str) -> String {
    let mut text = format!("c2sp.org/tlog-proof@v1\nindex {seq}\n");
    for hash in hashes {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{hash}");
    }
    text.push('\n');
    text.push_str(checkpoint);
    text
}

fn read(path: &Path) -> Result<String, StoreError> {
    let bytes = read_small(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => StoreError::with_source(StoreErrorKind::NotFound, error),
        ErrorKind::FileTooLarge => corrupt(path, &error.to_string()),
        _ => unavailable(error),
    })?;
    String::from_utf8(bytes).map_err(|_| corrupt(path, "it is no text"))
}
