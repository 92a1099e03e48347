//! What was found.

use std::fmt;

use countersign_core::{CompanyId, Endpoint};

/// What kind of leak, or of hole in the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An answer held something that only the other company was ever shown.
    ForeignData,
    /// A foreign id, or a claim to be the other company, was answered with success.
    ForeignAccess,
    /// A foreign id was answered in another way than one that never existed.
    Distinguishable,
    /// Afterwards the other company's own data were not what they were.
    Touched,
    /// The service failed, or gave no answer in time, so nothing was shown.
    Failed,
    /// No call of the endpoint's own company succeeded, so nothing was tested.
    Unreached,
    /// The company's readings told nothing that is its alone, so nothing of it could be looked for.
    NothingKnown,
}

impl Kind {
    /// The kind in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForeignData => "foreign data",
            Self::ForeignAccess => "foreign access",
            Self::Distinguishable => "distinguishable",
            Self::Touched => "touched",
            Self::Failed => "failed",
            Self::Unreached => "unreached",
            Self::NothingKnown => "nothing known",
        }
    }
}

/// One thing that should not be. It prints as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub(crate) kind: Kind,
    pub(crate) endpoint: &'static Endpoint,
    pub(crate) caller: CompanyId,
    pub(crate) detail: String,
}

impl Finding {
    /// What kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The endpoint that was called.
    #[must_use]
    pub const fn endpoint(&self) -> &'static Endpoint {
        self.endpoint
    }

    /// The company whose key called it.
    #[must_use]
    pub const fn caller(&self) -> &CompanyId {
        &self.caller
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, template) = (self.endpoint.method(), self.endpoint.template());
        let (kind, caller) = (self.kind.as_str(), &self.caller);
        write!(
            f,
            "{kind}: {caller} on {method} {template}: {}",
            self.detail
        )
    }
}

/// What a test found, and how much it did. It prints one line for each finding.
#[derive(Debug, Clone, Default)]
pub struct LeakReport {
    pub(crate) findings: Vec<Finding>,
    pub(crate) calls: usize,
    pub(crate) facts: usize,
}

impl LeakReport {
    /// Everything that was found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many calls were made.
    #[must_use]
    pub const fn calls(&self) -> usize {
        self.calls
    }

    /// How many texts and ids were looked for in foreign answers.
    #[must_use]
    pub const fn facts(&self) -> usize {
        self.facts
    }

    /// Whether nothing was found, and everything was tested.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.facts > 0
    }

    /// Fails a test.
    ///
    /// # Panics
    /// When anything was found, with all of it; or when there was nothing to look for.
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

impl fmt::Display for LeakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, facts) = (self.calls, self.facts);
        let count = self.findings.len();
        writeln!(
            f,
            "{count} findings in {calls} calls that looked for {facts} texts and ids"
        )?;
        let mut findings = self.findings.iter();
        findings.try_for_each(|finding| writeln!(f, "{finding}"))
    }
}
