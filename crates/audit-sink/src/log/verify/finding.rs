//! What a verification found.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use countersign_core::{StoreError, Timestamp};

/// What became of a log, told by its own lines and checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogReport {
    /// The log's name.
    pub origin: String,
    /// How many events it has.
    pub events: u64,
    /// Of how many of them only the hash is left, because their time was over.
    pub removed: u64,
    /// The `time` of the first event whose line is there; `None` where what it says is no time.
    /// Of lines that nothing signs, or that were changed, it is what somebody wrote there.
    pub first_time: Option<Timestamp>,
    /// The `time` of the last one, as far as it was read.
    pub last_time: Option<Timestamp>,
    /// How many checkpoints were checked.
    pub checkpoints: u64,
    /// The size of the tree that the newest of them signs.
    pub signed: u64,
    /// Whether all is well, and if not, what is wrong and where.
    pub finding: Finding,
}

/// The answer. Its text is stable; so is its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// Every line is as it was signed.
    Ok,
    /// Every signed line is, and this many more follow that no checkpoint covers yet.
    UnsignedTail(u64),
    /// Every signed line is, and this many more follow that should have a checkpoint by now. A
    /// process that was killed leaves lines so, until it starts again; whoever takes the newest
    /// checkpoints away, and writes other lines, does too.
    UnsignedTooLong(u64),
    /// So many of the oldest lines are gone, and no signed event tells of the last of them. In
    /// PostgreSQL that is so until a process that signs has taken up the word of it; a log in a
    /// directory tells before it deletes.
    RemovalUntold(u64),
    /// A line is not what was signed: one of those from the first to the second index.
    LeafChanged(u64, u64),
    /// The line with this index is not there.
    LineMissing(u64),
    /// A line that does not belong there stands before the one with this index.
    LineInserted(u64),
    /// What stands where the line with this index should is longer than a line can be.
    LineTooLong {
        /// The index of the line.
        index: u64,
        /// The first index of its segment.
        segment: u64,
        /// Where in the segment's file it begins, in bytes.
        offset: u64,
    },
    /// Lines changed places from this index on.
    OrderChanged(u64),
    /// The log is shorter than a checkpoint says.
    Truncated {
        /// What the checkpoint says.
        checkpoint: u64,
        /// What the log has.
        events: u64,
    },
    /// A checkpoint of this size signs another tree than later checkpoints and the lines.
    RootDiffers(u64),
    /// A checkpoint is not signed by the log's key. Says which.
    BadSignature(String),
    /// The files of checkpoints contradict themselves or each other. Says how.
    Checkpoints(String),
    /// What is kept of finished segments is not what their lines hash to, from this index on.
    SubtreesDiffer(u64),
    /// The log does not continue what a checkpoint kept elsewhere signed.
    Inconsistent,
    /// The writer was interrupted: this many bytes at the end are no line. All before is well.
    TornTail(u64),
    /// The newest checkpoint is not in the list of all checkpoints. The lines are well. A power
    /// loss leaves a log so; it is put right when the log is opened.
    ListEndsEarly,
}

impl Finding {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        matches!(self, Self::Ok | Self::UnsignedTail(_))
    }

    /// 0 ok, 1 tampered, 3 torn tail, 4 truncated, 5 bad signature, 6 something that nothing signed
    /// accounts for.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Ok | Self::UnsignedTail(_) => 0,
            Self::TornTail(_) | Self::ListEndsEarly => 3,
            Self::Truncated { .. } => 4,
            Self::BadSignature(_) => 5,
            Self::UnsignedTooLong(_) | Self::RemovalUntold(_) => 6,
            _ => 1,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::UnsignedTail(events) => write!(f, "ok, unsigned tail of {events} events"),
            Self::UnsignedTooLong(events) => {
                write!(f, "unsigned for too long: the last {events} events")
            }
            Self::RemovalUntold(events) => {
                write!(f, "removal not told: the first {events} events are gone")
            }
            Self::LeafChanged(first, last) if first == last => {
                write!(f, "leaf changed at {first}")
            }
            Self::LeafChanged(first, last) => {
                write!(f, "leaf changed at one of {first} to {last}")
            }
            Self::LineMissing(index) => write!(f, "line missing at {index}"),
            Self::LineInserted(index) => write!(f, "line inserted at {index}"),
            Self::LineTooLong {
                index,
                segment,
                offset,
            } => write!(
                f,
                "line too long at {index} (segment {segment:020}, byte {offset})"
            ),
            Self::OrderChanged(index) => write!(f, "order changed at {index}"),
            Self::Truncated { checkpoint, events } => write!(
                f,
                "truncated: checkpoint says {checkpoint}, log has {events}"
            ),
            Self::RootDiffers(size) => write!(f, "root differs at size {size}"),
            Self::BadSignature(place) => write!(f, "bad signature: {place}"),
            Self::Checkpoints(problem) => write!(f, "checkpoint {problem}"),
            Self::SubtreesDiffer(first) => write!(f, "kept hashes differ from {first} on"),
            Self::Inconsistent => f.write_str("inconsistent with the given checkpoint"),
            Self::ListEndsEarly => {
                f.write_str("torn tail: the list of checkpoints ends before the newest")
            }
            Self::TornTail(bytes) => write!(f, "torn tail of {bytes} bytes"),
        }
    }
}

impl LogReport {
    pub(super) fn without_events(origin: &str, finding: Finding) -> Self {
        Self {
            origin: origin.to_owned(),
            events: 0,
            removed: 0,
            first_time: None,
            last_time: None,
            checkpoints: 0,
            signed: 0,
            finding,
        }
    }
}

/// There was nothing that could be checked: no log, no key, or no way to read them.
#[derive(Debug)]
pub struct CannotVerify {
    problem: String,
    source: Option<io::Error>,
}

impl CannotVerify {
    /// The exit code for it.
    pub const EXIT_CODE: u8 = 2;

    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            source: None,
        }
    }

    pub(super) fn at(path: &Path, problem: &str) -> Self {
        Self::new(format!("{}: {problem}", path.display()))
    }

    pub(super) fn of_store(what: &str, error: &StoreError) -> Self {
        let cause = error.source().map(|cause| format!(": {cause}"));
        Self::new(format!("{what}: {error}{}", cause.unwrap_or_default()))
    }

    pub(super) fn reading(path: &Path, error: io::Error) -> Self {
        Self {
            problem: format!("{}: it can't be read: {error}", path.display()),
            source: Some(error),
        }
    }
}

impl fmt::Display for CannotVerify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl Error for CannotVerify {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}
