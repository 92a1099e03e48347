//! What one process changes, the others are told.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a real server takes real time")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use countersign_core::KeyPrefix;
use countersign_key_verify::{
    Change, ChangeFeed, ChangeStream, Changed, CompanyRecord, CompanyStatus, KeyStore,
    MemoryKeyStore, Write, conformance,
};
use countersign_redis::{RedisChanges, RedisOptions};
use support::company;
use support::server::Server;
use tokio::time::{sleep, timeout};

/// A feed that no other test shares.
fn feed_on(address: &str) -> RedisChanges {
    let prefix = company().to_string();
    let prefix = &prefix[prefix.len().saturating_sub(32)..];
    RedisChanges::start(
        RedisOptions::server(address)
            .unwrap()
            .prefix(prefix)
            .unwrap(),
    )
}

fn same_feed(server: &Server) -> RedisChanges {
    RedisChanges::start(RedisOptions::server(&server.address()).unwrap())
}

fn prefix(number: u32) -> KeyPrefix {
    format!("acme_test_{number:012}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn a_store_that_announces_has_a_feed() {
    let store = || {
        let changes = feed_on(&support::address());
        Arc::new(changes.announce(MemoryKeyStore::default()))
    };
    conformance::changes_are_told(store()).await;
    conformance::no_change_is_missed_among_many(store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Redis Cluster: cargo xtask test gives it one"]
async fn a_cluster_tells_through_any_of_its_nodes() {
    let nodes = std::env::var("COUNTERSIGN_TEST_REDIS_CLUSTER").unwrap();
    let nodes: Vec<&str> = nodes.split(',').collect();
    let name = company().to_string();
    let name = &name[name.len().saturating_sub(32)..];
    let feed = |first: usize| {
        let mut nodes = nodes.clone();
        nodes.rotate_left(first);
        RedisChanges::start(RedisOptions::cluster(nodes).unwrap().prefix(name).unwrap())
    };
    let teller = feed(0);
    for first in 0..3 {
        let mut stream = opened(&feed(first)).await;
        let position = stream.read(None).await.unwrap().position;
        told(&teller, &[Changed::Key(prefix(7))]).await;
        timeout(SOON, stream.wait()).await.unwrap().unwrap();
        let changes = stream.read(Some(position)).await.unwrap();
        assert_eq!(changes.changed, [Changed::Key(prefix(7))]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn a_server_that_lost_its_log_tells_of_everything() {
    let mut server = Server::start();
    let (teller, listener) = (same_feed(&server), same_feed(&server));
    let mut stream = opened(&listener).await;
    let first = stream.read(None).await.unwrap().position;
    told(
        &teller,
        &[Changed::Key(prefix(1)), Changed::Company(company())],
    )
    .await;
    timeout(SOON, stream.wait()).await.unwrap().unwrap();
    let changes = stream.read(Some(first)).await.unwrap();
    assert_eq!(changes.changed.len(), 2);

    server.kill();
    assert!(timeout(SOON, stream.wait()).await.unwrap().is_err());
    server.start_again();
    let mut stream = opened(&listener).await;
    let again = stream.read(Some(changes.position)).await.unwrap();
    assert_eq!(again.changed, [Changed::Everything]);
    assert!(again.position > changes.position);
    let quiet = stream.read(Some(again.position)).await.unwrap();
    assert_eq!(quiet.changed, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn what_is_committed_while_the_server_is_gone_is_told_later() {
    let mut server = Server::start();
    let changes = same_feed(&server);
    drop(opened(&changes).await);
    let store = changes.announce(MemoryKeyStore::default());
    server.kill();
    let change = Change {
        writes: vec![Write::InsertCompany(CompanyRecord {
            id: "company_12".parse().unwrap(),
            status: CompanyStatus::Active,
            version: 1,
        })],
        events: Vec::new(),
    };
    store.commit(&change).await.unwrap();
    server.start_again();
    let client = redis::Client::open(server.address()).unwrap();
    let mut raw = client.get_multiplexed_async_connection().await.unwrap();
    let told = async {
        loop {
            let mut log = redis::cmd("XRANGE");
            log.arg("countersign:{/changes}:log").arg("-").arg("+");
            let log: redis::Value = log.query_async(&mut raw).await.unwrap();
            if format!("{log:?}").contains("company company_12") {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, told).await.unwrap();
}

async fn opened(feed: &RedisChanges) -> Box<dyn ChangeStream> {
    let open = async {
        loop {
            match feed.open().await {
                Ok(stream) => return stream,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(SOON, open).await.unwrap()
}

async fn told(feed: &RedisChanges, changed: &[Changed]) {
    let tell = async {
        while feed.tell(changed).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, tell).await.unwrap();
}

const SOON: Duration = Duration::from_secs(20);
