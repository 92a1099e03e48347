//! SQLite passes the suite that every key store must pass.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_key_verify::conformance;
use countersign_sqlite::SqliteKeyStore;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let next = AtomicUsize::new(0);
    conformance::run(async || {
        let number = next.fetch_add(1, Ordering::SeqCst);
        SqliteKeyStore::open(directory.path().join(format!("{number}.db"))).unwrap()
    })
    .await;
}
