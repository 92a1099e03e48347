//! When and for what keys are used. A store that keeps no uses passes.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Clock, KeyId, LifecycleKind, ManualClock, ScopeSet, Timestamp};

use super::support::{add_company, event, record, write};
use crate::record::KeyRecord;
use crate::store::{Change, KeyStore, Write};
use crate::uses::{KeyUse, UseStore};

/// Counts add up, scopes come together, the latest time stands with its route, whichever comes
/// last; a key that is not known is passed over, and one that was never used is left out.
pub async fn uses_add_up(store: &impl KeyStore) {
    let Some(uses) = store.uses() else { return };
    let [key, other] = two_keys(store).await;
    let unknown = KeyId::from_u128(77);
    let first = used(
        key.id,
        10,
        "/external/v1/überweisung",
        3,
        &["accounts:read"],
    );
    let batch = [first.clone(), used(unknown, 10, "/x", 1, &["a:b"])];
    uses.record_uses(&batch).await.expect("recorded");
    let none = uses.last_uses(&[other.id, unknown]).await.expect("read");
    assert_eq!(none, [], "nobody used these");

    let later = used(key.id, 20, "/b", 4, &["payments:create"]);
    let earlier = KeyUse {
        route: None,
        ..used(key.id, 5, "", u64::from(u32::MAX), &[])
    };
    let mut expected = first;
    for one in [later, earlier] {
        uses.record_uses(std::slice::from_ref(&one))
            .await
            .expect("recorded");
        expected.add(&one);
    }
    let all = uses.last_uses(&[other.id, key.id]).await.expect("read");
    assert_eq!(all, [expected], "all uses of the key, and of no other");

    uses.record_uses(&[]).await.expect("an empty batch is none");
    let many: Vec<KeyRecord> = (100..700).map(|n| record("company_12", n)).collect();
    let writes = many.iter().cloned().map(Write::InsertKey).collect();
    let events = Vec::new();
    store
        .commit(&Change { writes, events })
        .await
        .expect("keys");
    let batch: Vec<_> = many
        .iter()
        .map(|key| used(key.id, 1, "/a", 1, &[]))
        .collect();
    uses.record_uses(&batch).await.expect("a long batch");
    let ids: Vec<_> = many.iter().map(|key| key.id).collect();
    assert_eq!(uses.last_uses(&ids).await.expect("read").len(), ids.len());
}

/// A use counts up no version and makes no event, so that it never meets a change of the key.
pub async fn uses_are_no_change_of_a_key(store: &impl KeyStore) {
    let Some(uses) = store.uses() else { return };
    let [key, _] = two_keys(store).await;
    let told = event(LifecycleKind::TokenActivated, &key);
    let change = Change {
        writes: Vec::new(),
        events: vec![told.clone()],
    };
    store.commit(&change).await.expect("an event alone");
    let batch = [used(key.id, 10, "/a", 1, &["accounts:read"])];
    uses.record_uses(&batch).await.expect("recorded");
    assert_eq!(store.get(key.id).await.expect("get"), Some(key));
    assert_eq!(store.pending_events(10).await.expect("events"), [told]);
}

/// Batches of several writers about the same keys, in any order: no count is lost, and none waits
/// for ever.
pub async fn uses_of_many_writers_add_up<S: KeyStore>(store: Arc<S>) {
    if store.uses().is_none() {
        return;
    }
    let keys = two_keys(&*store).await.map(|key| key.id);
    let writers: Vec<_> = (0..8_i64)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for round in 0..10 {
                    let at = writer * 10 + round;
                    let mut batch = keys.map(|key| used(key, at, "/a", 1, &["accounts:read"]));
                    if writer % 2 == 0 {
                        batch.reverse();
                    }
                    let uses = store.uses().expect("it keeps uses");
                    uses.record_uses(&batch).await.expect("recorded");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    let uses: &dyn UseStore = store.uses().expect("it keeps uses");
    for one in uses.last_uses(&keys).await.expect("read") {
        assert_eq!(one.count, 80, "no count is lost");
        assert_eq!(one.at, time(79), "the latest stands");
    }
}

async fn two_keys(store: &impl KeyStore) -> [KeyRecord; 2] {
    add_company(store, "company_12").await;
    let keys = [record("company_12", 1), record("company_12", 2)];
    for key in &keys {
        let insert = Write::InsertKey(key.clone());
        write(store, insert).await.expect("a new key");
    }
    keys
}

fn used(key: KeyId, second: i64, route: &str, count: u64, scopes: &[&str]) -> KeyUse {
    KeyUse {
        key,
        at: time(second),
        route: Some(route.into()),
        count,
        scopes: ScopeSet::from_names(scopes.iter().copied()).expect("scopes"),
    }
}

fn time(second: i64) -> Timestamp {
    let second = u64::try_from(second).expect("a time to come");
    let start = ManualClock::default().now().wall;
    start.saturating_add(Duration::from_secs(second))
}
