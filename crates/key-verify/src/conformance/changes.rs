//! A change is whole, and its events wait.

use countersign_core::StoreErrorKind;

use super::support::{add_company, event, expect, record, write};
use crate::store::{Change, KeyStore, Write};

/// A change whose last write fails leaves nothing of its first, nor its events.
pub async fn a_change_is_made_whole_or_not_at_all(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let first = record("company_12", 1);
    write(store, Write::InsertKey(first.clone()))
        .await
        .expect("a new key");
    let second = record("company_12", 2);
    let change = Change {
        writes: vec![
            Write::InsertKey(second.clone()),
            Write::InsertKey(first.clone()),
        ],
        events: vec![event("company_12")],
    };
    let refused = store.commit(&change).await;
    expect(refused, StoreErrorKind::AlreadyExists, "the second write");
    assert!(
        store.get(second.id).await.expect("get").is_none(),
        "half a change was made"
    );
    let events = store.pending_events(10).await.expect("events");
    assert!(
        events.is_empty(),
        "an event tells of a change that was not made"
    );
}

/// Events come in the order of their commits, again and again, until they are acknowledged.
pub async fn events_wait_until_they_are_acknowledged(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let events: Vec<_> = (0..5).map(|_| event("company_12")).collect();
    for (n, event) in events.iter().enumerate() {
        let change = Change {
            writes: vec![Write::InsertKey(record("company_12", n as u128))],
            events: vec![event.clone()],
        };
        store.commit(&change).await.expect("a new key");
    }
    for _ in 0..2 {
        assert_eq!(store.pending_events(3).await.expect("events"), events[..3]);
    }
    store.acknowledge_events(&events[..2]).await.expect("told");
    store
        .acknowledge_events(&events[..2])
        .await
        .expect("told again");
    assert_eq!(store.pending_events(10).await.expect("events"), events[2..]);
}
