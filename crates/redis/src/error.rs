//! From the client's errors to the store's.

use countersign_core::{StoreError, StoreErrorKind};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The client's error as a store's, with its cause.
pub(crate) fn store_error(error: RedisError) -> StoreError {
    let kind = match error.kind() {
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreErrorKind::Corrupt,
        // A script stumbles only over a value that is no counter.
        ErrorKind::Server(ServerErrorKind::ResponseError) => StoreErrorKind::Corrupt,
        ErrorKind::Extension if error.code() == Some("WRONGTYPE") => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::with_source(kind, error)
}

/// Whether the connection is of no more use: it is lost, it says nothing, or its server is a replica
/// now and another one, under the same address, takes writes.
pub(crate) fn is_broken(error: &RedisError) -> bool {
    error.is_timeout()
        || error.is_unrecoverable_error()
        || error.is_io_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// An answer that the scripts never give.
pub(crate) fn corrupt() -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt)
}
