//! The schema, one step a version.

use countersign_core::{StoreError, StoreErrorKind};
use rusqlite::{Connection, TransactionBehavior};

use crate::error::{corrupt, store_error};

/// Refuses a file that a newer program wrote, or one that holds another program's tables, before
/// anything of it is touched.
pub(crate) fn check_version(connection: &Connection) -> Result<usize, StoreError> {
    let version: usize = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(store_error)?;
    if version > STEPS.len() {
        return Err(StoreErrorKind::UnsupportedVersion.into());
    }
    if version == 0 && holds_tables(connection)? {
        return Err(corrupt("it holds the tables of another program"));
    }
    Ok(version)
}

fn holds_tables(connection: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema)";
    connection
        .query_row(sql, [], |row| row.get(0))
        .map_err(store_error)
}

/// Brings the file to this program's version, in one transaction.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(store_error)?;
    let version = check_version(&transaction)?;
    for step in &STEPS[version..] {
        transaction.execute_batch(step).map_err(store_error)?;
    }
    transaction
        .pragma_update(None, "user_version", STEPS.len())
        .map_err(store_error)?;
    transaction.commit().map_err(store_error)
}

/// Steps are added, never changed.
const STEPS: &[&str] = &[
    "
    CREATE TABLE companies (
        id      TEXT PRIMARY KEY,
        status  TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
        version INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE keys (
        id      TEXT PRIMARY KEY,
        prefix  TEXT NOT NULL UNIQUE,
        company TEXT NOT NULL REFERENCES companies (id),
        version INTEGER NOT NULL,
        record  TEXT NOT NULL
    ) STRICT;
    CREATE INDEX keys_by_company ON keys (company, id);
    CREATE TABLE outbox (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id       TEXT NOT NULL UNIQUE,
        event    TEXT NOT NULL
    ) STRICT;
",
    "
    ALTER TABLE companies ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX companies_by_change ON companies (changed);
    ALTER TABLE keys ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX keys_by_change ON keys (changed);
    CREATE TABLE feed (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        position INTEGER NOT NULL
    ) STRICT;
    INSERT INTO feed (only_row, position) VALUES (1, 0);
    CREATE TRIGGER keep_keys BEFORE DELETE ON keys BEGIN
        SELECT RAISE(ABORT, 'records of keys are never deleted');
    END;
    CREATE TRIGGER keep_companies BEFORE DELETE ON companies BEGIN
        SELECT RAISE(ABORT, 'records of companies are never deleted');
    END;
",
    "
    CREATE TABLE key_uses (
        key   TEXT PRIMARY KEY REFERENCES keys (id),
        at    INTEGER NOT NULL,
        route TEXT,
        count INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE key_scopes (
        key   TEXT NOT NULL REFERENCES keys (id),
        scope TEXT NOT NULL,
        PRIMARY KEY (key, scope)
    ) STRICT, WITHOUT ROWID;
",
    // Over the record itself, so that it can't say something else. `read::due_keys` asks in the same
    // words, or it would not be used.
    "
    CREATE INDEX keys_by_end ON keys (json_extract(record, '$.expires_at'), id)
        WHERE json_extract(record, '$.status.state') = 'active';
",
];
