//! The events of a log, for whoever asks what happened.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::CannotVerify;
use crate::log::lines::Lines;
use crate::log::sealed;

/// The events of a log in their order, read from its directory. Nothing is verified: for that
/// there is [`LogVerifier`](super::LogVerifier). Of events whose time was over only hashes are
/// left, and they are passed over.
#[derive(Debug)]
pub struct LogEvents {
    segments: std::vec::IntoIter<PathBuf>,
    lines: Option<(PathBuf, Lines)>,
}

/// One event as it was written.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoggedEvent {
    /// The exact bytes of its line, without the newline: what is hashed and proved.
    pub line: Vec<u8>,
    /// What the line says.
    pub fields: Map<String, Value>,
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
            .map(|(first, _)| sealed::segment_path(&segments, first))
            .collect();
        Ok(Self {
            segments: paths.into_iter(),
            lines: None,
        })
    }

    fn read(&mut self) -> Result<Option<LoggedEvent>, CannotVerify> {
        loop {
            let (path, lines) = match &mut self.lines {
                Some(open) => open,
                None => {
                    let Some(path) = self.segments.next() else {
                        return Ok(None);
                    };
                    let lines = Lines::open(&path);
                    let lines = lines.map_err(|error| CannotVerify::reading(&path, error))?;
                    self.lines.insert((path, lines))
                }
            };
            match lines.next() {
                Err(error) => return Err(CannotVerify::reading(path, error)),
                Ok(None) => self.lines = None,
                // A line without its end is one that is being written, or was never finished.
                Ok(Some(line)) if !line.ended && !line.is_too_long() => self.lines = None,
                Ok(Some(line)) => {
                    let fields = serde_json::from_slice(line.bytes).ok();
                    let Some(fields) = fields.filter(|_| line.is_whole()) else {
                        return Err(CannotVerify::at(path, "a line is no event; verify the log"));
                    };
                    let line = line.bytes.to_vec();
                    return Ok(Some(LoggedEvent { line, fields }));
                }
            }
        }
    }
}

impl Iterator for LogEvents {
    type Item = Result<LoggedEvent, CannotVerify>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl LoggedEvent {
    /// The event's place in the log.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        self.fields.get("seq")?.as_u64()
    }

    /// A field that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }
}
