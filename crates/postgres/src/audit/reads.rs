//! That somebody read the log, or removed lines of it, is an event of it.

use countersign_audit_sink::Notice;
use countersign_core::{StoreError, StoreErrorKind};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::server::Server;
use crate::error::{corrupt, store_error};
use crate::migrate::{AUDIT, version};
use crate::options::PostgresOptions;

/// Leaves word in the log on this server that `actor` reads or exports it for `purpose`. The
/// process that signs records it as `external_api.audit.read`: within a minute where one runs,
/// else at its next start.
///
/// Call it before reading: a read of which no word can be left should not take place.
///
/// # Errors
/// `NotFound` when there is no log, `Unavailable` when the server can't be reached or the role may
/// not insert into `reads`.
pub async fn record_read(
    options: PostgresOptions,
    actor: &str,
    purpose: &str,
) -> Result<(), StoreError> {
    let server = Server::new(options)?;
    let link = server.connect().await?;
    require_log(&link.client, &server).await?;
    let sql = "INSERT INTO reads (actor, purpose) VALUES ($1, $2)";
    link.client
        .execute_typed(sql, &[(&actor, Type::TEXT), (&purpose, Type::TEXT)])
        .await
        .map(drop)
        .map_err(store_error)
}

/// How many steps the log's schema has seen.
///
/// # Errors
/// `NotFound` when there is no log.
pub(super) async fn require_log(client: &Client, server: &Server) -> Result<usize, StoreError> {
    let version = version(client, &server.options, AUDIT.len()).await?;
    if version > 0 {
        return Ok(version);
    }
    let problem = format!(
        "there is no audit log in the schema {}",
        server.options.schema
    );
    Err(StoreError::with_source(StoreErrorKind::NotFound, problem))
}

/// Word that was left, and is taken away once it is in the log.
#[derive(Debug, Default)]
pub(super) struct Reads {
    notices: Vec<Notice>,
    /// What stands in the batch that comes next.
    told: Vec<i64>,
}

impl Reads {
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Called after a batch that held all notices: takes their words away, and takes up new ones.
    pub(super) async fn collect(&mut self, client: &Client) -> Result<(), StoreError> {
        if !self.notices.is_empty() {
            return Ok(());
        }
        if !self.told.is_empty() {
            let sql = "DELETE FROM reads WHERE id = ANY($1)";
            client
                .execute_typed(sql, &[(&self.told, Type::INT8_ARRAY)])
                .await
                .map_err(store_error)?;
            self.told.clear();
        }
        let sql = "SELECT id, actor, purpose, first, count FROM reads ORDER BY id LIMIT 1000";
        for row in client.query_typed(sql, &[]).await.map_err(store_error)? {
            let text = |at: usize| row.try_get::<_, &str>(at).map_err(corrupt);
            let number = |at: usize| row.try_get::<_, Option<i64>>(at).map_err(corrupt);
            let notice = match number(3)?.zip(number(4)?) {
                Some((first, count)) => {
                    let number = |number| u64::try_from(number).map_err(corrupt);
                    Notice::removed(number(first)?, number(count)?).by(text(1)?)
                }
                None => Notice::read(text(1)?, text(2)?),
            };
            self.notices.push(notice);
            self.told.push(row.try_get(0).map_err(corrupt)?);
        }
        Ok(())
    }
}
