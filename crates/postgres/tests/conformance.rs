//! PostgreSQL passes the suite that every key store must pass.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use countersign_key_verify::conformance;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn postgres_conforms() {
    conformance::run(async || support::store().await).await;
}
