//! When and for what keys were used.

use std::sync::Arc;

use countersign_core::{KeyId, ScopeSet, StoreError, Timestamp};
use countersign_key_verify::KeyUse;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row, Transaction};

use crate::error::{corrupt, store_error};

/// Adds a batch to what is known, in one transaction. Rows are written in the order of their keys,
/// so that two processes never wait for each other.
pub(crate) async fn record(client: &mut Client, uses: &[KeyUse]) -> Result<(), StoreError> {
    let transaction = client.transaction().await.map_err(store_error)?;
    add_uses(&transaction, uses).await?;
    add_scopes(&transaction, uses).await?;
    transaction.commit().await.map_err(store_error)
}

async fn add_uses(transaction: &Transaction<'_>, uses: &[KeyUse]) -> Result<(), StoreError> {
    let keys: Vec<String> = uses.iter().map(|one| one.key.to_string()).collect();
    let times: Vec<i64> = uses.iter().map(|one| one.at.as_micros()).collect();
    let routes: Vec<Option<&str>> = uses.iter().map(|one| one.route.as_deref()).collect();
    let counts = uses.iter().map(|one| i64::try_from(one.count));
    let counts: Vec<i64> = counts.collect::<Result<_, _>>().map_err(corrupt)?;
    let sql = "INSERT INTO key_uses AS known (key, at, route, count)
               SELECT new.* FROM unnest($1, $2, $3, $4) AS new (key, at, route, count)
               WHERE EXISTS (SELECT FROM keys WHERE id = new.key) ORDER BY new.key
               ON CONFLICT (key) DO UPDATE SET
                   route = CASE WHEN excluded.at >= known.at THEN excluded.route
                                ELSE known.route END,
                   at = greatest(known.at, excluded.at),
                   count = known.count + excluded.count";
    transaction
        .query_typed(
            sql,
            &[
                (&keys, Type::TEXT_ARRAY),
                (&times, Type::INT8_ARRAY),
                (&routes, Type::TEXT_ARRAY),
                (&counts, Type::INT8_ARRAY),
            ],
        )
        .await
        .map(drop)
        .map_err(store_error)
}

async fn add_scopes(transaction: &Transaction<'_>, uses: &[KeyUse]) -> Result<(), StoreError> {
    let pairs = uses
        .iter()
        .flat_map(|one| one.scopes.iter().map(|scope| (one.key.to_string(), scope)));
    let (keys, scopes): (Vec<String>, Vec<&str>) =
        pairs.map(|(key, scope)| (key, scope.as_str())).unzip();
    let sql = "INSERT INTO key_scopes (key, scope)
               SELECT new.* FROM unnest($1, $2) AS new (key, scope)
               WHERE EXISTS (SELECT FROM keys WHERE id = new.key) ORDER BY new.key, new.scope
               ON CONFLICT DO NOTHING";
    transaction
        .query_typed(
            sql,
            &[(&keys, Type::TEXT_ARRAY), (&scopes, Type::TEXT_ARRAY)],
        )
        .await
        .map(drop)
        .map_err(store_error)
}

pub(crate) async fn last(client: &Client, keys: &[KeyId]) -> Result<Vec<KeyUse>, StoreError> {
    let keys: Vec<String> = keys.iter().map(KeyId::to_string).collect();
    let sql = "SELECT key, at, route, count,
                      ARRAY (SELECT scope FROM key_scopes s WHERE s.key = u.key)
               FROM key_uses u WHERE key = ANY ($1)";
    let rows = client.query_typed(sql, &[(&keys, Type::TEXT_ARRAY)]).await;
    rows.map_err(store_error)?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<KeyUse, StoreError> {
    let key: &str = row.try_get(0).map_err(corrupt)?;
    let at: i64 = row.try_get(1).map_err(corrupt)?;
    let route: Option<&str> = row.try_get(2).map_err(corrupt)?;
    let count: i64 = row.try_get(3).map_err(corrupt)?;
    let scopes: Vec<&str> = row.try_get(4).map_err(corrupt)?;
    Ok(KeyUse {
        key: key.parse().map_err(corrupt)?,
        at: Timestamp::from_micros(at),
        route: route.map(Arc::from),
        count: u64::try_from(count).map_err(corrupt)?,
        scopes: ScopeSet::from_names(scopes).map_err(corrupt)?,
    })
}
