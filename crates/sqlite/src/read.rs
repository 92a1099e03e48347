//! Queries.

use std::hint::black_box;

use countersign_core::{CompanyId, KeyId, KeyPrefix, LifecycleEvent, StoreError, Timestamp};
use countersign_key_verify::{CompanyRecord, CompanyStatus, FoundKey, KeyRecord};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::{corrupt, store_error};

/// Reads the key with the prefix or the next one behind it, and does the same work with either: how
/// long it takes doesn't tell whether the prefix is known.
pub(crate) fn find(
    connection: &Connection,
    prefix: &KeyPrefix,
) -> Result<Option<FoundKey>, StoreError> {
    let next = connection
        .prepare_cached(
            "SELECT k.prefix, k.record, c.status
             FROM keys k JOIN companies c ON c.id = k.company
             WHERE k.prefix = coalesce((SELECT min(prefix) FROM keys WHERE prefix >= ?1),
                                       (SELECT min(prefix) FROM keys))",
        )
        .and_then(|mut statement| statement.query_row([prefix.as_str()], triple).optional())
        .map_err(store_error)?;
    let Some((found, record, status)) = next else {
        return Ok(None);
    };
    let key = black_box(found_key(&record, &status));
    if found == prefix.as_str() {
        key.map(Some)
    } else {
        Ok(None)
    }
}

fn found_key(record: &str, status: &str) -> Result<FoundKey, StoreError> {
    Ok(FoundKey {
        record: KeyRecord::decode(record)?,
        company: company_status(status)?,
    })
}

pub(crate) fn get(connection: &Connection, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
    let found: Option<String> = connection
        .prepare_cached("SELECT record FROM keys WHERE id = ?1")
        .and_then(|mut s| s.query_row([id.to_string()], |row| row.get(0)).optional())
        .map_err(store_error)?;
    found.map(|record| KeyRecord::decode(&record)).transpose()
}

pub(crate) fn list(
    connection: &Connection,
    company: &CompanyId,
    after: Option<KeyId>,
    limit: u32,
) -> Result<Vec<KeyRecord>, StoreError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let records: Vec<String> = connection
        .prepare_cached(
            "SELECT record FROM keys WHERE company = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        )
        .and_then(|mut statement| {
            let rows = params![company.as_str(), after, limit];
            statement.query_map(rows, |row| row.get(0))?.collect()
        })
        .map_err(store_error)?;
    records
        .iter()
        .map(|record| KeyRecord::decode(record))
        .collect()
}

/// Times sort as text.
pub(crate) fn due_keys(
    connection: &Connection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<KeyRecord>, StoreError> {
    let records: Vec<String> = connection
        .prepare_cached(DUE)
        .and_then(|mut statement| {
            let rows = params![now.to_string(), limit];
            statement.query_map(rows, |row| row.get(0))?.collect()
        })
        .map_err(store_error)?;
    records
        .iter()
        .map(|record| KeyRecord::decode(record))
        .collect()
}

const DUE: &str = "SELECT record FROM keys
    WHERE json_extract(record, '$.status.state') = 'active'
      AND json_extract(record, '$.expires_at') <= ?1
    ORDER BY json_extract(record, '$.expires_at'), id LIMIT ?2";

pub(crate) fn company(
    connection: &Connection,
    id: &CompanyId,
) -> Result<Option<CompanyRecord>, StoreError> {
    let found: Option<(String, u64)> = connection
        .prepare_cached("SELECT status, version FROM companies WHERE id = ?1")
        .and_then(|mut s| {
            s.query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(store_error)?;
    let Some((status, version)) = found else {
        return Ok(None);
    };
    Ok(Some(CompanyRecord {
        id: *id,
        status: company_status(&status)?,
        version,
    }))
}

pub(crate) fn companies(
    connection: &Connection,
    after: Option<CompanyId>,
    limit: u32,
) -> Result<Vec<CompanyRecord>, StoreError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let found: Vec<(String, String, u64)> = connection
        .prepare_cached(
            "SELECT id, status, version FROM companies WHERE id > ?1 ORDER BY id LIMIT ?2",
        )
        .and_then(|mut statement| {
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            statement.query_map(params![after, limit], row)?.collect()
        })
        .map_err(store_error)?;
    let company = |(id, status, version): (String, String, u64)| {
        Ok(CompanyRecord {
            id: id.parse().map_err(corrupt)?,
            status: company_status(&status)?,
            version,
        })
    };
    found.into_iter().map(company).collect()
}

pub(crate) fn pending_events(
    connection: &Connection,
    limit: u32,
) -> Result<Vec<LifecycleEvent>, StoreError> {
    let events: Vec<String> = connection
        .prepare_cached("SELECT event FROM outbox ORDER BY position LIMIT ?1")
        .and_then(|mut s| s.query_map([limit], |row| row.get(0))?.collect())
        .map_err(store_error)?;
    let read = |event: &String| serde_json::from_str(event).map_err(corrupt);
    events.iter().map(read).collect()
}

fn triple(row: &Row<'_>) -> rusqlite::Result<(String, String, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_keys_are_found_by_their_index() {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::migrate::migrate(&mut connection).unwrap();
        let plan: Vec<String> = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {DUE}"))
            .and_then(|mut statement| {
                let steps = statement.query_map(params!["", 1], |row| row.get(3))?;
                steps.collect()
            })
            .unwrap();
        let plan = plan.join("; ");
        assert!(
            plan.contains("SEARCH keys USING INDEX keys_by_end"),
            "{plan}"
        );
        assert!(!plan.contains("TEMP B-TREE"), "nothing is sorted: {plan}");
    }
}
