//! How a store tells of its changes.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use countersign_core::{CompanyId, KeyPrefix, StoreError};

/// Tells what changed in a store, whichever process changed it, so that caches forget it at once.
/// [`KeyCache::follow_changes`](crate::KeyCache::follow_changes) listens to it.
#[async_trait]
pub trait ChangeFeed: Debug + Send + Sync + 'static {
    /// Opens a connection of the feed's own. From then on nothing that is committed is missed by
    /// [`ChangeStream::wait`].
    ///
    /// # Errors
    /// `Unavailable` when the store can't be reached.
    async fn open(&self) -> Result<Box<dyn ChangeStream>, StoreError>;
}

#[async_trait]
impl<F: ChangeFeed + ?Sized> ChangeFeed for Arc<F> {
    async fn open(&self) -> Result<Box<dyn ChangeStream>, StoreError> {
        (**self).open().await
    }
}

/// One connection of a [`ChangeFeed`].
#[async_trait]
pub trait ChangeStream: Debug + Send {
    /// Everything that was committed after `after` and before this call. More may be told, twice
    /// too, but nothing less. Where that can't be said, because `after` is `None` or is not a place
    /// in this store's history, the answer is [`Changed::Everything`].
    ///
    /// A position that an earlier stream told may be of another history that nobody can tell from this
    /// one: a server that took over may lack the last changes, and have made as many others since.
    /// Whoever reads on from there must not rely on the answer alone;
    /// [`ChangeFollower`](crate::ChangeFollower) believes what it knew before for the fallback bound.
    /// Within one stream there is one history: a stream whose server is replaced under it fails.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost; the stream is then of no more use.
    async fn read(&mut self, after: Option<FeedPosition>) -> Result<Changes, StoreError>;

    /// Ends soon after something was committed that was not read yet; without a reason is allowed.
    /// Dropping the future half way loses nothing.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost; the stream is then of no more use.
    async fn wait(&mut self) -> Result<(), StoreError>;
}

/// A place in the order of a store's commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedPosition(pub u64);

/// What changed, and how far that tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Everything up to here is told.
    pub position: FeedPosition,
    /// What changed, in no particular order.
    pub changed: Vec<Changed>,
}

/// One thing that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changed {
    /// A key.
    Key(KeyPrefix),
    /// A company's standing, and with it that of all of its keys.
    Company(CompanyId),
    /// Anything: nothing that is cached may be believed.
    Everything,
}
