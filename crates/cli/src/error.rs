//! What went wrong, in words that say what to do, and the exit code for it.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use countersign::{CannotVerify, ConfigError, ManageError, StoreError, StoreErrorKind};

#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// It is not allowed, or what it is about does not exist. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
    /// The answer could not be written.
    #[error("the output could not be written: {0}")]
    Unwritten(io::Error),
    /// It is done, and nobody could be told. Doing it again would do it twice.
    #[error("{0}")]
    Untold(String),
}

impl CliError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(_) => ExitCode::from(1),
            Self::Failed(_) | Self::Unwritten(_) => ExitCode::from(2),
            // `audit verify` has other answers up to 5.
            Self::Untold(_) => ExitCode::from(6),
        }
    }

    /// The error as one of a command that answers when it has changed something.
    pub(crate) fn after_the_deed(self) -> Self {
        match self {
            Self::Unwritten(error) => Self::Untold(format!(
                "it is done, but the answer could not be written: {error}"
            )),
            error => error,
        }
    }

    pub(crate) fn store(error: &StoreError) -> Self {
        let advice = match error.kind() {
            StoreErrorKind::Corrupt => "it is not a key store, or damaged; name another one",
            StoreErrorKind::UnsupportedVersion => {
                "a newer countersign wrote it; use that version or a later one"
            }
            _ => "look whether it may be read and written, and whether it can be reached",
        };
        Self::Failed(format!("the key store: {}; {advice}", chain(error)))
    }
}

impl From<ManageError> for CliError {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::NotFound
            | ManageError::AlreadyExists
            | ManageError::IllegalTransition { .. }
            | ManageError::Invalid(_)
            | ManageError::InList { .. }
            | ManageError::Conflict => Self::Refused(error.to_string()),
            _ => Self::Failed(chain(&error)),
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<CannotVerify> for CliError {
    fn from(error: CannotVerify) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::Unwritten(error)
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}

/// The error and its causes. Store errors name files and tables, never what was stored.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
