//! The file: what survives, who may read it, what is refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use countersign_core::{Clock, Environment, ScopeSet, StoreErrorKind, SystemClock};
use countersign_key_verify::{Actor, IssueRequest, IssuedKey, KeyManager, KeyStore};
use countersign_sqlite::SqliteKeyStore;

async fn issue(store: &SqliteKeyStore) -> IssuedKey {
    let manager = KeyManager::builder(store.clone()).build().unwrap();
    let ada = Actor::operator("ada").unwrap();
    let company = "company_12".parse().unwrap();
    manager.create_company(&ada, company).await.unwrap();
    let expiry = SystemClock
        .now()
        .wall
        .saturating_add(Duration::from_secs(3600));
    let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
    let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
    let request = request.activate_now(true);
    manager.issue(&ada, request).await.unwrap()
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let issued = issue(&SqliteKeyStore::open(&path).unwrap()).await;
    let again = SqliteKeyStore::open(&path).unwrap();
    let found = again.find(issued.key.prefix()).await.unwrap().unwrap();
    assert_eq!(found.record, issued.record);
    assert_eq!(again.pending_events(10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn two_stores_on_one_file_see_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let first = SqliteKeyStore::open(&path).unwrap();
    let second = SqliteKeyStore::open(&path).unwrap();
    let issued = issue(&first).await;
    let found = second.find(issued.key.prefix()).await.unwrap();
    assert_eq!(found.unwrap().record, issued.record);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_stores_write_one_file_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let stores = [(); 2].map(|()| SqliteKeyStore::open(&path).unwrap());
    let first = issue(&stores[0]).await.record;
    let ada = Actor::operator("ada").unwrap();
    let writers: Vec<_> = (0..20)
        .map(|n| {
            let manager = KeyManager::builder(stores[n % 2].clone()).build().unwrap();
            let (ada, first) = (ada.clone(), first.clone());
            tokio::spawn(async move {
                let request = IssueRequest::new(
                    first.company,
                    Environment::Live,
                    first.scopes,
                    first.expires_at,
                );
                manager.issue(&ada, request).await.unwrap()
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for store in &stores {
        let keys = store.list(&first.company, None, 100).await.unwrap();
        assert_eq!(keys.len(), 21, "no key was lost");
        assert_eq!(store.pending_events(100).await.unwrap().len(), 43);
    }
}

#[tokio::test]
async fn an_older_schema_is_brought_up_with_its_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let issued = issue(&SqliteKeyStore::open(&path).unwrap()).await;
    let back = "DROP INDEX keys_by_end; DROP TABLE key_uses; DROP TABLE key_scopes;
                PRAGMA user_version = 2";
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(back).unwrap();
    let again = SqliteKeyStore::open(&path).unwrap();
    let found = again.find(issued.key.prefix()).await.unwrap().unwrap();
    assert_eq!(found.record, issued.record);
    let uses = again.uses().unwrap().last_uses(&[issued.record.id]).await;
    assert_eq!(uses.unwrap(), []);
    let end = issued.record.expires_at;
    assert_eq!(again.due_keys(end, 10).await.unwrap(), [issued.record]);
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteKeyStore::open(&path).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::UnsupportedVersion);
    let tables: u32 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 0, "nothing was made");
    let mode: String = connection
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "delete", "nothing was set");
}

#[test]
fn what_is_no_database_is_corrupt_and_what_is_not_there_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text.db");
    std::fs::write(
        &path,
        "this is no database, it is text, and long enough to be read",
    )
    .unwrap();
    let error = SqliteKeyStore::open(&path).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    let nowhere = directory.path().join("nowhere/keys.db");
    let error = SqliteKeyStore::open(nowhere).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
}

#[cfg(unix)]
#[test]
fn another_program_s_database_is_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch("CREATE TABLE ledger (id)")
        .unwrap();
    drop(connection);
    let open_to_others = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&path, open_to_others).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = SqliteKeyStore::open(&path).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_private_and_holds_no_secret() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteKeyStore::open(directory.path().join("keys.db")).unwrap();
    let issued = issue(&store).await;
    let raw = issued.key.expose();
    let secret = &raw.as_bytes()[raw.len() - 49..];
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let path = file.unwrap().path();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(secret.len()).any(|w| w == secret));
    }
}

#[test]
fn a_place_that_holds_no_store_is_named_and_so_is_what_was_to_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let error = SqliteKeyStore::open(directory.path()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let source = std::error::Error::source(&error).unwrap();
    let told = format!("key store {}", directory.path().display());
    assert_eq!(source.to_string(), told);
    assert!(source.source().is_some(), "the system's own error");
}
