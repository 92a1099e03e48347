//! A process that goes to another directory, alone in its file: the directory is that of all tests.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_key_verify::KeyStore;
use countersign_sqlite::SqliteKeyStore;

/// As a daemon does it, once its store is open.
#[tokio::test]
async fn a_store_with_a_relative_path_is_found_from_another_directory() {
    let place = tempfile::tempdir().unwrap();
    std::env::set_current_dir(place.path()).unwrap();
    let store = SqliteKeyStore::open("keys.db").unwrap();
    std::env::set_current_dir("/").unwrap();
    assert_eq!(store.companies(None, 1).await.unwrap(), []);
    assert!(store.claim_events().await.unwrap().is_some());
    assert!(place.path().join("keys.db-outbox").is_file());
}
