//! Why a change was not made.

use countersign_core::{ConfigError, ScopeSet, StoreError, StoreErrorKind};

/// Why a change of a key or a company was not made. Nothing was written, unless it says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManageError {
    /// There is no such key or company, or it is not the actor's.
    #[error("no such key or company; list the company's keys to find its id")]
    NotFound,
    /// The company exists already.
    #[error("it exists already")]
    AlreadyExists,
    /// The key's state doesn't allow it.
    #[error("a key that is {from} can't be {verb}; {instead}")]
    IllegalTransition {
        /// The state that the key is in.
        from: &'static str,
        /// What was asked for.
        verb: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// What was asked for is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// The key may do more than the key that the actor used.
    #[error("the key may do more than the one that asks for it; use one that may do as much")]
    BeyondActor {
        /// The scopes that the actor's key lacks.
        scopes: ScopeSet,
        /// Whether the actor's key lacks companies that the key acts for. Where it lacks neither, the
        /// key is bound less tightly: by networks, limits, or because the actor's has ended.
        companies: bool,
    },
    /// One of many can't be done, and so none was.
    #[error("number {number} of the list: {problem}")]
    InList {
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        problem: Box<Self>,
    },
    /// Others changed the same record again and again; try again.
    #[error("others were changing it at the same time; look at it and try again")]
    Conflict,
    /// The store failed. Where it is unavailable it is not known whether the change was made.
    #[error("the key store failed; look at the key before trying again")]
    Store(#[source] StoreError),
}

impl ManageError {
    pub(super) fn beyond_bounds() -> Self {
        Self::BeyondActor {
            scopes: ScopeSet::new(),
            companies: false,
        }
    }

    pub(super) fn in_list(self, number: usize) -> Self {
        let problem = Box::new(self);
        Self::InList { number, problem }
    }
}

impl From<StoreError> for ManageError {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::NotFound => Self::NotFound,
            StoreErrorKind::AlreadyExists => Self::AlreadyExists,
            StoreErrorKind::Conflict => Self::Conflict,
            _ => Self::Store(error),
        }
    }
}

impl From<ConfigError> for ManageError {
    fn from(error: ConfigError) -> Self {
        Self::Invalid(error.to_string())
    }
}
