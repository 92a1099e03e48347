//! A line that is not the one that belongs in its place, and what to call it.

use std::cmp::Ordering;
use std::io;

use serde::Deserialize;

use super::Finding;
use crate::log::lines::{Known, Line, Lines};

/// What is to be said of such a line.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The index that it gives itself, if it is a line of the log.
    seq: Option<u64>,
    /// The segment and the byte where it begins, if it is longer than any line can be.
    too_long: Option<(u64, u64)>,
    ended: bool,
    length: u64,
}

/// What follows it in the segment.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The index of the line just after it.
    next: Option<u64>,
    /// There is any line of the log.
    has_lines: bool,
    length: u64,
}

impl Wrong {
    pub(super) fn of(line: Line<'_>, known: &Known<'_>, place: (u64, u64)) -> Self {
        Self {
            seq: index(line, known),
            too_long: line.is_too_long().then_some(place),
            ended: line.ended,
            length: line.length,
        }
    }

    /// What it is where line `expected` should be, of which those below `signed` are signed.
    pub(super) fn name(&self, rest: &Rest, is_last: bool, expected: u64, signed: u64) -> Finding {
        let Some(seq) = self.seq else {
            return self.name_strange(rest, is_last, expected, signed);
        };
        match (seq.cmp(&expected), rest.next) {
            (Ordering::Less, _) => Finding::LineInserted(expected),
            (_, Some(next)) if next == expected => Finding::OrderChanged(expected),
            _ => Finding::LineMissing(expected),
        }
    }

    /// The same of what is no line of the log at all.
    fn name_strange(&self, rest: &Rest, is_last: bool, expected: u64, signed: u64) -> Finding {
        // What a crash leaves: the writer sets it aside, however long it is.
        if is_last && !rest.has_lines && expected >= signed {
            return Finding::TornTail(self.length + rest.length);
        }
        if let Some((segment, offset)) = self.too_long {
            return Finding::LineTooLong {
                index: expected,
                segment,
                offset,
            };
        }
        if is_last && !self.ended {
            return Finding::Truncated {
                checkpoint: signed,
                events: expected,
            };
        }
        Finding::LeafChanged(expected, expected)
    }
}

impl Rest {
    pub(super) fn read(lines: &mut Lines, known: &Known<'_>) -> io::Result<Self> {
        let mut rest = Self::default();
        while let Some(line) = lines.next()? {
            let seq = index(line, known);
            if rest.length == 0 {
                rest.next = seq;
            }
            rest.has_lines |= seq.is_some();
            rest.length += line.length;
        }
        Ok(rest)
    }
}

/// The index that a line gives itself, if it is a line of the log.
fn index(line: Line<'_>, known: &Known<'_>) -> Option<u64> {
    let numbered: Numbered = serde_json::from_slice(line.bytes).ok()?;
    known.knows(line).then_some(numbered.seq)
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}
