//! What a company gains by rotating its key: a new secret, and no more.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use countersign::{Actor, Dimension, KeyId, KeyManager, KeyPrefix, KeyStore};
use support::Server;

impl Server {
    async fn ask(&self, key: &str) -> u16 {
        let fields = [("x-api-key", key)];
        self.get("/external/v1/accounts", &fields).await.status
    }

    /// What the company itself gets in the place of `key`: its raw successor.
    async fn rotate(&self, key: &str, overlap: Duration) -> String {
        let prefix: KeyPrefix = key[..key.rfind('_').unwrap()].parse().unwrap();
        let old = self.store.find(&prefix).await.unwrap().unwrap().record;
        let manager = KeyManager::builder(self.store.clone()).clock(self.clock.clone());
        let manager = manager.build().unwrap();
        let company = Actor::company(old.company, old.prefix);
        let rotated = manager.rotate(&company, &old.company, old.id, overlap);
        rotated.await.unwrap().key.expose().to_string()
    }

    async fn forget_origin(&self, key: &str) -> KeyId {
        let prefix: KeyPrefix = key[..key.rfind('_').unwrap()].parse().unwrap();
        let mut record = self.store.find(&prefix).await.unwrap().unwrap().record;
        let expected = record.version;
        record.origin = None;
        record.version += 1;
        let id = record.id;
        let write = countersign::Write::UpdateKey { record, expected };
        let change = countersign::Change {
            writes: vec![write],
            events: Vec::new(),
        };
        self.store.commit(&change).await.unwrap();
        id
    }
}

#[tokio::test]
async fn a_rotation_gives_no_new_quota() {
    for dimension in [
        Dimension::Key,
        Dimension::Endpoint,
        Dimension::Scope,
        Dimension::Operation,
    ] {
        let server = Server::with(support::once(dimension), |stack| stack).await;
        let mut key = server.keys.full.clone();
        assert_eq!(server.ask(&key).await, 200);
        for overlap in [Duration::ZERO, Duration::from_secs(60)] {
            assert_eq!(server.ask(&key).await, 429);
            let successor = server.rotate(&key, overlap).await;
            assert_eq!(server.ask(&successor).await, 429, "{dimension:?}");
            key = successor;
        }
    }
}

/// As a key is that was rotated before chains were kept.
#[tokio::test]
async fn a_key_without_a_known_chain_counts_by_itself_and_its_successors_with_it() {
    let server = Server::with(support::once(Dimension::Key), |stack| {
        stack.staleness_bound(Duration::ZERO)
    })
    .await;
    let full = server.keys.full.clone();
    let second = server.rotate(&full, Duration::from_secs(60)).await;
    let id = server.forget_origin(&second).await;
    assert_eq!(server.ask(&full).await, 200);
    assert_eq!(server.ask(&second).await, 200);
    server.clock.advance(Duration::from_secs(60));
    let third = server.rotate(&second, Duration::ZERO).await;
    let prefix: KeyPrefix = third[..third.rfind('_').unwrap()].parse().unwrap();
    let third = server.store.find(&prefix).await.unwrap().unwrap().record;
    assert_eq!(third.origin, Some(id));
}
