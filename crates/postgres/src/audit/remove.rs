//! Lines whose time is over.

use countersign_core::{StoreError, Timestamp};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::append::number;
use super::reads::require_log;
use super::server::Server;
use crate::error::{corrupt, store_error, unavailable};
use crate::migrate::AUDIT;
use crate::options::PostgresOptions;

/// Deletes the oldest lines of the log on this server: those before the first one that is not older
/// than `before`, as far as they are signed when it is called; the newest of those always stays. Their hashes stay,
/// 32 bytes a line, so that the log verifies as before, every proof that could be made before still
/// can, and a line that somebody kept can still be proved. Resolves to how many lines were deleted.
///
/// It works in steps of up to 20 000 lines, each a transaction of its own with word of it: the
/// process that signs records it as `external_api.audit.removed`, with `actor`. Appending goes on
/// meanwhile. When it fails half way, what was deleted until then is deleted as it should be.
///
/// The role needs `DELETE` on `events` and `INSERT` on `removed` and `reads`, of which word of a removal
/// is taken from nobody without that `DELETE`. Give them to nothing that writes the log. Also with them, triggers let a line go only when its hash stays.
///
/// # Errors
/// `NotFound` when there is no log, `Unavailable` when the server can't be reached, the role may not
/// do it, a line is no event, or the schema is older than this program.
pub async fn remove_lines(
    options: PostgresOptions,
    before: Timestamp,
    actor: &str,
) -> Result<u64, StoreError> {
    let server = Server::new(options)?;
    let link = server.connect().await?;
    if require_log(&link.client, &server).await? < AUDIT.len() {
        return Err(unavailable(
            "the schema is older than this program: open the log once as its owner first",
        ));
    }
    let last = newest_signed(&link.client).await?;
    let mut all = 0;
    loop {
        let Some(lines) = oldest(&link.client, before, last).await? else {
            return Ok(all);
        };
        remove(&link.client, &lines, actor).await?;
        all += lines.count;
    }
}

/// Lines from one on, without a hole.
struct Lines {
    first: u64,
    count: u64,
}

/// The number of the newest line that is signed now. Without such a bound a time to come would follow
/// the log for as long as it grows, and take along the word of what it removed.
async fn newest_signed(client: &Client) -> Result<i64, StoreError> {
    let sql = "SELECT coalesce(max(size), 0) - 1 FROM checkpoints";
    let row = client.query_typed_one(sql, &[]).await;
    row.map_err(store_error)?.try_get(0).map_err(corrupt)
}

/// The next lines that may go, all of them before number `last`.
async fn oldest(
    client: &Client,
    before: Timestamp,
    last: i64,
) -> Result<Option<Lines>, StoreError> {
    let before = before.to_string();
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&before, Type::TEXT),
        (&STEP, Type::INT8),
        (&last, Type::INT8),
    ];
    let row = client.query_typed_one(OLDEST, &parameters).await;
    let row = row.map_err(store_error)?;
    let column = |at| -> Result<Option<i64>, StoreError> { row.try_get(at).map_err(corrupt) };
    let Some((first, end)) = column(0)?.zip(column(1)?) else {
        return Ok(None);
    };
    let first = u64::try_from(first).map_err(corrupt)?;
    let count = u64::try_from(end).map_err(corrupt)?.saturating_sub(first);
    Ok((count > 0).then_some(Lines { first, count }))
}

async fn remove(client: &Client, lines: &Lines, actor: &str) -> Result<(), StoreError> {
    client.batch_execute("BEGIN").await.map_err(store_error)?;
    let (first, count) = (number(lines.first)?, number(lines.count)?);
    let range: [(&(dyn ToSql + Sync), Type); 2] = [(&first, Type::INT8), (&count, Type::INT8)];
    for sql in [KEEP_HASHES, DELETE] {
        execute(client, sql, &range).await?;
    }
    let purpose = format!("remove {count} lines from {first} on");
    let word: [(&(dyn ToSql + Sync), Type); 4] = [
        (&actor, Type::TEXT),
        (&purpose, Type::TEXT),
        (&first, Type::INT8),
        (&count, Type::INT8),
    ];
    execute(client, LEAVE_WORD, &word).await?;
    // After an error the connection is dropped, and with it the transaction.
    client.batch_execute("COMMIT").await.map_err(store_error)
}

async fn execute(
    client: &Client,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<(), StoreError> {
    let done = client.execute_typed(sql, parameters).await;
    done.map(drop).map_err(store_error)
}

/// What was removed, the first line and the hashes of all of them, in order.
pub(super) struct Removed {
    pub(super) first: u64,
    pub(super) hashes: Vec<u8>,
}

impl Removed {
    /// From the columns `first` and `hashes`.
    pub(super) fn of(row: &Row) -> Result<Self, StoreError> {
        let first: i64 = row.try_get(0).map_err(corrupt)?;
        Ok(Self {
            first: u64::try_from(first).map_err(corrupt)?,
            hashes: row.try_get(1).map_err(corrupt)?,
        })
    }
}

/// Times have one form, so that their text has their order.
const OLDEST: &str = "
    WITH oldest AS MATERIALIZED (
        SELECT seq, convert_from(line, 'UTF8')::json ->> 'time' AS time
        FROM events
        WHERE seq < $3
        ORDER BY seq LIMIT $2
    )
    SELECT min(seq), coalesce(min(seq) FILTER (WHERE time COLLATE \"C\" >= $1), max(seq) + 1)
    FROM oldest";
const KEEP_HASHES: &str = "
    INSERT INTO removed (first, hashes)
    SELECT min(seq), string_agg(sha256('\\x00'::bytea || line), ''::bytea ORDER BY seq)
    FROM events WHERE seq >= $1 AND seq < $1 + $2";
const DELETE: &str = "DELETE FROM events WHERE seq >= $1 AND seq < $1 + $2";
const LEAVE_WORD: &str = "INSERT INTO reads (actor, purpose, first, count) VALUES ($1, $2, $3, $4)";
/// Lines in one transaction.
const STEP: i64 = 20_000;
