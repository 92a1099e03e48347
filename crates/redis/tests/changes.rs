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
    store.commit(&new_company(12)).await.unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn a_server_that_was_made_a_replica_tells_of_nothing() {
    let server = Server::start();
    let feed = same_feed(&server);
    let mut stream = opened(&feed).await;
    let position = stream.read(None).await.unwrap().position;
    // Of a server that can't be reached.
    let demote = ["REPLICAOF", "127.0.0.1", "1"];
    said(&server, &demote).await;
    stream.read(Some(position)).await.unwrap_err();
    feed.open().await.unwrap_err();
    said(&server, &["REPLICAOF", "NO", "ONE"]).await;
    drop(opened(&feed).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn a_stream_ends_with_its_connection_although_the_server_is_found_again() {
    let server = Server::start();
    let feed = same_feed(&server);
    let mut stream = opened(&feed).await;
    let position = stream.read(None).await.unwrap().position;
    // Who only listens is of another type, and stays.
    said(&server, &["CLIENT", "KILL", "TYPE", "normal"]).await;
    told(&feed, &[Changed::Key(prefix(1))]).await;
    stream.read(Some(position)).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn a_full_server_tells_of_nothing_and_is_told_all_when_it_has_room() {
    let server = Server::start();
    let changes = same_feed(&server);
    let other = same_feed(&server);
    let mut stream = opened(&other).await;
    let position = stream.read(None).await.unwrap().position;
    drop(opened(&changes).await);
    said(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let store = changes.announce(MemoryKeyStore::default());
    for number in 0..100 {
        store.commit(&new_company(number)).await.unwrap();
    }
    stream.read(Some(position)).await.unwrap_err();
    said(&server, &["CONFIG", "RESETSTAT"]).await;
    sleep(Duration::from_secs(5)).await;
    let tried = calls(&server, "evalsha").await;
    assert!((1..60).contains(&tried), "{tried} attempts in 5 seconds");
    said(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
    let all = async {
        while stream.read(Some(position)).await.unwrap().changed.len() < 100 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, all).await.unwrap();
    drop(opened(&changes).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn a_feed_is_broken_while_its_own_process_has_changes_to_tell() {
    let server = Server::start();
    let changes = same_feed(&server);
    let mut stream = opened(&changes).await;
    let position = stream.read(None).await.unwrap().position;
    // Whoever tells is refused; whoever asks is not.
    let user = ["ACL", "SETUSER", "default", "-xadd"];
    said(&server, &user).await;
    let store = changes.announce(MemoryKeyStore::default());
    store.commit(&new_company(1)).await.unwrap();
    stream.read(Some(position)).await.unwrap_err();
    said(&server, &["ACL", "SETUSER", "default", "+xadd"]).await;
    let mut stream = opened(&changes).await;
    let changed = stream.read(Some(position)).await.unwrap().changed;
    assert_eq!(changed.len(), 1);
}

fn new_company(number: u32) -> Change {
    Change {
        writes: vec![Write::InsertCompany(CompanyRecord {
            id: format!("company_{number}").parse().unwrap(),
            status: CompanyStatus::Active,
            version: 1,
        })],
        events: Vec::new(),
    }
}

async fn said(server: &Server, words: &[&str]) -> redis::Value {
    let client = redis::Client::open(server.address()).unwrap();
    let mut raw = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query_async(&mut raw).await.unwrap()
}

/// How often the server was sent a command since its statistics began.
async fn calls(server: &Server, command: &str) -> u32 {
    let told = said(server, &["INFO", "commandstats"]).await;
    let told: String = redis::from_redis_value(told).unwrap();
    let of = format!("cmdstat_{command}:calls=");
    let line = told.lines().find_map(|line| line.strip_prefix(&of));
    let count = line.and_then(|line| line.split(',').next());
    count.map_or(0, |count| count.parse().unwrap())
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
