//! The change feed.

use std::sync::Arc;

use async_trait::async_trait;
use countersign_core::StoreError;
use countersign_key_verify::{ChangeFeed, ChangeStream, Changed, Changes, FeedPosition};
use tokio::sync::mpsc;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::error::{corrupt, store_error, unavailable};
use crate::link::Link;
use crate::pool::Pool;
use crate::write::channel;

/// `LISTEN` on a connection of its own. A notification only says that there is something to read;
/// what changed is read from the tables by position, so that nothing depends on each notification
/// being heard, and a lost connection is made good by reading on from where it was lost.
#[derive(Debug)]
pub(crate) struct PostgresFeed(pub(crate) Arc<Pool>);

#[async_trait]
impl ChangeFeed for PostgresFeed {
    async fn open(&self) -> Result<Box<dyn ChangeStream>, StoreError> {
        let (sender, notified) = mpsc::channel(1);
        let link = self.0.dedicated(Some(sender)).await?;
        let listen = format!("LISTEN {}", channel(&self.0.options.schema));
        link.client
            .batch_execute(&listen)
            .await
            .map_err(store_error)?;
        Ok(Box::new(Listening { link, notified }))
    }
}

#[derive(Debug)]
struct Listening {
    link: Link,
    notified: mpsc::Receiver<()>,
}

#[async_trait]
impl ChangeStream for Listening {
    async fn read(&mut self, after: Option<FeedPosition>) -> Result<Changes, StoreError> {
        let client = &self.link.client;
        let row = client
            .query_typed_one("SELECT position FROM feed", &[])
            .await
            .map_err(store_error)?;
        let now: i64 = row.try_get(0).map_err(corrupt)?;
        let now = FeedPosition(u64::try_from(now).map_err(corrupt)?);
        let told = |changed| Changes {
            position: now,
            changed,
        };
        match after {
            Some(after) if after == now => Ok(told(Vec::new())),
            // A position to come is one of another history: the database was restored.
            Some(after) if after < now => {
                let after = i64::try_from(after.0).map_err(corrupt)?;
                let rows = client
                    .query_typed(CHANGED, &[(&after, Type::INT8), (&MOST, Type::INT8)])
                    .await
                    .map_err(store_error)?;
                if rows.len() as i64 == MOST {
                    return Ok(told(vec![Changed::Everything]));
                }
                rows.iter().map(changed).collect::<Result<_, _>>().map(told)
            }
            _ => Ok(told(vec![Changed::Everything])),
        }
    }

    async fn wait(&mut self) -> Result<(), StoreError> {
        match self.notified.recv().await {
            Some(()) => Ok(()),
            None => Err(unavailable("the connection of the change feed is lost")),
        }
    }
}

fn changed(row: &Row) -> Result<Changed, StoreError> {
    let prefix: Option<&str> = row.try_get(0).map_err(corrupt)?;
    if let Some(prefix) = prefix {
        return prefix.parse().map(Changed::Key).map_err(corrupt);
    }
    let company: &str = row.try_get(1).map_err(corrupt)?;
    company.parse().map(Changed::Company).map_err(corrupt)
}

const CHANGED: &str = "
    (SELECT prefix, NULL FROM keys WHERE changed > $1 LIMIT $2)
    UNION ALL (SELECT NULL, id FROM companies WHERE changed > $1 LIMIT $2)
    LIMIT $2";

/// Beyond so many changes a cache had better begin anew.
const MOST: i64 = 10_000;
