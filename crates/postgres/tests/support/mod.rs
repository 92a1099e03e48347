//! A store of one's own on the server that `cargo xtask servers` names.
#![allow(dead_code, reason = "each test file uses its part")]

#[cfg(feature = "audit")]
pub(crate) mod audit;
#[cfg(feature = "rls")]
pub(crate) mod bank;
pub(crate) mod proxy;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign_postgres::{PostgresKeyStore, PostgresOptions};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// The server's address.
pub(crate) fn address() -> String {
    std::env::var("COUNTERSIGN_TEST_POSTGRES")
        .expect("cargo xtask test, or cargo xtask servers, names the server")
}

/// A name that nobody else uses.
pub(crate) fn unique() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    format!("test_{}_{number}", std::process::id())
}

/// A schema that nobody else uses.
pub(crate) fn options() -> PostgresOptions {
    let options: PostgresOptions = address().parse().unwrap();
    options.schema(&unique()).unwrap()
}

/// An empty store.
pub(crate) async fn store() -> PostgresKeyStore {
    PostgresKeyStore::connect(options()).await.unwrap()
}

/// A connection of the server's own superuser.
pub(crate) async fn client() -> Client {
    let (client, connection) = tokio_postgres::connect(&address(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Runs statements, and gives the first column of what they answer.
pub(crate) async fn try_sql(text: &str) -> Result<Vec<String>, String> {
    let answer = client().await.simple_query(text).await;
    let rows = answer.map_err(|error| error.as_db_error().unwrap().message().to_owned())?;
    let column = rows.iter().filter_map(|row| match row {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(column.collect())
}

pub(crate) async fn sql(text: &str) -> Vec<String> {
    try_sql(text).await.unwrap()
}

/// Waits for what comes by itself, and not for ever.
pub(crate) async fn soon(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .expect(what);
}
