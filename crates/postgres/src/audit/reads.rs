//! That somebody read the log, or removed lines of it, is an event of it.

use std::time::SystemTime;

use countersign_audit_sink::Notice;
use countersign_core::{StoreError, StoreErrorKind, Timestamp};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::server::Server;
use crate::error::{corrupt, store_error, within};
use crate::migrate::{AUDIT, version};
use crate::options::PostgresOptions;

/// Leaves word in the log on this server that `actor` reads or exports it for `purpose`. The
/// process that signs records it as `external_api.audit.read`: within a minute where one runs,
/// else at its next start. The event has the time at which word was left, by the server's clock, and
/// no later one than when it is recorded.
///
/// The role needs `INSERT` on the columns `actor` and `purpose` of `reads`, and no more.
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
    let word: [(&(dyn ToSql + Sync), Type); 2] = [(&actor, Type::TEXT), (&purpose, Type::TEXT)];
    let leaving = link.client.execute_typed(sql, &word);
    let leaving = async { leaving.await.map(drop).map_err(store_error) };
    within(server.patience(), leaving).await
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
        for row in client.query_typed(WORDS, &[]).await.map_err(store_error)? {
            self.told.push(row.try_get(0).map_err(corrupt)?);
            self.notices.push(notice(&row));
        }
        Ok(())
    }
}

/// What a word says. One that can't be read, or that tells of lines which nobody removed, is told as
/// such: somebody was here.
fn notice(row: &Row) -> Notice {
    let notice = said(row).unwrap_or_else(|| Notice::read("unknown", "unknown"));
    match left_at(row) {
        Some(time) => notice.at(time),
        None => notice,
    }
}

fn left_at(row: &Row) -> Option<Timestamp> {
    let at: Option<SystemTime> = row.try_get(5).ok()?;
    let micros = at?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_micros();
    i64::try_from(micros).ok().map(Timestamp::from_micros)
}

fn said(row: &Row) -> Option<Notice> {
    let text = |at| row.try_get::<_, &str>(at).ok();
    let number = |at| row.try_get::<_, Option<i64>>(at).ok();
    match (number(3)?, number(4)?) {
        (None, None) => Some(Notice::read(text(1)?, text(2)?)),
        (first, count) => {
            let (first, count) = (u64::try_from(first?).ok()?, u64::try_from(count?).ok()?);
            let are_gone: bool = row.try_get(6).ok()?;
            are_gone.then_some(Notice::removed(first, count).by(text(1)?))
        }
    }
}

/// No more of a text than an event holds; the last column says whether the lines are gone.
const WORDS: &str = "
    SELECT id, left(actor, 512), left(purpose, 512), first, count, at,
           EXISTS (SELECT FROM removed
                   WHERE removed.first = reads.first
                     AND octet_length(hashes)::numeric = reads.count::numeric * 32)
    FROM reads ORDER BY id LIMIT 1000";
