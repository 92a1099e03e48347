//! The one writing verb, and the outbox.

use countersign_core::{LifecycleEvent, StoreError, StoreErrorKind};
use countersign_key_verify::{Change, CompanyRecord, KeyRecord, Write};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};

use crate::error::{corrupt, store_error};

/// Makes all of a change or nothing: the transaction is rolled back when it is dropped.
///
/// Every change begins by counting up the feed's position, and whoever counts keeps the row locked
/// until the change is committed. So changes are made one after the other, positions are in the
/// order of commits, and none is missing: a reader who has seen a position has seen everything
/// before it. Telling the listeners would put commits into one line anyway.
pub(crate) async fn commit(
    client: &mut Client,
    schema: &str,
    change: &Change,
) -> Result<(), StoreError> {
    let transaction = client.transaction().await.map_err(store_error)?;
    let sql = "UPDATE feed SET position = position + 1 RETURNING position";
    let row = transaction.query_typed_one(sql, &[]).await;
    let position: i64 = row.map_err(store_error)?.try_get(0).map_err(corrupt)?;
    let same_kind =
        |a: &Write, b: &Write| matches!((a, b), (Write::InsertKey(_), Write::InsertKey(_)));
    for writes in change.writes.chunk_by(same_kind) {
        write_all(&transaction, writes, position).await?;
    }
    insert_events(&transaction, &change.events).await?;
    let channel = channel(schema);
    let tell = "SELECT pg_notify($1, '')";
    transaction
        .query_typed(tell, &[(&channel, Type::TEXT)])
        .await
        .map_err(store_error)?;
    transaction.commit().await.map_err(store_error)
}

pub(crate) async fn acknowledge(
    client: &Client,
    events: &[LifecycleEvent],
) -> Result<(), StoreError> {
    let ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
    let sql = "DELETE FROM outbox WHERE id = ANY ($1)";
    let done = client.query_typed(sql, &[(&ids, Type::TEXT_ARRAY)]).await;
    done.map(drop).map_err(store_error)
}

/// The channel that a store's changes are told on.
pub(crate) fn channel(schema: &str) -> String {
    format!("{schema}_changes")
}

/// One write, or many keys to insert.
async fn write_all(
    transaction: &Transaction<'_>,
    writes: &[Write],
    position: i64,
) -> Result<(), StoreError> {
    match writes {
        [Write::UpdateKey { record, expected }] => {
            update_key(transaction, record, *expected, position).await
        }
        [Write::InsertCompany(record)] => insert_company(transaction, record, position).await,
        [Write::UpdateCompany { record, expected }] => {
            update_company(transaction, record, *expected, position).await
        }
        keys => {
            let keys = keys.iter().map(|write| match write {
                Write::InsertKey(record) => Ok(record),
                _ => Err(StoreErrorKind::UnsupportedVersion),
            });
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            insert_keys(transaction, &keys, position).await
        }
    }
}

async fn insert_keys(
    transaction: &Transaction<'_>,
    records: &[&KeyRecord],
    position: i64,
) -> Result<(), StoreError> {
    let column = |text: fn(&KeyRecord) -> String| -> Vec<String> {
        records.iter().map(|record| text(record)).collect()
    };
    let ids = column(|record| record.id.to_string());
    let prefixes = column(|record| record.prefix.to_string());
    let companies = column(|record| record.company.to_string());
    let versions = records.iter().map(|record| number(record.version));
    let versions = versions.collect::<Result<Vec<_>, _>>()?;
    let texts = records.iter().map(|record| record.encode());
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    let sql = "INSERT INTO keys (id, prefix, company, version, record, changed)
               SELECT *, $6 FROM unnest($1, $2, $3, $4, $5)";
    execute(
        transaction,
        sql,
        &[
            (&ids, Type::TEXT_ARRAY),
            (&prefixes, Type::TEXT_ARRAY),
            (&companies, Type::TEXT_ARRAY),
            (&versions, Type::INT8_ARRAY),
            (&texts, Type::TEXT_ARRAY),
            (&position, Type::INT8),
        ],
    )
    .await
    .map(drop)
}

/// The prefix and the owner of a key never change, so they are not written again.
async fn update_key(
    transaction: &Transaction<'_>,
    record: &KeyRecord,
    expected: u64,
    position: i64,
) -> Result<(), StoreError> {
    let id = record.id.to_string();
    let sql = "UPDATE keys SET version = $1, record = $2, changed = $3
               WHERE id = $4 AND version = $5 AND prefix = $6 AND company = $7 RETURNING 1";
    let written = execute(
        transaction,
        sql,
        &[
            (&number(record.version)?, Type::INT8),
            (&record.encode()?, Type::TEXT),
            (&position, Type::INT8),
            (&id, Type::TEXT),
            (&number(expected)?, Type::INT8),
            (&record.prefix.as_str(), Type::TEXT),
            (&record.company.as_str(), Type::TEXT),
        ],
    )
    .await?;
    if written == 1 {
        return Ok(());
    }
    let sql = "SELECT 1 FROM keys WHERE id = $1";
    Err(missed(
        execute(transaction, sql, &[(&id, Type::TEXT)]).await?,
    ))
}

async fn insert_company(
    transaction: &Transaction<'_>,
    record: &CompanyRecord,
    position: i64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO companies (id, status, version, changed) VALUES ($1, $2, $3, $4)";
    execute(
        transaction,
        sql,
        &[
            (&record.id.as_str(), Type::TEXT),
            (&record.status.as_str(), Type::TEXT),
            (&number(record.version)?, Type::INT8),
            (&position, Type::INT8),
        ],
    )
    .await
    .map(drop)
}

async fn update_company(
    transaction: &Transaction<'_>,
    record: &CompanyRecord,
    expected: u64,
    position: i64,
) -> Result<(), StoreError> {
    let sql = "UPDATE companies SET status = $1, version = $2, changed = $3
               WHERE id = $4 AND version = $5 RETURNING 1";
    let id = record.id.as_str();
    let written = execute(
        transaction,
        sql,
        &[
            (&record.status.as_str(), Type::TEXT),
            (&number(record.version)?, Type::INT8),
            (&position, Type::INT8),
            (&id, Type::TEXT),
            (&number(expected)?, Type::INT8),
        ],
    )
    .await?;
    if written == 1 {
        return Ok(());
    }
    let sql = "SELECT 1 FROM companies WHERE id = $1";
    Err(missed(
        execute(transaction, sql, &[(&id, Type::TEXT)]).await?,
    ))
}

async fn insert_events(
    transaction: &Transaction<'_>,
    events: &[LifecycleEvent],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
    let texts = events.iter().map(serde_json::to_string);
    let texts = texts.collect::<Result<Vec<_>, _>>().map_err(corrupt)?;
    let sql = "INSERT INTO outbox (id, event)
               SELECT id, event FROM unnest($1, $2) WITH ORDINALITY AS told (id, event, place)
               ORDER BY place";
    let rows: [(&(dyn ToSql + Sync), Type); 2] =
        [(&ids, Type::TEXT_ARRAY), (&texts, Type::TEXT_ARRAY)];
    execute(transaction, sql, &rows).await.map(drop)
}

/// How many rows came back.
async fn execute(
    transaction: &Transaction<'_>,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<usize, StoreError> {
    let rows = transaction.query_typed(sql, parameters).await;
    rows.map(|rows| rows.len()).map_err(store_error)
}

/// Why an update met no row: another version, or no record at all.
fn missed(existing: usize) -> StoreError {
    if existing == 0 {
        StoreErrorKind::NotFound.into()
    } else {
        StoreErrorKind::Conflict.into()
    }
}

/// PostgreSQL has no unsigned numbers.
fn number(version: u64) -> Result<i64, StoreError> {
    i64::try_from(version).map_err(corrupt)
}
