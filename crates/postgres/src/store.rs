//! The store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use countersign_core::{CompanyId, KeyId, KeyPrefix, LifecycleEvent, StoreError, Timestamp};
use countersign_key_verify::{
    Change, ChangeFeed, CompanyRecord, EventClaim, FoundKey, HeldClaim, KeyRecord, KeyStore,
    KeyUse, UseStore,
};
use tokio::time::timeout;
use tokio_postgres::types::Type;

use crate::error::{corrupt, store_error, unavailable};
use crate::feed::PostgresFeed;
use crate::link::Link;
use crate::migrate::{KEYS, migrate};
use crate::options::PostgresOptions;
use crate::pool::Pool;
use crate::watch::Watched;
use crate::{read, uses, write};

/// Keys in a PostgreSQL database, shared by any number of processes. A clone is a handle to the
/// same connections.
#[derive(Clone)]
pub struct PostgresKeyStore(Arc<Pool>);

impl PostgresKeyStore {
    /// Connects, and brings the schema up to date unless the options say otherwise. The connections
    /// are kept up from then on by one task, until the last handle is gone.
    ///
    /// # Errors
    /// `Unavailable` when the server can't be reached, refuses the user, or the role may not do what
    /// must be done; `UnsupportedVersion` when a newer version of this crate made the schema. The
    /// cause says which; it never holds the password.
    ///
    /// # Panics
    /// When called outside a tokio runtime with its timer and its I/O on.
    pub async fn connect(options: PostgresOptions) -> Result<Self, StoreError> {
        let first = async |link: &mut Link, options: &PostgresOptions| {
            migrate(&mut link.client, options, &KEYS).await
        };
        Pool::connect(options, first).await.map(Self)
    }
}

#[async_trait]
impl KeyStore for PostgresKeyStore {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        let link = self.0.shared()?;
        match timeout(self.0.options.statement, read::find(&link, prefix)).await {
            Ok(found) => found,
            Err(late) => Err(unavailable(late)),
        }
    }

    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let mut lease = self.0.take().await?;
        lease
            .answer(async |link| read::get(&link.client, id).await)
            .await
    }

    async fn list(
        &self,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let mut lease = self.0.take().await?;
        lease
            .answer(async |link| read::list(&link.client, company, after, limit).await)
            .await
    }

    async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        let mut lease = self.0.take().await?;
        lease
            .answer(async |link| read::due_keys(&link.client, now, limit).await)
            .await
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        let mut lease = self.0.take().await?;
        lease
            .answer(async |link| read::company(&link.client, id).await)
            .await
    }

    async fn companies(
        &self,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        let mut lease = self.0.take().await?;
        lease
            .answer(async |link| read::companies(&link.client, after, limit).await)
            .await
    }

    async fn commit(&self, change: &Change) -> Result<(), StoreError> {
        let mut lease = self.0.take().await?;
        let schema = &self.0.options.schema;
        lease
            .answer(async |link| write::commit(&mut link.client, schema, change).await)
            .await
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        let mut lease = self.0.take().await?;
        lease
            .answer(async |link| read::pending_events(&link.client, limit).await)
            .await
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        let mut lease = self.0.take().await?;
        lease
            .answer(async |link| write::acknowledge(&link.client, events).await)
            .await
    }

    /// An advisory lock on a connection of its own: the server frees it when the process that has
    /// it is gone.
    async fn claim_events(&self) -> Result<Option<EventClaim>, StoreError> {
        // Asked by those who wait for it, again and again: that must not cost a connection each time.
        if !self.outbox_is_free().await? {
            return Ok(None);
        }
        let link = self.0.watched().await?;
        let sql = "SELECT pg_try_advisory_lock(hashtextextended('countersign outbox ' || $1, 0))";
        let row = link
            .client
            .query_typed_one(sql, &[(&self.0.options.schema, Type::TEXT)])
            .await
            .map_err(store_error)?;
        let ours: bool = row.try_get(0).map_err(corrupt)?;
        Ok(ours.then(|| EventClaim::held_by(OutboxLock(link))))
    }

    fn change_feed(&self) -> Option<Arc<dyn ChangeFeed>> {
        Some(Arc::new(PostgresFeed(Arc::clone(&self.0))))
    }

    fn uses(&self) -> Option<&dyn UseStore> {
        Some(self)
    }
}

#[async_trait]
impl UseStore for PostgresKeyStore {
    async fn record_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        let mut lease = self.0.take().await?;
        lease
            .answer(async |link| uses::record(&mut link.client, uses).await)
            .await
    }

    async fn last_uses(&self, keys: &[KeyId]) -> Result<Vec<KeyUse>, StoreError> {
        let mut lease = self.0.take().await?;
        lease
            .answer(async |link| uses::last(&link.client, keys).await)
            .await
    }
}

impl PostgresKeyStore {
    /// Whether nobody has the lock on the outbox. It is taken and let go with the statement.
    async fn outbox_is_free(&self) -> Result<bool, StoreError> {
        let sql = "SELECT pg_try_advisory_xact_lock(
                       hashtextextended('countersign outbox ' || $1, 0))";
        let schema = &self.0.options.schema;
        let mut lease = self.0.take().await?;
        let ask = async |link: &mut Link| {
            let row = link
                .client
                .query_typed_one(sql, &[(schema, Type::TEXT)])
                .await
                .map_err(store_error)?;
            row.try_get(0).map_err(corrupt)
        };
        lease.answer(ask).await
    }
}

struct OutboxLock(Watched);

impl HeldClaim for OutboxLock {
    fn is_held(&self) -> bool {
        self.0.is_alive()
    }
}

impl fmt::Debug for PostgresKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresKeyStore")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}
