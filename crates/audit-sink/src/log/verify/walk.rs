//! One pass over the lines of a log, from the first segment to the last.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use countersign_core::Timestamp;
use serde::Deserialize;

use super::notes::Notes;
use super::tail::Tail;
use super::told::Told;
use super::wrong::{Rest, Wrong};
use super::{CannotVerify, Finding, LogReport};
use crate::log::lines::{Known, Lines};
use crate::log::note::Head;
use crate::log::sealed::{self, Kept};
use crate::log::tree::{Edge, Hash, leaf_hash};

/// How far the pass came, and what it saw on the way.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    known: Known<'a>,
    notes: &'a Notes,
    /// The sizes at which a root is asked for, in their order.
    heads: Vec<Head>,
    next_head: usize,
    tree: Edge,
    /// The hashes of the segment in hand, where they are to be compared with what was kept.
    segment: Option<Edge>,
    kept: HashMap<u64, Edge>,
    removed: u64,
    told: Told,
    /// The same by lines that no checkpoint covered when the pass began.
    told_later: Told,
    tail: Tail,
    first_line: Option<Vec<u8>>,
    last_line: Vec<u8>,
    /// The size up to which the roots were right.
    right: u64,
    /// The first size at which one was not.
    wrong: Option<u64>,
    /// One was right after that.
    right_again: bool,
    finding: Option<Finding>,
}

impl<'a> Walk<'a> {
    pub(super) fn over(
        directory: &Path,
        origin: &'a str,
        notes: &'a Notes,
    ) -> Result<Self, CannotVerify> {
        let segments = &directory.join("segments");
        let failed = |error| CannotVerify::new(format!("{}: {error}", directory.display()));
        let kept = sealed::load(directory).map_err(failed)?.into_iter();
        let kept = kept.map(|kept| (kept.edge.first(), kept.edge)).collect();
        let mut heads: Vec<Head> = notes.heads.iter().chain(&notes.given).copied().collect();
        heads.sort_by_key(|head| head.size);
        let mut walk = Self {
            known: Known::new(origin, notes.signed()),
            notes,
            heads,
            next_head: 0,
            tree: Edge::default(),
            segment: None,
            kept,
            removed: 0,
            told: Told::default(),
            told_later: Told::default(),
            tail: Tail::default(),
            first_line: None,
            last_line: Vec::new(),
            right: 0,
            wrong: None,
            right_again: false,
            finding: None,
        };
        walk.compare_roots();
        let list = sealed::list(segments).map_err(failed)?;
        walk.go_through(segments, &list)?;
        Ok(walk)
    }

    fn go_through(&mut self, segments: &Path, list: &[(u64, bool)]) -> Result<(), CannotVerify> {
        let misplaced = sealed::misplaced(list);
        for (index, (first, has_lines)) in list.iter().copied().enumerate() {
            if !self.fits(first) {
                break;
            }
            let next = list.get(index + 1).map(|(next, _)| *next);
            self.segment = self.kept.contains_key(&first).then(|| Edge::at(first));
            if has_lines {
                self.read(segments, first, next.is_none())?;
            } else if misplaced == Some(first) {
                self.finding = Some(Finding::LineMissing(first));
            } else {
                self.take_hashes(segments, first, next)?;
            }
            self.compare_kept();
            if self.finding.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn fits(&mut self, first: u64) -> bool {
        let end = self.tree.end();
        if first > end {
            self.finding = Some(Finding::LineMissing(end));
        } else if first < end {
            self.finding = Some(Finding::LineInserted(first));
        }
        self.finding.is_none()
    }

    fn read(&mut self, segments: &Path, first: u64, is_last: bool) -> Result<(), CannotVerify> {
        let path = &sealed::segment_path(segments, first);
        let reading = |error| CannotVerify::reading(path, error);
        let mut lines = Lines::open(path).map_err(reading)?;
        let mut offset = 0;
        while let Some(line) = lines.next().map_err(reading)? {
            let expected = self.tree.end();
            if self.known.check(line, expected).is_ok() {
                self.take(line.bytes);
                offset += line.length;
                continue;
            }
            let wrong = Wrong::of(line, &self.known, (first, offset));
            let rest = Rest::read(&mut lines, &self.known).map_err(reading)?;
            let signed = self.notes.signed();
            self.finding = Some(wrong.name(&rest, is_last, expected, signed));
            return Ok(());
        }
        Ok(())
    }

    /// What was kept of a finished segment proves nothing, and the log is opened by it: so it
    /// must be right.
    fn compare_kept(&mut self) {
        let Some(segment) = &self.segment else { return };
        let kept = self.kept.get(&segment.first());
        let differs = kept.is_some_and(|kept| kept.end() == segment.end() && kept != segment);
        if differs && self.finding.is_none() {
            self.finding = Some(Finding::SubtreesDiffer(segment.first()));
        }
    }

    fn take_leaf(&mut self, leaf: Hash) {
        if let Some(segment) = &mut self.segment {
            segment.push(leaf);
        }
        self.tree.push(leaf);
        self.compare_roots();
    }

    fn take(&mut self, line: &[u8]) {
        if self.first_line.is_none() {
            self.first_line = Some(line.to_vec());
        }
        self.last_line.clear();
        self.last_line.extend_from_slice(line);
        if self.tree.end() < self.notes.signed() {
            self.told.hear(line);
        } else {
            self.told_later.hear(line);
            self.tail.push(line);
        }
        self.take_leaf(leaf_hash(line));
    }

    /// Takes what is left of lines whose time was over. None of them is past what is signed.
    fn take_hashes(
        &mut self,
        segments: &Path,
        first: u64,
        next: Option<u64>,
    ) -> Result<(), CannotVerify> {
        let signed = self.notes.signed();
        let end = next.map_or(signed, |next| next.min(signed)).max(first);
        let kept = Kept::read(segments, first, end - first).map_err(|error| {
            CannotVerify::of_store(&format!("hashes of segment {first}"), &error)
        })?;
        let most = usize::try_from(end - first).unwrap_or(usize::MAX);
        for leaf in kept.leaves.iter().take(most) {
            self.take_leaf(*leaf);
            self.removed += 1;
        }
        if kept.leaves.len() > most || !kept.is_whole {
            let at = self.tree.end();
            self.finding = Some(match next {
                Some(next) if next == at => Finding::LineInserted(next),
                _ => Finding::LineMissing(at),
            });
        }
        Ok(())
    }

    fn compare_roots(&mut self) {
        let size = self.tree.end();
        while let Some(head) = self.heads.get(self.next_head)
            && head.size == size
        {
            self.next_head += 1;
            if head.root == self.tree.root() {
                self.right_again |= self.wrong.is_some();
                self.right = if self.wrong.is_none() {
                    size
                } else {
                    self.right
                };
            } else if self.wrong.is_none() {
                self.wrong = Some(size);
            }
        }
    }

    pub(super) fn report(self, origin: &str, notes: &Notes, after: &After) -> LogReport {
        let time = |line: &[u8]| {
            let timed: Option<Timed> = serde_json::from_slice(line).ok();
            timed.map(|timed| timed.time)
        };
        LogReport {
            origin: origin.to_owned(),
            events: self.tree.end(),
            removed: self.removed,
            first_time: self.first_line.as_deref().and_then(time),
            last_time: time(&self.last_line),
            checkpoints: notes.checked,
            signed: notes.signed(),
            finding: self.judge(notes, after),
        }
    }

    fn judge(&self, notes: &Notes, after: &After) -> Finding {
        let events = self.tree.end();
        if let Some(size) = self.wrong {
            return self.differing(notes, size);
        }
        match &self.finding {
            None | Some(Finding::TornTail(_)) => {}
            Some(finding) => return finding.clone(),
        }
        let longest = self.heads.last().map_or(0, |head| head.size);
        if longest > events {
            return Finding::Truncated {
                checkpoint: longest,
                events,
            };
        }
        if notes.foreign_key {
            return Finding::Inconsistent;
        }
        if !self.is_told(after) {
            return Finding::RemovalUntold(self.removed);
        }
        let tail = events - notes.signed();
        if !after.goes_on && self.tail.is_overdue(after.now, after.unsigned_for) {
            return Finding::UnsignedTooLong(tail);
        }
        if let Some(torn) = &self.finding {
            return torn.clone();
        }
        if notes.torn > 0 {
            return Finding::TornTail(notes.torn);
        }
        if notes.ends_early {
            return Finding::ListEndsEarly;
        }
        match tail {
            0 => Finding::Ok,
            tail => Finding::UnsignedTail(tail),
        }
    }

    fn is_told(&self, after: &After) -> bool {
        let later = after.goes_on && self.told_later.reaches(self.removed);
        later || self.told.reaches(self.removed)
    }

    /// A root that is not the signed one.
    fn differing(&self, notes: &Notes, size: u64) -> Finding {
        let own = |head: &&Head| head.size == size;
        let own_is_right = notes.heads.iter().find(own).is_none_or(|own| {
            // The log's own checkpoint of this size may be right, and the given one another.
            notes
                .given
                .iter()
                .any(|given| given.size == size && given != own)
        });
        let given = notes.given.iter().any(|head| head.size == size);
        if given && own_is_right {
            return Finding::Inconsistent;
        }
        if self.right_again {
            return Finding::RootDiffers(size);
        }
        Finding::LeafChanged(self.right, size - 1)
    }
}

/// What is known once the lines were read.
#[derive(Debug)]
pub(super) struct After {
    /// The log was signed further meanwhile: its writer lives.
    pub(super) goes_on: bool,
    pub(super) now: Timestamp,
    /// How old lines without a checkpoint may be.
    pub(super) unsigned_for: Duration,
}

#[derive(Deserialize)]
struct Timed {
    time: Timestamp,
}
