//! PostgreSQL's errors as the errors of a store.

use std::time::Duration;

use countersign_core::{StoreError, StoreErrorKind};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

/// The kind that says what the caller can do about it; PostgreSQL's own error stays the cause.
pub(crate) fn store_error(error: tokio_postgres::Error) -> StoreError {
    let kind = match error.code() {
        Some(code) if *code == SqlState::UNIQUE_VIOLATION => StoreErrorKind::AlreadyExists,
        Some(code) if *code == SqlState::FOREIGN_KEY_VIOLATION => StoreErrorKind::NotFound,
        Some(code)
            if *code == SqlState::T_R_SERIALIZATION_FAILURE
                || *code == SqlState::T_R_DEADLOCK_DETECTED =>
        {
            StoreErrorKind::Conflict
        }
        // Classes 22 and 23: a value that can't be stored as what it should be.
        Some(code) if code.code().starts_with("22") || code.code().starts_with("23") => {
            StoreErrorKind::Corrupt
        }
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::with_source(kind, error)
}

/// A value that is stored and can't be what it should be.
pub(crate) fn corrupt(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreErrorKind::Corrupt, error)
}

/// The server can't be asked.
pub(crate) fn unavailable(
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, error)
}

/// What `work` gives, or that the server can't be asked when it takes longer than `patience`. The
/// server's own bounds do not help against a connection that says nothing any more.
pub(crate) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(patience, work)
        .await
        .unwrap_or_else(|late| Err(unavailable(late)))
}
