//! The right to bring events over, and what becomes of it when the server is gone.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use countersign_key_verify::KeyStore;
use countersign_postgres::{PostgresKeyStore, PostgresOptions};
use support::proxy::Proxy;
use support::{address, soon, sql, unique};

async fn connect(address: &str, schema: &str) -> PostgresKeyStore {
    let options: PostgresOptions = address.parse().unwrap();
    let options = options.schema(schema).unwrap();
    PostgresKeyStore::connect(options).await.unwrap()
}

/// A server that was started anew, or another one that took over, says no good-bye to a connection
/// that is idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_claim_whose_server_is_gone_is_not_held() {
    let (schema, proxy) = (unique(), Proxy::start().await);
    let through = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port);
    let here = connect(&through, &schema).await;
    let there = connect(&address(), &schema).await;
    let claim = here.claim_events().await.unwrap().expect("nobody has it");
    assert!(claim.is_held().await);
    assert!(there.claim_events().await.unwrap().is_none());
    proxy.lose_the_server();
    let held_there = tokio::sync::OnceCell::new();
    soon("the other process has it", async || {
        let claim = there.claim_events().await.unwrap();
        claim.is_some_and(|claim| held_there.set(claim).is_ok())
    })
    .await;
    assert!(!claim.is_held().await, "two have it");
    assert!(!claim.is_held().await, "and not again");
    assert!(held_there.get().unwrap().is_held().await);
}

/// An administrator's `pg_terminate_backend`, which the client is told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_claim_whose_session_was_ended_is_not_held() {
    let name = unique();
    let address = format!("{}?application_name={name}", address());
    let store = connect(&address, &name).await;
    let claim = store.claim_events().await.unwrap().expect("nobody has it");
    let ended = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE locktype = 'advisory' AND application_name = '{name}'"
    );
    assert_eq!(sql(&ended).await, ["t"]);
    soon("word of it", async || !claim.is_held().await).await;
    soon("the lock to be free", async || {
        store.claim_events().await.unwrap().is_some()
    })
    .await;
}
