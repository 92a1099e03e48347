//! The change feed, across processes on one machine.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use countersign_core::StoreError;
use countersign_key_verify::{ChangeFeed, ChangeStream, Changed, Changes, FeedPosition};
use rusqlite::Connection;

use crate::connections::{Database, blocking, lock};
use crate::error::{corrupt, store_error};
use crate::file::FileId;

/// `PRAGMA data_version` tells a connection that another one, of whatever process, has committed.
/// It is asked every [`POLL`] on a thread for blocking work, never by a request; what changed is
/// then read from the tables by position.
#[derive(Debug)]
pub(crate) struct SqliteFeed {
    database: Arc<Database>,
    /// The file that positions are of: the one that was last read.
    read: Arc<Mutex<Option<FileId>>>,
}

impl SqliteFeed {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            read: Arc::default(),
        }
    }
}

#[async_trait]
impl ChangeFeed for SqliteFeed {
    async fn open(&self) -> Result<Box<dyn ChangeStream>, StoreError> {
        let database = Arc::clone(&self.database);
        let (file, connection) = blocking(move || database.connect_reader()).await?;
        Ok(Box::new(Watching {
            path: self.database.path().to_owned(),
            file,
            read: Arc::clone(&self.read),
            connection: Arc::new(Mutex::new(connection)),
            seen: None,
        }))
    }
}

#[derive(Debug)]
struct Watching {
    path: PathBuf,
    file: FileId,
    read: Arc<Mutex<Option<FileId>>>,
    /// Only the feed uses it, and it never writes: so it is told of every commit.
    connection: Arc<Mutex<Connection>>,
    seen: Option<i64>,
}

impl Watching {
    /// Fails as well when the file does not stand at its path any more: nobody else writes to it.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (connection, file) = (Arc::clone(&self.connection), self.file);
        let path = self.path.clone();
        blocking(move || {
            let done = work(&lock(&connection))?;
            file.check(&path).map(|()| done)
        })
        .await
    }
}

#[async_trait]
impl ChangeStream for Watching {
    async fn read(&mut self, after: Option<FeedPosition>) -> Result<Changes, StoreError> {
        // Another file has another history, whatever its position is.
        let after = after.filter(|_| *lock(&self.read) == Some(self.file));
        let work = move |connection: &Connection| {
            // Asked before the tables are read: what is committed in between is told again.
            let version = data_version(connection)?;
            changes(connection, after).map(|changes| (version, changes))
        };
        let (version, changes) = self.ask(work).await?;
        self.seen = Some(version);
        *lock(&self.read) = Some(self.file);
        Ok(changes)
    }

    async fn wait(&mut self) -> Result<(), StoreError> {
        loop {
            tokio::time::sleep(POLL).await;
            let version = self.ask(data_version).await?;
            if self.seen != Some(version) {
                return Ok(());
            }
        }
    }
}

fn changes(connection: &Connection, after: Option<FeedPosition>) -> Result<Changes, StoreError> {
    let now: u64 = connection
        .query_row("SELECT position FROM feed", [], |row| row.get(0))
        .map_err(store_error)?;
    let changed = match after {
        Some(FeedPosition(after)) if after == now => Vec::new(),
        // A position to come is one of another history: the file was restored.
        Some(FeedPosition(after)) if after < now => changed(connection, after)?,
        _ => vec![Changed::Everything],
    };
    let position = FeedPosition(now);
    Ok(Changes { position, changed })
}

fn changed(connection: &Connection, after: u64) -> Result<Vec<Changed>, StoreError> {
    let sql = "SELECT prefix, NULL FROM keys WHERE changed > ?1
               UNION ALL SELECT NULL, id FROM companies WHERE changed > ?1 LIMIT ?2";
    let rows: Vec<(Option<String>, Option<String>)> = connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let rows = statement.query_map([after, MOST], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
        .map_err(store_error)?;
    if rows.len() as u64 == MOST {
        return Ok(vec![Changed::Everything]);
    }
    let changed = rows.iter().filter_map(|row| match row {
        (Some(prefix), _) => Some(prefix.parse().map(Changed::Key)),
        (None, Some(company)) => Some(company.parse().map(Changed::Company)),
        (None, None) => None,
    });
    changed.collect::<Result<_, _>>().map_err(corrupt)
}

fn data_version(connection: &Connection) -> Result<i64, StoreError> {
    connection
        .query_row("PRAGMA data_version", [], |row| row.get(0))
        .map_err(store_error)
}

const POLL: Duration = Duration::from_millis(50);

/// Beyond so many changes a cache had better begin anew.
const MOST: u64 = 10_000;
