//! The store.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use countersign::{
    Change, CompanyId, CompanyRecord, CompanyStatus, FoundKey, KeyId, KeyPrefix, KeyRecord,
    KeyStore, LifecycleEvent, StoreError, StoreErrorKind, Timestamp, Write,
};
use rusqlite::ffi::{
    SQLITE_CONSTRAINT_FOREIGNKEY, SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE,
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

/// Keys in the database where the platform keeps its partners. A partner is a company; one that is
/// blocked is suspended. A clone is a handle to the same connection.
#[derive(Clone)]
pub struct PartnerKeyStore(Arc<Mutex<Connection>>);

impl PartnerKeyStore {
    /// Opens the database, and adds what keys need where it is missing.
    ///
    /// # Errors
    /// `Unavailable` when the file can't be opened or another process has it, `Corrupt` when it is
    /// no database.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let connection = Connection::open(path).map_err(store_error)?;
        // Whoever has the file has it until it ends: waiting would not help.
        connection
            .busy_timeout(Duration::ZERO)
            .map_err(store_error)?;
        let settings = "
            PRAGMA locking_mode = EXCLUSIVE;
            PRAGMA synchronous = FULL;
            PRAGMA foreign_keys = ON;
            BEGIN IMMEDIATE;";
        let opened = connection
            .execute_batch(settings)
            .and_then(|()| connection.execute_batch(include_str!("schema.sql")))
            .and_then(|()| connection.execute_batch("COMMIT"));
        opened.map_err(store_error)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Runs `work` on a thread that may block: a database call on the runtime's own threads would
    /// hold up every request.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.0);
        let work = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => Err(StoreError::with_source(StoreErrorKind::Unavailable, error)),
        }
    }
}

#[async_trait]
impl KeyStore for PartnerKeyStore {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        let prefix = *prefix;
        self.run(move |connection| find(connection, &prefix)).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.run(move |connection| get(connection, id)).await
    }

    async fn list(
        &self,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let company = *company;
        self.run(move |connection| list(connection, &company, after, limit))
            .await
    }

    async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        self.run(move |connection| due_keys(connection, now, limit))
            .await
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        let id = *id;
        self.run(move |connection| company(connection, &id)).await
    }

    async fn companies(
        &self,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        let after = after.map_or_else(String::new, ToString::to_string);
        self.run(move |connection| companies(connection, &after, limit))
            .await
    }

    async fn commit(&self, change: &Change) -> Result<(), StoreError> {
        let change = change.clone();
        self.run(move |connection| commit(connection, &change))
            .await
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        self.run(move |connection| pending_events(connection, limit))
            .await
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        let events = events.to_vec();
        self.run(move |connection| acknowledge(connection, &events))
            .await
    }
}

/// One statement: of two, a partner that is blocked between them would still be let in.
fn find(connection: &Connection, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
    let sql = "SELECT k.record, p.blocked FROM partner_keys k JOIN partners p ON p.id = k.partner
               WHERE k.prefix = ?1";
    let found: Option<(String, bool)> = connection
        .query_row(sql, [prefix.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(store_error)?;
    let found = found.map(|(record, blocked)| {
        Ok(FoundKey {
            record: KeyRecord::decode(&record)?,
            company: standing(blocked),
        })
    });
    found.transpose()
}

fn get(connection: &Connection, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
    let sql = "SELECT record FROM partner_keys WHERE id = ?1";
    let found: Option<String> = connection
        .query_row(sql, [id.to_string()], |row| row.get(0))
        .optional()
        .map_err(store_error)?;
    found.map(|record| KeyRecord::decode(&record)).transpose()
}

/// Ids ascend as text as they do as numbers: each has the same length.
fn list(
    connection: &Connection,
    company: &CompanyId,
    after: Option<KeyId>,
    limit: u32,
) -> Result<Vec<KeyRecord>, StoreError> {
    let after = after.map_or_else(String::new, |id| id.to_string());
    let sql = "SELECT record FROM partner_keys WHERE partner = ?1 AND id > ?2
               ORDER BY id LIMIT ?3";
    let records = connection.prepare(sql).and_then(|mut statement| {
        let rows = params![company.as_str(), after, limit];
        let records = statement.query_map(rows, |row| row.get(0))?;
        records.collect::<Result<Vec<String>, _>>()
    });
    let records = records.map_err(store_error)?;
    records.iter().map(|text| KeyRecord::decode(text)).collect()
}

/// In the words of the index `partner_keys_by_end`, or it would not be used. Times sort as text.
fn due_keys(
    connection: &Connection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<KeyRecord>, StoreError> {
    let sql = "SELECT record FROM partner_keys
               WHERE json_extract(record, '$.status.state') = 'active'
                 AND json_extract(record, '$.expires_at') <= ?1
               ORDER BY json_extract(record, '$.expires_at'), id LIMIT ?2";
    let records = connection.prepare(sql).and_then(|mut statement| {
        let records = statement.query_map(params![now.to_string(), limit], |row| row.get(0))?;
        records.collect::<Result<Vec<String>, _>>()
    });
    let records = records.map_err(store_error)?;
    records.iter().map(|text| KeyRecord::decode(text)).collect()
}

fn company(connection: &Connection, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
    let sql = "SELECT id, blocked, version FROM partners WHERE id = ?1";
    let found = connection.query_row(sql, [id.as_str()], partner).optional();
    found.map_err(store_error)?.map(company_record).transpose()
}

fn companies(
    connection: &Connection,
    after: &str,
    limit: u32,
) -> Result<Vec<CompanyRecord>, StoreError> {
    let sql = "SELECT id, blocked, version FROM partners WHERE id > ?1 ORDER BY id LIMIT ?2";
    let rows = connection.prepare(sql).and_then(|mut statement| {
        let rows = statement.query_map(params![after, limit], partner)?;
        rows.collect::<Result<Vec<Partner>, _>>()
    });
    let rows = rows.map_err(store_error)?.into_iter();
    rows.map(company_record).collect()
}

/// A row of `partners`: its id, whether it is blocked, its version.
type Partner = (String, bool, u64);

fn partner(row: &rusqlite::Row<'_>) -> rusqlite::Result<Partner> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn company_record((id, blocked, version): Partner) -> Result<CompanyRecord, StoreError> {
    let id = id
        .parse()
        .map_err(|error| StoreError::with_source(StoreErrorKind::Corrupt, error))?;
    Ok(CompanyRecord {
        id,
        status: standing(blocked),
        version,
    })
}

/// All of it or nothing: a transaction that is dropped before `commit` is rolled back, whichever
/// `?` left the function.
fn commit(connection: &mut Connection, change: &Change) -> Result<(), StoreError> {
    let transaction = connection.transaction().map_err(store_error)?;
    for write in &change.writes {
        match write {
            Write::InsertKey(record) => insert_key(&transaction, record)?,
            Write::UpdateKey { record, expected } => update_key(&transaction, record, *expected)?,
            Write::InsertCompany(record) => insert_partner(&transaction, record)?,
            Write::UpdateCompany { record, expected } => {
                update_partner(&transaction, record, *expected)?;
            }
            // A kind of write that came after this code: refused, never passed over.
            _ => return Err(StoreErrorKind::UnsupportedVersion.into()),
        }
    }
    for event in &change.events {
        let text = serde_json::to_string(event).map_err(corrupt)?;
        let sql = "INSERT INTO key_events (id, event) VALUES (?1, ?2)";
        let row = params![event.id.to_string(), text];
        transaction.execute(sql, row).map_err(store_error)?;
    }
    transaction.commit().map_err(store_error)
}

/// The constraints of the table decide: an id or a prefix that is taken, a partner that is not there.
fn insert_key(transaction: &Transaction<'_>, record: &KeyRecord) -> Result<(), StoreError> {
    let sql = "INSERT INTO partner_keys (id, prefix, partner, version, record)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = params![
        record.id.to_string(),
        record.prefix.as_str(),
        record.company.as_str(),
        record.version,
        record.encode()?,
    ];
    transaction.execute(sql, row).map_err(store_error).map(drop)
}

/// The version stands in the `WHERE`, so that the test and the write are one. The owner and the
/// prefix stand there too: they never change, and a record that says otherwise is refused.
fn update_key(
    transaction: &Transaction<'_>,
    record: &KeyRecord,
    expected: u64,
) -> Result<(), StoreError> {
    let id = record.id.to_string();
    let sql = "UPDATE partner_keys SET version = ?1, record = ?2
               WHERE id = ?3 AND version = ?4 AND prefix = ?5 AND partner = ?6";
    let row = params![
        record.version,
        record.encode()?,
        id,
        expected,
        record.prefix.as_str(),
        record.company.as_str(),
    ];
    match transaction.execute(sql, row).map_err(store_error)? {
        0 => missed(transaction, "SELECT 1 FROM partner_keys WHERE id = ?1", &id),
        _ => Ok(()),
    }
}

fn insert_partner(transaction: &Transaction<'_>, record: &CompanyRecord) -> Result<(), StoreError> {
    let sql = "INSERT INTO partners (id, name, blocked, version) VALUES (?1, ?1, ?2, ?3)";
    let blocked = record.status == CompanyStatus::Suspended;
    let row = params![record.id.as_str(), blocked, record.version];
    transaction.execute(sql, row).map_err(store_error).map(drop)
}

fn update_partner(
    transaction: &Transaction<'_>,
    record: &CompanyRecord,
    expected: u64,
) -> Result<(), StoreError> {
    let sql = "UPDATE partners SET blocked = ?1, version = ?2 WHERE id = ?3 AND version = ?4";
    let blocked = record.status == CompanyStatus::Suspended;
    let row = params![blocked, record.version, record.id.as_str(), expected];
    match transaction.execute(sql, row).map_err(store_error)? {
        0 => missed(
            transaction,
            "SELECT 1 FROM partners WHERE id = ?1",
            record.id.as_str(),
        ),
        _ => Ok(()),
    }
}

/// Why an update met no row: another version, or nothing of this id at all.
fn missed(transaction: &Transaction<'_>, sql: &str, id: &str) -> Result<(), StoreError> {
    let found = transaction.query_row(sql, [id], |_| Ok(())).optional();
    match found.map_err(store_error)? {
        Some(()) => Err(StoreErrorKind::Conflict.into()),
        None => Err(StoreErrorKind::NotFound.into()),
    }
}

fn pending_events(connection: &Connection, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
    let sql = "SELECT event FROM key_events ORDER BY position LIMIT ?1";
    let events = connection.prepare(sql).and_then(|mut statement| {
        let events = statement.query_map([limit], |row| row.get(0))?;
        events.collect::<Result<Vec<String>, _>>()
    });
    let events = events.map_err(store_error)?;
    events
        .iter()
        .map(|text| serde_json::from_str(text).map_err(corrupt))
        .collect()
}

fn acknowledge(connection: &mut Connection, events: &[LifecycleEvent]) -> Result<(), StoreError> {
    let transaction = connection.transaction().map_err(store_error)?;
    for event in events {
        let sql = "DELETE FROM key_events WHERE id = ?1";
        let gone = transaction.execute(sql, [event.id.to_string()]);
        gone.map_err(store_error)?;
    }
    transaction.commit().map_err(store_error)
}

fn standing(blocked: bool) -> CompanyStatus {
    if blocked {
        CompanyStatus::Suspended
    } else {
        CompanyStatus::Active
    }
}

/// The database's errors, told by what the caller can do about them; the error itself stays the
/// cause. What is not known is `Unavailable`, which refuses.
fn store_error(error: rusqlite::Error) -> StoreError {
    let constraint = error.sqlite_error().map(|error| error.extended_code);
    let kind = match (error.sqlite_error_code(), constraint) {
        (_, Some(SQLITE_CONSTRAINT_UNIQUE | SQLITE_CONSTRAINT_PRIMARYKEY)) => {
            StoreErrorKind::AlreadyExists
        }
        // The one reference that there is: from a key to its partner.
        (_, Some(SQLITE_CONSTRAINT_FOREIGNKEY)) => StoreErrorKind::NotFound,
        (Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt), _) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::with_source(kind, error)
}

fn corrupt(error: serde_json::Error) -> StoreError {
    StoreError::with_source(StoreErrorKind::Corrupt, error)
}

impl fmt::Debug for PartnerKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartnerKeyStore").finish_non_exhaustive()
    }
}
