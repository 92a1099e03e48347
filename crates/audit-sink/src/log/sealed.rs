//! Segments that are finished: what they hash to is kept beside them, so that a log opens without
//! reading them all and outlives their deletion.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use countersign_core::{StoreError, Timestamp};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, open_regular};
use super::lines::Lines;
use super::tree::{Edge, Hash};
use super::{corrupt, unavailable};

/// A segment that is finished.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    /// The hashes of its lines.
    pub(super) edge: Edge,
    pub(super) bytes: u64,
    /// When it was finished.
    pub(super) time: Timestamp,
    /// Its lines are there still.
    pub(super) present: bool,
}

/// One line of `subtrees.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    first: u64,
    end: u64,
    bytes: u64,
    time: String,
    /// In base64.
    roots: Vec<String>,
}

impl Sealed {
    fn entry(&self) -> Entry {
        Entry {
            first: self.edge.first(),
            end: self.edge.end(),
            bytes: self.bytes,
            time: self.time.to_string(),
            roots: self.edge.roots().map(|root| root.to_string()).collect(),
        }
    }

    fn of(entry: &Entry) -> Option<Self> {
        let roots: Result<Vec<Hash>, _> = entry.roots.iter().map(|r| Hash::parse_hash(r)).collect();
        Some(Self {
            edge: Edge::of(entry.first, entry.end, roots.ok()?)?,
            bytes: entry.bytes,
            time: entry.time.parse().ok()?,
            present: true,
        })
    }
}

/// Adds `sealed` to the file of subtrees.
pub(super) fn keep(disk: &Disk, directory: &Path, sealed: &Sealed) -> Result<(), StoreError> {
    // A line that an earlier attempt left torn ends here, and is passed over when it is read.
    let mut line = b"\n".to_vec();
    serde_json::to_writer(&mut line, &sealed.entry()).map_err(unavailable)?;
    line.push(b'\n');
    let mut file = disk
        .append_to(&directory.join(SUBTREES))
        .map_err(unavailable)?;
    disk.write(&mut file, &line).map_err(unavailable)?;
    disk.sync(&file).map_err(unavailable)
}

/// All that the file of subtrees tells. It is believed only as far as the tree that it makes has
/// the root that is signed; lines that can't be read are passed over.
pub(super) fn load(directory: &Path) -> Result<Vec<Sealed>, StoreError> {
    let mut lines = match Lines::open(&directory.join(SUBTREES)) {
        Ok(lines) => lines,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unavailable(error)),
    };
    let mut all = Vec::new();
    while let Some(line) = lines.next().map_err(unavailable)? {
        let entry: Option<Entry> = serde_json::from_slice(line.bytes).ok();
        all.extend(entry.as_ref().and_then(Sealed::of));
    }
    Ok(all)
}

/// Deletes the lines of `sealed` and keeps the hash of each: 32 bytes a line, one after another,
/// in `<first index>.hashes`.
pub(super) fn remove_lines(
    disk: &Disk,
    segments: &Path,
    sealed: &Sealed,
) -> Result<(), StoreError> {
    let path = segment_path(segments, sealed.edge.first());
    let leaves = super::scan::leaves(&path)?;
    let mut edge = Edge::at(sealed.edge.first());
    leaves.iter().for_each(|leaf| edge.push(*leaf));
    if edge != sealed.edge {
        return Err(corrupt(&path, "its lines are not those that were sealed"));
    }
    let hashes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0).collect();
    let kept = hashes_path(segments, sealed.edge.first());
    disk.replace(&kept, &hashes, true).map_err(unavailable)?;
    disk.remove(&path).map_err(unavailable)?;
    disk.sync_directory(segments).map_err(unavailable)
}

/// What is kept of a segment whose lines were deleted.
#[derive(Debug)]
pub(super) struct Kept {
    /// The hashes of its lines.
    pub(super) leaves: Vec<Hash>,
    /// Nothing but whole hashes stands there.
    pub(super) is_whole: bool,
}

impl Kept {
    /// Reads what is kept. There are `most` hashes at most: of a file with more, one more than that
    /// is read.
    pub(super) fn read(segments: &Path, first: u64, most: u64) -> Result<Self, StoreError> {
        let file = open_regular(&hashes_path(segments, first)).map_err(unavailable)?;
        let mut bytes = Vec::new();
        let longest = most.saturating_add(1).saturating_mul(32);
        let read = file.take(longest).read_to_end(&mut bytes);
        read.map_err(unavailable)?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        Ok(Self {
            leaves: hashes.iter().map(|hash| Hash(*hash)).collect(),
            is_whole: rest.is_empty(),
        })
    }
}

/// The hashes of the lines of a segment whose lines were deleted, as [`Kept::read`] reads them.
///
/// # Errors
/// `Corrupt` when one of them is cut.
pub(super) fn kept_leaves(segments: &Path, first: u64, most: u64) -> Result<Vec<Hash>, StoreError> {
    let kept = Kept::read(segments, first, most)?;
    if !kept.is_whole {
        let path = hashes_path(segments, first);
        return Err(corrupt(&path, "it holds no whole number of hashes"));
    }
    Ok(kept.leaves)
}

/// The first index of a segment of which only hashes are left although lines stand before it.
/// Only the oldest lines ever go, so that somebody took this one's away.
pub(super) fn misplaced(list: &[(u64, bool)]) -> Option<u64> {
    let hashes = list.iter().skip_while(|(_, has_lines)| !has_lines);
    let mut hashes = hashes.filter(|(_, has_lines)| !has_lines);
    hashes.next().map(|(first, _)| *first)
}

/// The segments of a log, by their first index: those with lines, and those of which only hashes
/// are left.
pub(super) fn list(segments: &Path) -> Result<Vec<(u64, bool)>, StoreError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(segments).map_err(unavailable)? {
        let name = entry.map_err(unavailable)?.file_name();
        let Some((digits, kind)) = name.to_str().and_then(|name| name.split_once('.')) else {
            continue;
        };
        let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
        if let Some(first) = digits.parse().ok().filter(|_| plain) {
            match kind {
                "jsonl" => found.push((first, true)),
                "hashes" => found.push((first, false)),
                _ => {}
            }
        }
    }
    // Lines go before their hashes, where a crash left both.
    found.sort_unstable_by_key(|(first, lines)| (*first, !lines));
    found.dedup_by_key(|(first, _)| *first);
    Ok(found)
}

pub(super) fn segment_path(segments: &Path, first: u64) -> PathBuf {
    segments.join(format!("{first:020}.jsonl"))
}

fn hashes_path(segments: &Path, first: u64) -> PathBuf {
    segments.join(format!("{first:020}.hashes"))
}

pub(super) const SUBTREES: &str = "subtrees.jsonl";
