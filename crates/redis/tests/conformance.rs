//! Redis passes the suite that every limit store must pass.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use std::time::Duration;

use countersign_rate_limit::conformance;
use countersign_redis::Leases;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn redis_conforms() {
    conformance::run(Arc::new(support::store().await)).await;
}

/// What one process alone sees is exact, however much it draws ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn leases_conform() {
    for share in [0.05, 0.5, 1.0] {
        let leases = Leases::new().age(Duration::from_secs(10)).unwrap();
        let store = support::store().await.leased(leases.share(share).unwrap());
        conformance::run(Arc::new(store)).await;
    }
}
