//! Queries.

use std::hint::black_box;

use countersign_core::{CompanyId, KeyId, KeyPrefix, LifecycleEvent, StoreError, Timestamp};
use countersign_key_verify::{CompanyRecord, CompanyStatus, FoundKey, KeyRecord};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use crate::error::{corrupt, store_error, unavailable};
use crate::link::Link;

/// Prepared once for each connection for look-ups: the key with the prefix or the next one behind
/// it.
pub(crate) const FIND: &str = "SELECT k.prefix, k.record, c.status \
     FROM keys k JOIN companies c ON c.id = k.company \
     WHERE k.prefix = coalesce((SELECT min(prefix) FROM keys WHERE prefix >= $1), \
                               (SELECT min(prefix) FROM keys))";

/// Does the same work with the key that is asked for and with another: how long it takes doesn't
/// tell whether the prefix is known.
pub(crate) async fn find(link: &Link, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
    let Some(statement) = &link.find else {
        return Err(unavailable("a connection that is not for look-ups"));
    };
    let next = link.client.query_opt(statement, &[&prefix.as_str()]).await;
    let Some(row) = next.map_err(store_error)? else {
        return Ok(None);
    };
    let key = black_box(found_key(&row));
    if column(&row, 0)? == prefix.as_str() {
        key.map(Some)
    } else {
        Ok(None)
    }
}

fn found_key(row: &Row) -> Result<FoundKey, StoreError> {
    Ok(FoundKey {
        record: KeyRecord::decode(column(row, 1)?)?,
        company: company_status(column(row, 2)?)?,
    })
}

pub(crate) async fn get(client: &Client, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
    let sql = "SELECT record FROM keys WHERE id = $1";
    let found = client
        .query_typed_opt(sql, &[(&id.to_string(), Type::TEXT)])
        .await
        .map_err(store_error)?;
    found.map(|row| record(&row)).transpose()
}

pub(crate) async fn list(
    client: &Client,
    company: &CompanyId,
    after: Option<KeyId>,
    limit: u32,
) -> Result<Vec<KeyRecord>, StoreError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let sql = "SELECT record FROM keys WHERE company = $1 AND id > $2 ORDER BY id LIMIT $3";
    let rows = client
        .query_typed(
            sql,
            &[
                (&company.as_str(), Type::TEXT),
                (&after, Type::TEXT),
                (&i64::from(limit), Type::INT8),
            ],
        )
        .await
        .map_err(store_error)?;
    rows.iter().map(record).collect()
}

/// Times sort as text. The words are those of the index.
pub(crate) async fn due_keys(
    client: &Client,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<KeyRecord>, StoreError> {
    let sql = "SELECT record FROM keys
               WHERE record::json #>> '{status,state}' = 'active'
                 AND (record::json ->> 'expires_at') COLLATE \"C\" <= $1
               ORDER BY (record::json ->> 'expires_at') COLLATE \"C\", id LIMIT $2";
    let (now, limit) = (now.to_string(), i64::from(limit));
    let rows = client
        .query_typed(sql, &[(&now, Type::TEXT), (&limit, Type::INT8)])
        .await
        .map_err(store_error)?;
    rows.iter().map(record).collect()
}

pub(crate) async fn company(
    client: &Client,
    id: &CompanyId,
) -> Result<Option<CompanyRecord>, StoreError> {
    let sql = "SELECT status, version FROM companies WHERE id = $1";
    let found = client
        .query_typed_opt(sql, &[(&id.as_str(), Type::TEXT)])
        .await
        .map_err(store_error)?;
    found.map(|row| company_record(&row, *id)).transpose()
}

/// From a row that begins with the status and the version.
fn company_record(row: &Row, id: CompanyId) -> Result<CompanyRecord, StoreError> {
    let version: i64 = row.try_get(1).map_err(corrupt)?;
    Ok(CompanyRecord {
        id,
        status: company_status(column(row, 0)?)?,
        version: u64::try_from(version).map_err(corrupt)?,
    })
}

pub(crate) async fn companies(
    client: &Client,
    after: Option<&CompanyId>,
    limit: u32,
) -> Result<Vec<CompanyRecord>, StoreError> {
    let after = after.map_or("", CompanyId::as_str);
    let sql = "SELECT status, version, id FROM companies WHERE id > $1 ORDER BY id LIMIT $2";
    let limit = i64::from(limit);
    let rows = client
        .query_typed(sql, &[(&after, Type::TEXT), (&limit, Type::INT8)])
        .await
        .map_err(store_error)?;
    rows.iter()
        .map(|row| company_record(row, column(row, 2)?.parse().map_err(corrupt)?))
        .collect()
}

pub(crate) async fn pending_events(
    client: &Client,
    limit: u32,
) -> Result<Vec<LifecycleEvent>, StoreError> {
    let sql = "SELECT event FROM outbox ORDER BY position LIMIT $1";
    let rows = client
        .query_typed(sql, &[(&i64::from(limit), Type::INT8)])
        .await
        .map_err(store_error)?;
    rows.iter()
        .map(|row| serde_json::from_str(column(row, 0)?).map_err(corrupt))
        .collect()
}

fn record(row: &Row) -> Result<KeyRecord, StoreError> {
    KeyRecord::decode(column(row, 0)?)
}

fn column(row: &Row, index: usize) -> Result<&str, StoreError> {
    row.try_get(index).map_err(corrupt)
}

fn company_status(text: &str) -> Result<CompanyStatus, StoreError> {
    match text {
        "active" => Ok(CompanyStatus::Active),
        "suspended" => Ok(CompanyStatus::Suspended),
        _ => Err(corrupt(
            "a company's status is neither active nor suspended",
        )),
    }
}
