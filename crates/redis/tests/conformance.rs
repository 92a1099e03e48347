//! Redis passes the suite that every limit store must pass.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use countersign_rate_limit::conformance;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn redis_conforms() {
    conformance::run(Arc::new(support::store().await)).await;
}
