//! Errors: bad text, bad configuration, a store that failed.

use std::error::Error;
use std::path::PathBuf;

/// A text that is not what its type demands. It names the type and the rule, never the text:
/// what was given may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: {rule}")]
pub struct ParseError {
    what: &'static str,
    rule: &'static str,
}

impl ParseError {
    /// An error that says what was expected and by which rule.
    #[must_use]
    pub const fn new(what: &'static str, rule: &'static str) -> Self {
        Self { what, rule }
    }
}

/// A mistake in how the stack is put together, found while it is built and never while it serves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: {problem}")]
pub struct ConfigError {
    subject: String,
    problem: String,
}

impl ConfigError {
    /// `subject` is the part at fault (a policy, an endpoint), `problem` what to do about it.
    pub fn new(subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            problem: problem.into(),
        }
    }

    /// The policy, endpoint or setting that is at fault.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The same mistake, as that of the larger part that it stands in: a quota's as its policy's.
    #[must_use]
    pub fn within(self, subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            ..self
        }
    }
}

/// What kind of failure a store reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store could not be asked, or did not answer in time. Trying again may help.
    Unavailable,
    /// The record exists already; nothing was written.
    AlreadyExists,
    /// The record has another version than the caller expected; nothing was written.
    Conflict,
    /// The record does not exist; nothing was written.
    NotFound,
    /// What is stored can't be read as what it should be.
    Corrupt,
    /// The store's schema is newer than this program; nothing was touched.
    UnsupportedVersion,
}

impl StoreErrorKind {
    /// The kind as one word for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::AlreadyExists => "already exists",
            Self::Conflict => "version conflict",
            Self::NotFound => "not found",
            Self::Corrupt => "corrupt",
            Self::UnsupportedVersion => "unsupported schema version",
        }
    }
}

/// A failure of a key store, a limit store or an audit backend: its kind and its cause.
#[derive(Debug, thiserror::Error)]
#[error("store: {}", kind.as_str())]
pub struct StoreError {
    kind: StoreErrorKind,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// A failure without a further cause.
    #[must_use]
    pub const fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// A failure and what caused it.
    pub fn with_source(
        kind: StoreErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// The same failure, with the part and the file at fault, an audit log or a key store, told
    /// before its cause.
    #[must_use]
    pub fn at(self, part: &'static str, path: impl Into<PathBuf>) -> Self {
        let source = AtFile {
            part,
            path: path.into(),
            source: self.source,
        };
        Self::with_source(self.kind, source)
    }

    /// What kind of failure this is.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

/// Where a failure was.
#[derive(Debug, thiserror::Error)]
#[error("{part} {}", path.display())]
struct AtFile {
    part: &'static str,
    path: PathBuf,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self::new(kind)
    }
}
