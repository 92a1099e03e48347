//! The schema, one step a version.

use std::time::Duration;

use countersign_core::{StoreError, StoreErrorKind};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};

use crate::error::{corrupt, store_error, unavailable, within};
use crate::options::PostgresOptions;

/// Brings the schema to this program's version, or refuses: a schema that a newer program made is
/// left alone, and an older one too where migrations are not wanted. Each step takes as long as it
/// takes; everything else is bounded here too, against a connection that says nothing any more.
pub(crate) async fn migrate(
    client: &mut Client,
    options: &PostgresOptions,
    steps: &[&str],
) -> Result<(), StoreError> {
    let latest = steps.len();
    // Most starts find nothing to do, and then a role that may not change the schema is enough.
    if version(client, options, latest).await? == latest {
        return Ok(());
    }
    if !options.migrate {
        return Err(unavailable(
            "the schema is older than this program, and it is opened without migrations: \
             run the migration as its owner first",
        ));
    }
    let transaction = begin(client, options).await?;
    let version = version(transaction.client(), options, latest).await?;
    for step in &steps[version..] {
        apply(&transaction, &options.schema, step).await?;
    }
    within(options.patience(), finish(transaction, latest)).await
}

/// A transaction in which nobody else migrates.
async fn begin<'a>(
    client: &'a mut Client,
    options: &PostgresOptions,
) -> Result<Transaction<'a>, StoreError> {
    let beginning = async {
        let transaction = client.transaction().await?;
        // A step may take long on a large store, and so may the wait for another process's.
        let limits = "SET LOCAL statement_timeout TO 0; SET LOCAL lock_timeout TO '10min'";
        transaction
            .batch_execute(limits)
            .await
            .map(|()| transaction)
    };
    let beginning = async { beginning.await.map_err(store_error) };
    let transaction = within(options.patience(), beginning).await?;
    // Of several processes that start at once, one migrates and the others find it done.
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('countersign migration ' || $1, 0))";
    let parameters = [(&options.schema as &(dyn ToSql + Sync), Type::TEXT)];
    let locking = transaction.query_typed(lock, &parameters);
    let locking = async { locking.await.map_err(store_error) };
    within(LONGEST_WAIT + options.patience(), locking).await?;
    Ok(transaction)
}

async fn finish(transaction: Transaction<'_>, latest: usize) -> Result<(), StoreError> {
    let sql = "UPDATE schema_version SET version = $1";
    let latest = i32::try_from(latest).map_err(corrupt)?;
    transaction
        .query_typed(sql, &[(&latest, Type::INT4)])
        .await
        .map_err(store_error)?;
    transaction.commit().await.map_err(store_error)
}

async fn apply(transaction: &Transaction<'_>, schema: &str, step: &str) -> Result<(), StoreError> {
    let step = step.replace("{schema}", schema);
    transaction.batch_execute(&step).await.map_err(store_error)
}

/// How many steps the schema has seen.
pub(crate) async fn version(
    client: &Client,
    options: &PostgresOptions,
    latest: usize,
) -> Result<usize, StoreError> {
    within(options.patience(), read_version(client, options, latest)).await
}

async fn read_version(
    client: &Client,
    options: &PostgresOptions,
    latest: usize,
) -> Result<usize, StoreError> {
    let sql = "SELECT 1 FROM pg_catalog.pg_tables
               WHERE schemaname = $1 AND tablename = 'schema_version'";
    let there = client
        .query_typed(sql, &[(&options.schema, Type::TEXT)])
        .await
        .map_err(store_error)?;
    if there.is_empty() {
        return Ok(0);
    }
    let row = client
        .query_typed_one("SELECT version FROM schema_version", &[])
        .await
        .map_err(store_error)?;
    let version: i32 = row.try_get(0).map_err(corrupt)?;
    let version = usize::try_from(version).map_err(corrupt)?;
    if version > latest {
        return Err(StoreErrorKind::UnsupportedVersion.into());
    }
    Ok(version)
}

/// How long another process may migrate; the server's own bound says the same.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The steps of the key store. They are added, never changed.
pub(crate) const KEYS: [&str; 3] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
];
/// The steps of an audit log.
#[cfg(feature = "audit")]
pub(crate) const AUDIT: [&str; 3] = [
    include_str!("schema/audit_1.sql"),
    include_str!("schema/audit_2.sql"),
    include_str!("schema/audit_3.sql"),
];
