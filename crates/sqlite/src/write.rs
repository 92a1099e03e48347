//! The one writing verb, and the outbox.

use countersign_core::{KeyId, LifecycleEvent, StoreError, StoreErrorKind};
use countersign_key_verify::{Change, CompanyRecord, KeyRecord, Write};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::error::{corrupt, store_error};

/// Makes all of a change or nothing: the transaction is rolled back when it is dropped.
pub(crate) fn commit(connection: &mut Connection, change: &Change) -> Result<(), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(store_error)?;
    let sql = "UPDATE feed SET position = position + 1 RETURNING position";
    let position = transaction.query_row(sql, [], |row| row.get(0));
    let position: u64 = position.map_err(store_error)?;
    for write in &change.writes {
        match write {
            Write::InsertKey(record) => insert_key(&transaction, record, position)?,
            Write::UpdateKey { record, expected } => {
                update_key(&transaction, record, *expected, position)?;
            }
            Write::InsertCompany(record) => insert_company(&transaction, record, position)?,
            Write::UpdateCompany { record, expected } => {
                update_company(&transaction, record, *expected, position)?;
            }
            _ => return Err(StoreErrorKind::UnsupportedVersion.into()),
        }
    }
    for event in &change.events {
        let text = serde_json::to_string(event).map_err(corrupt)?;
        transaction
            .execute(
                "INSERT INTO outbox (id, event) VALUES (?1, ?2)",
                params![event.id.to_string(), text],
            )
            .map_err(store_error)?;
    }
    transaction.commit().map_err(store_error)
}

pub(crate) fn acknowledge(
    connection: &mut Connection,
    events: &[LifecycleEvent],
) -> Result<(), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(store_error)?;
    for event in events {
        transaction
            .execute("DELETE FROM outbox WHERE id = ?1", [event.id.to_string()])
            .map_err(store_error)?;
    }
    transaction.commit().map_err(store_error)
}

fn insert_key(
    transaction: &Transaction<'_>,
    record: &KeyRecord,
    position: u64,
) -> Result<(), StoreError> {
    if !exists(transaction, record.company.as_str())? {
        return Err(StoreErrorKind::NotFound.into());
    }
    let sql = "INSERT INTO keys (id, prefix, company, version, record, changed)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let row = params![
        record.id.to_string(),
        record.prefix.as_str(),
        record.company.as_str(),
        record.version,
        record.encode()?,
        position,
    ];
    transaction.execute(sql, row).map_err(store_error).map(drop)
}

/// The prefix and the owner of a key never change, so they are not written again.
fn update_key(
    transaction: &Transaction<'_>,
    record: &KeyRecord,
    expected: u64,
    position: u64,
) -> Result<(), StoreError> {
    let sql = "UPDATE keys SET version = ?1, record = ?2, changed = ?3
               WHERE id = ?4 AND version = ?5 AND prefix = ?6 AND company = ?7";
    let row = params![
        record.version,
        record.encode()?,
        position,
        record.id.to_string(),
        expected,
        record.prefix.as_str(),
        record.company.as_str(),
    ];
    match transaction.execute(sql, row).map_err(store_error)? {
        0 => Err(missed(stored_key(transaction, record.id)?)),
        _ => Ok(()),
    }
}

fn insert_company(
    transaction: &Transaction<'_>,
    record: &CompanyRecord,
    position: u64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO companies (id, status, version, changed) VALUES (?1, ?2, ?3, ?4)";
    let row = params![
        record.id.as_str(),
        record.status.as_str(),
        record.version,
        position
    ];
    transaction.execute(sql, row).map_err(store_error).map(drop)
}

fn update_company(
    transaction: &Transaction<'_>,
    record: &CompanyRecord,
    expected: u64,
    position: u64,
) -> Result<(), StoreError> {
    let sql = "UPDATE companies SET status = ?1, version = ?2, changed = ?3
               WHERE id = ?4 AND version = ?5";
    let row = params![
        record.status.as_str(),
        record.version,
        position,
        record.id.as_str(),
        expected,
    ];
    match transaction.execute(sql, row).map_err(store_error)? {
        0 => Err(missed(exists(transaction, record.id.as_str())?)),
        _ => Ok(()),
    }
}

/// Why an update met no row: another version, or no record at all.
fn missed(exists: bool) -> StoreError {
    if exists {
        StoreErrorKind::Conflict.into()
    } else {
        StoreErrorKind::NotFound.into()
    }
}

fn exists(transaction: &Transaction<'_>, company: &str) -> Result<bool, StoreError> {
    transaction
        .query_row("SELECT 1 FROM companies WHERE id = ?1", [company], |_| {
            Ok(())
        })
        .optional()
        .map(|row| row.is_some())
        .map_err(store_error)
}

fn stored_key(transaction: &Transaction<'_>, id: KeyId) -> Result<bool, StoreError> {
    transaction
        .query_row("SELECT 1 FROM keys WHERE id = ?1", [id.to_string()], |_| {
            Ok(())
        })
        .optional()
        .map(|row| row.is_some())
        .map_err(store_error)
}
