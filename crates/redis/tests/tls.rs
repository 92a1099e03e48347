//! Connections that nobody else can read.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use countersign_core::StoreErrorKind;
use countersign_rate_limit::Dimension;
use countersign_redis::{RedisLimits, RedisOptions};
use support::server::Server;
use support::{ask, company, connected, hourly, policies, remaining, request_of};

#[tokio::test]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn a_server_is_believed_by_its_certificate_and_its_name() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_tls(home.path());
    let authority = std::fs::read(home.path().join("ca.pem")).unwrap();
    let options = |host| RedisOptions::server(&server.tls_address(host)).unwrap();
    let certified = |host| options(host).certificate_authorities(&authority).unwrap();
    let store = connected(certified("localhost")).await;
    let policies = policies([("key", Dimension::Key, hourly(3))]);
    let context = request_of(company(), 1);
    let decision = ask(&store, &policies, &context, 1).await.unwrap();
    assert_eq!(remaining(&decision), [2]);
    // Another name, an authority that nobody knows, no TLS at all.
    let plain = RedisOptions::server(&server.address()).unwrap();
    for wrong in [certified("127.0.0.1"), options("localhost"), plain] {
        let store = RedisLimits::start(wrong);
        let waited = store.wait_until_connected(Duration::from_secs(1)).await;
        assert_eq!(waited.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
}

#[test]
fn an_authority_is_a_certificate() {
    let options = RedisOptions::server("rediss://localhost/").unwrap();
    assert!(options.certificate_authorities(b"nothing").is_err());
}
