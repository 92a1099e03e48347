//! When and for what keys are used.

mod cell;
mod tracker;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use countersign_core::{KeyId, ScopeSet, StoreError, Timestamp};

pub(crate) use self::cell::UseCell;
pub(crate) use self::tracker::UseTracker;
pub use self::writer::{UseReport, UseWriter};

/// The uses of one key: in a batch those since the last one, in a store all of them.
///
/// A use is a request whose key was accepted: what comes after, the company, the scope and the
/// limits, may still refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub key: KeyId,
    /// When it was used last, up to a second late.
    pub at: Timestamp,
    /// The route template of that use, where a contract found one.
    pub route: Option<Arc<str>>,
    /// How many times it was used.
    pub count: u64,
    /// Those of its scopes that opened an endpoint: where several alternatives would, the one that
    /// was declared first.
    pub scopes: ScopeSet,
}

impl KeyUse {
    /// Adds other uses of the same key: counts add up, scopes come together, and the later time
    /// stands, with its route.
    pub fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.scopes = self.scopes.iter().chain(other.scopes.iter()).collect();
        if other.at >= self.at {
            self.at = other.at;
            self.route.clone_from(&other.route);
        }
    }
}

/// Where a store keeps the uses of keys, apart from their records: a use is no change of a key. It
/// counts up no version, tells no feed and needs no event.
#[async_trait]
pub trait UseStore: Debug + Send + Sync + 'static {
    /// Adds these uses to what is known of their keys, as [`KeyUse::add`] does, all or none. A key
    /// stands in a batch at most once; one that is not known is passed over. Concurrent batches,
    /// from other processes too, are as if one came after the other: no count is lost.
    ///
    /// # Errors
    /// When the store can't be asked. The uses are then added again with the next batch: where it
    /// is not known whether they were written, some may count twice, and none is lost.
    async fn record_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError>;

    /// What is known of these keys, in no particular order; a key that was never used is left out.
    ///
    /// # Errors
    /// When the store can't be asked.
    async fn last_uses(&self, keys: &[KeyId]) -> Result<Vec<KeyUse>, StoreError>;
}
