//! What a log holds, read back while it is written.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use countersign_core::{EventId, StoreError};

/// Reads a log back: which of some events does it hold?
///
/// Whoever brings events from an outbox into a log, and was killed before the outbox could be told
/// that they are written, asks this before it writes them again.
pub trait EventHistory: Debug + Send + Sync + 'static {
    /// Those of `ids` that are in the log, on disk. What is being written may be missed, and so
    /// may an event whose id says that it is days younger than its place in the log: ids are taken
    /// to be as old as they say. Blocks while it reads; a log that is being written goes on.
    ///
    /// # Errors
    /// When the log can't be read. Nobody knows then what it holds.
    fn find(&self, ids: &HashSet<EventId>) -> Result<HashSet<EventId>, StoreError>;
}

/// Several logs that are to hold the same events.
#[derive(Debug)]
pub(crate) struct InAll(pub(crate) Vec<Arc<dyn EventHistory>>);

impl EventHistory for InAll {
    /// Only what each of them holds: an event that one of them lacks is written again, so that
    /// none is lost.
    fn find(&self, ids: &HashSet<EventId>) -> Result<HashSet<EventId>, StoreError> {
        let first = ids.clone();
        self.0.iter().try_fold(first, |ids, log| log.find(&ids))
    }
}
