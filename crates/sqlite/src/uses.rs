//! When and for what keys were used.

use countersign_core::{KeyId, ScopeSet, StoreError, Timestamp};
use countersign_key_verify::KeyUse;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use crate::error::{corrupt, store_error};

/// Adds a batch to what is known, in one transaction.
pub(crate) fn record(connection: &mut Connection, uses: &[KeyUse]) -> Result<(), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(store_error)?;
    for one in uses {
        add(&transaction, one).map_err(store_error)?;
    }
    transaction.commit().map_err(store_error)
}

fn add(connection: &Connection, one: &KeyUse) -> rusqlite::Result<()> {
    let key = one.key.to_string();
    let sql = "INSERT INTO key_uses (key, at, route, count)
               SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM keys WHERE id = ?1)
               ON CONFLICT (key) DO UPDATE SET
                   route = CASE WHEN excluded.at >= at THEN excluded.route ELSE route END,
                   at = max(at, excluded.at),
                   count = count + excluded.count";
    let row = params![key, one.at.as_micros(), one.route.as_deref(), one.count];
    if connection.prepare_cached(sql)?.execute(row)? == 0 {
        return Ok(());
    }
    let sql = "INSERT OR IGNORE INTO key_scopes (key, scope) VALUES (?1, ?2)";
    let mut insert = connection.prepare_cached(sql)?;
    for scope in one.scopes.iter() {
        insert.execute([&key, scope.as_str()])?;
    }
    Ok(())
}

pub(crate) fn last(connection: &Connection, keys: &[KeyId]) -> Result<Vec<KeyUse>, StoreError> {
    let uses = keys
        .iter()
        .filter_map(|key| of(connection, *key).transpose());
    uses.collect()
}

fn of(connection: &Connection, key: KeyId) -> Result<Option<KeyUse>, StoreError> {
    let id = key.to_string();
    let used = |row: &Row<'_>| {
        Ok(KeyUse {
            key,
            at: Timestamp::from_micros(row.get(0)?),
            route: row.get::<_, Option<String>>(1)?.map(Into::into),
            count: row.get(2)?,
            scopes: ScopeSet::new(),
        })
    };
    let found = connection
        .prepare_cached("SELECT at, route, count FROM key_uses WHERE key = ?1")
        .and_then(|mut statement| statement.query_row([&id], used).optional())
        .map_err(store_error)?;
    let Some(mut found) = found else {
        return Ok(None);
    };
    let scopes: Vec<String> = connection
        .prepare_cached("SELECT scope FROM key_scopes WHERE key = ?1")
        .and_then(|mut statement| statement.query_map([&id], |row| row.get(0))?.collect())
        .map_err(store_error)?;
    let scopes = ScopeSet::from_names(scopes.iter().map(String::as_str));
    found.scopes = scopes.map_err(corrupt)?;
    Ok(Some(found))
}
