//! The right to bring events over: an advisory lock on a connection of its own. The server frees it
//! when that connection ends on its side.

use std::sync::Arc;

use async_trait::async_trait;
use countersign_core::StoreError;
use countersign_key_verify::{EventClaim, HeldClaim};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::error::{corrupt, store_error, within};
use crate::link::SILENCE;
use crate::pool::Pool;
use crate::watch::Watched;

/// The lock, unless somebody else has it.
pub(crate) async fn claim(pool: &Arc<Pool>) -> Result<Option<EventClaim>, StoreError> {
    // Asked by those who wait for it, again and again: that must not cost a connection each time.
    if !is_free(pool).await? {
        return Ok(None);
    }
    let link = pool.watched().await?;
    let locking = lock(&link.client, LOCK, &pool.options.schema);
    let ours = within(pool.options.patience(), locking).await?;
    Ok(ours.then(|| EventClaim::held_by(OutboxLock(link))))
}

/// Whether nobody has the lock. It is taken and let go with the statement.
async fn is_free(pool: &Arc<Pool>) -> Result<bool, StoreError> {
    let mut lease = pool.take().await?;
    lease
        .answer(async |link| lock(&link.client, LOCK_AND_FREE, &pool.options.schema).await)
        .await
}

async fn lock(client: &Client, sql: &str, schema: &str) -> Result<bool, StoreError> {
    let row = client
        .query_typed_one(sql, &[(&schema, Type::TEXT)])
        .await
        .map_err(store_error)?;
    row.try_get(0).map_err(corrupt)
}

struct OutboxLock(Watched);

#[async_trait]
impl HeldClaim for OutboxLock {
    /// The lock lasts as long as the session, and only the session's answer says that it lasts: a
    /// server that was cut off or replaced says no good-bye.
    async fn is_held(&self) -> bool {
        let is_held = self.0.answers(SILENCE).await;
        if !is_held {
            self.0.cut();
        }
        is_held
    }
}

const LOCK: &str = "SELECT pg_try_advisory_lock(hashtextextended('countersign outbox ' || $1, 0))";
const LOCK_AND_FREE: &str =
    "SELECT pg_try_advisory_xact_lock(hashtextextended('countersign outbox ' || $1, 0))";
