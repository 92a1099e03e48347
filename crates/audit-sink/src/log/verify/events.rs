//! The events of a log, for whoever asks what happened.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::CannotVerify;
use crate::log::lines::{Lines, fields};
use crate::log::sealed;

/// The events of a log in their order, read from its directory. Nothing is verified: for that
/// there is [`LogVerifier`](super::LogVerifier). Of events whose time was over only hashes are
/// left, and they are passed over. A line that can't be read as an event is given as it stands
/// ([`LoggedEvent::is_readable`]), so that it hides no other.
#[derive(Debug)]
pub struct LogEvents {
    segments: std::vec::IntoIter<(u64, PathBuf)>,
    open: Option<Segment>,
}

/// A segment that is being read.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    lines: Lines,
    /// The index of the next line.
    next: u64,
}

/// One event as it was written.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoggedEvent {
    /// The exact bytes of its line, without the newline: what is hashed and proved.
    pub line: Vec<u8>,
    /// What the line says; nothing where it can't be read.
    pub fields: Map<String, Value>,
    seq: u64,
}

impl LogEvents {
    /// Begins with the first event of the log in `directory`.
    ///
    /// # Errors
    /// When there is no log, or a segment of it was taken away that is not one of the oldest.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, CannotVerify> {
        Self::from_index(directory, 0)
    }

    /// Begins with the segment that holds event `index`.
    ///
    /// # Errors
    /// As for [`LogEvents::open`].
    pub fn from_index(directory: impl AsRef<Path>, index: u64) -> Result<Self, CannotVerify> {
        let segments = directory.as_ref().join("segments");
        let list = sealed::list(&segments)
            .map_err(|error| CannotVerify::new(format!("{}: {error}", segments.display())))?;
        if let Some(first) = sealed::misplaced(&list) {
            let problem = format!("line missing at {first}; verify the log");
            return Err(CannotVerify::at(&segments, &problem));
        }
        let begin = list.partition_point(|(first, _)| *first <= index);
        let wanted = list.into_iter().skip(begin.saturating_sub(1));
        let paths: Vec<_> = wanted
            .filter(|(_, has_lines)| *has_lines)
            .map(|(first, _)| (first, sealed::segment_path(&segments, first)))
            .collect();
        Ok(Self {
            segments: paths.into_iter(),
            open: None,
        })
    }

    fn read(&mut self) -> Result<Option<LoggedEvent>, CannotVerify> {
        loop {
            let segment = match &mut self.open {
                Some(segment) => segment,
                None => {
                    let Some((first, path)) = self.segments.next() else {
                        return Ok(None);
                    };
                    self.open.insert(Segment::open(first, path)?)
                }
            };
            match segment.read()? {
                None => self.open = None,
                event => return Ok(event),
            }
        }
    }
}

impl Segment {
    fn open(first: u64, path: PathBuf) -> Result<Self, CannotVerify> {
        let lines = Lines::open(&path);
        let lines = lines.map_err(|error| CannotVerify::reading(&path, error))?;
        let next = first;
        Ok(Self { path, lines, next })
    }

    fn read(&mut self) -> Result<Option<LoggedEvent>, CannotVerify> {
        let line = self.lines.next();
        let line = line.map_err(|error| CannotVerify::reading(&self.path, error))?;
        // A line without its end is one that is being written, or was never finished.
        let Some(line) = line.filter(|line| line.ended || line.is_too_long()) else {
            return Ok(None);
        };
        let seq = self.next;
        self.next = seq.saturating_add(1);
        if line.is_too_long() {
            let problem = format!("line {seq} is too long for an event; verify the log");
            return Err(CannotVerify::at(&self.path, &problem));
        }
        Ok(Some(LoggedEvent {
            fields: fields(line.bytes).unwrap_or_default(),
            line: line.bytes.to_vec(),
            seq,
        }))
    }
}

impl Iterator for LogEvents {
    type Item = Result<LoggedEvent, CannotVerify>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl LoggedEvent {
    /// The event's place in the log: where its line stands, whatever that says. In a log that
    /// verifies the line says the same.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether the line is JSON that can be read, an object with fields. The writer of a log sets
    /// aside what is not; it may stand behind what was signed last, in a log that doesn't verify, or
    /// where an older version signed it.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        !self.fields.is_empty()
    }

    /// A field that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }
}
