//! Opening a log: which one it is, who signs it, and whether it is whole.

use std::sync::Arc;

use countersign_audit_sink::LogTree;
use countersign_core::{StoreError, StoreErrorKind};
use tokio::task::spawn_blocking;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::append::Progress;
use super::reads::Reads;
use super::server::Server;
use super::signer::Signing;
use super::{PostgresLog, PostgresLogOptions};
use crate::error::{corrupt, store_error, unavailable, within};
use crate::migrate::{AUDIT, migrate};

pub(super) async fn open(options: PostgresLogOptions) -> Result<PostgresLog, StoreError> {
    let server = Server::new(options.postgres)?;
    let mut link = server.connect().await?;
    migrate(&mut link.client, &server.options, &AUDIT).await?;
    let known = within(server.patience(), identity(&link.client)).await?;
    let name = match (&known, options.origin) {
        (Some((origin, _)), Some(asked)) if *origin != asked => {
            return Err(conflict(format!("the log there is called {origin}")));
        }
        (Some((origin, _)), _) => origin.clone(),
        (None, asked) => asked.unwrap_or_else(|| format!("countersign/{:016x}", fastrand::u64(..))),
    };
    let tree = match options.signer {
        Some(signer) => {
            let name = name.clone();
            let making = spawn_blocking(move || LogTree::new(&name, signer));
            Some(making.await.map_err(unavailable)??)
        }
        None => None,
    };
    let vkey = match (known, &tree) {
        (Some((_, vkey)), _) => vkey,
        (None, Some(tree)) => {
            let vkey = tree.verifier_key();
            within(server.patience(), begin(&link.client, &name, &vkey)).await?
        }
        (None, None) => {
            return Err(conflict(
                "there is no log yet: a process with the signing key makes it".to_owned(),
            ));
        }
    };
    if let Some(tree) = &tree
        && tree.verifier_key() != vkey
    {
        return Err(conflict("the signing key is another log's".to_owned()));
    }
    let (end, newest) = within(server.patience(), ends(&link.client)).await?;
    check(end, newest, tree.as_ref())?;
    let signing = tree.map(|tree| Signing::new(tree, options.interval, options.clock));
    Ok(PostgresLog {
        server,
        origin: Arc::from(name),
        // It is made again on the writer's thread: a connection lives on the runtime that made it.
        link: None,
        progress: Progress::new(end, options.signed_within),
        signing,
        reads: Reads::default(),
    })
}

/// The log's name and verifier key, if there is a log.
pub(super) async fn identity(client: &Client) -> Result<Option<(String, String)>, StoreError> {
    let rows = client
        .query_typed("SELECT origin, vkey FROM log", &[])
        .await
        .map_err(store_error)?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let column = |at| row.try_get(at).map_err(corrupt);
    Ok(Some((column(0)?, column(1)?)))
}

/// Of several processes that make the log at once, one does; the key that it has then.
async fn begin(client: &Client, origin: &str, vkey: &str) -> Result<String, StoreError> {
    let sql = "INSERT INTO log (origin, vkey) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    client
        .execute_typed(sql, &[(&origin, Type::TEXT), (&vkey, Type::TEXT)])
        .await
        .map_err(store_error)?;
    match identity(client).await? {
        Some((known, vkey)) if known == origin => Ok(vkey),
        Some((known, _)) => Err(conflict(format!("the log there is called {known}"))),
        None => Err(corrupt("the log's name can't be read back")),
    }
}

/// How many lines there are, and the newest checkpoint.
async fn ends(client: &Client) -> Result<(u64, Option<(u64, String)>), StoreError> {
    // The checkpoint first: lines that come in between only make the log longer.
    let sql = "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1";
    let newest = client.query_typed(sql, &[]).await.map_err(store_error)?;
    let newest = match newest.first() {
        Some(row) => {
            let size: i64 = row.try_get(0).map_err(corrupt)?;
            let note = row.try_get(1).map_err(corrupt)?;
            Some((u64::try_from(size).map_err(corrupt)?, note))
        }
        None => None,
    };
    let sql = "SELECT coalesce(max(seq) + 1, 0) FROM events";
    let row = client
        .query_typed_one(sql, &[])
        .await
        .map_err(store_error)?;
    let end: i64 = row.try_get(0).map_err(corrupt)?;
    Ok((u64::try_from(end).map_err(corrupt)?, newest))
}

fn check(
    end: u64,
    newest: Option<(u64, String)>,
    tree: Option<&LogTree>,
) -> Result<(), StoreError> {
    let Some((size, note)) = newest else {
        return Ok(());
    };
    if size > end {
        let problem = format!("truncated: the newest checkpoint says {size}, the log has {end}");
        return Err(corrupt(problem));
    }
    match tree {
        Some(tree) if tree.size_signed_by(&note)? != size => {
            Err(corrupt("the newest checkpoint signs another size"))
        }
        _ => Ok(()),
    }
}

fn conflict(problem: String) -> StoreError {
    StoreError::with_source(StoreErrorKind::Conflict, problem)
}
