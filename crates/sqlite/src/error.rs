//! SQLite's errors as the errors of a store.

use countersign_core::{StoreError, StoreErrorKind};
use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};

/// The kind that says what the caller can do about it; SQLite's own error stays the cause.
pub(crate) fn store_error(error: rusqlite::Error) -> StoreError {
    let unique = [SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_PRIMARYKEY];
    let extended = error.sqlite_error().map(|error| error.extended_code);
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) if extended.is_some_and(|c| unique.contains(&c)) => {
            StoreErrorKind::AlreadyExists
        }
        Some(ErrorCode::ConstraintViolation) => StoreErrorKind::Corrupt,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::with_source(kind, error)
}

/// A value that is stored and can't be what it should be.
pub(crate) fn corrupt(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreErrorKind::Corrupt, error)
}

/// The file can't be asked.
pub(crate) fn unavailable(
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, error)
}
