//! A store of one's own on the server that `cargo xtask servers` names.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_postgres::{PostgresKeyStore, PostgresOptions};

/// The server's address.
pub(crate) fn address() -> String {
    std::env::var("COUNTERSIGN_TEST_POSTGRES")
        .expect("cargo xtask test, or cargo xtask servers, names the server")
}

/// A schema that nobody else uses.
pub(crate) fn options() -> PostgresOptions {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    let schema = format!("test_{}_{number}", std::process::id());
    let options: PostgresOptions = address().parse().unwrap();
    options.schema(&schema).unwrap()
}

/// An empty store.
pub(crate) async fn store() -> PostgresKeyStore {
    PostgresKeyStore::connect(options()).await.unwrap()
}
