//! What is wrong with a document, and where.

use std::error::Error;
use std::fmt;

/// A document that can't be taken as a contract: everything that is wrong with it, each fault with
/// its place and with what to do.
///
/// ```text
/// openapi.yaml: #/paths/~1accounts/get: it asks for no scope: give it `security` with scopes, or x-countersign-scope
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentError {
    file: Box<str>,
    faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    at: String,
    problem: String,
}

impl Fault {
    pub(super) fn new(at: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            problem: problem.into(),
        }
    }

    /// Where in the document: a JSON pointer (RFC 6901) such as `#/paths/~1accounts/get`, or line
    /// and column where the text itself can't be read.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.at
    }

    /// What is wrong, and what to do about it.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.problem)
    }
}

impl DocumentError {
    pub(super) fn new(file: &str, faults: Vec<Fault>) -> Self {
        Self {
            file: file.into(),
            faults,
        }
    }

    pub(super) fn one(file: &str, at: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(file, vec![Fault::new(at, problem)])
    }

    /// The document's file, or the name that it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What is wrong, in the order of the document. Of very many the first are told.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.faults.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {fault}", self.file)?;
        }
        Ok(())
    }
}

impl Error for DocumentError {}

/// Collects faults, so that a document's author sees all of them at once.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    /// Notes a fault; `None`, so that it can stand where a value was expected.
    pub(super) fn add<T>(&mut self, at: &str, problem: impl Into<String>) -> Option<T> {
        if self.0.len() < MOST {
            self.0.push(Fault::new(at, problem));
        }
        None
    }

    pub(super) fn into_result(self, file: &str) -> Result<(), DocumentError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DocumentError::new(file, self.0))
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The place one step further in (RFC 6901, section 3).
pub(super) fn child(at: &str, step: &str) -> String {
    format!("{at}/{}", step.replace('~', "~0").replace('/', "~1"))
}

const MOST: usize = 100;
