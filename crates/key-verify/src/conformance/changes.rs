//! A change is whole, and its events wait.

use countersign_core::{LifecycleEvent, LifecycleKind, StoreErrorKind};

use super::support::{add_company, company, company_event, event, expect, record, update, write};
use crate::record::{CompanyRecord, CompanyStatus, KeyRecord};
use crate::store::{Change, KeyStore, Write};

/// A change of which one write fails, the first or the last, whichever way, leaves nothing of the
/// others, nor its events; what it would have changed can be changed afterwards.
pub async fn a_change_is_made_whole_or_not_at_all(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let keys = [record("company_12", 1), record("company_12", 2)];
    for key in &keys {
        let insert = Write::InsertKey(key.clone());
        write(store, insert).await.expect("a new key");
    }
    let new = record("company_12", 3);
    for good in good_writes(&keys[0], &new) {
        for (bad, kind) in bad_writes(&keys[1]) {
            for writes in [[good.clone(), bad.clone()], [bad.clone(), good.clone()]] {
                refused_whole(store, writes, kind, &keys[0]).await;
                assert_nothing_changed(store, &keys, &new).await;
            }
        }
    }
    let events = vec![event(LifecycleKind::TokenScopesChanged, &keys[0])];
    let change = Change {
        writes: good_writes(&keys[0], &new).into(),
        events: events.clone(),
    };
    store.commit(&change).await.expect("nothing is in its way");
    let pending = store.pending_events(10).await.expect("events");
    assert_eq!(pending, events, "an event comes back as it was given");
}

fn good_writes(key: &KeyRecord, new: &KeyRecord) -> [Write; 3] {
    let mut changed = key.clone();
    changed.version = 2;
    changed.label = "changed".to_owned();
    let suspended = CompanyRecord {
        status: CompanyStatus::Suspended,
        ..company("company_12", 2)
    };
    let suspended = Write::UpdateCompany {
        record: suspended,
        expected: 1,
    };
    [
        update(&changed, 1),
        Write::InsertKey(new.clone()),
        suspended,
    ]
}

fn bad_writes(key: &KeyRecord) -> [(Write, StoreErrorKind); 5] {
    let mut other_version = key.clone();
    other_version.version = 6;
    let missing = record("company_12", 99);
    [
        (Write::InsertKey(key.clone()), StoreErrorKind::AlreadyExists),
        (update(&other_version, 5), StoreErrorKind::Conflict),
        (update(&missing, 1), StoreErrorKind::NotFound),
        (
            Write::InsertKey(record("company_99", 98)),
            StoreErrorKind::NotFound,
        ),
        (
            Write::UpdateCompany {
                record: company("company_99", 2),
                expected: 1,
            },
            StoreErrorKind::NotFound,
        ),
    ]
}

async fn refused_whole(
    store: &impl KeyStore,
    writes: [Write; 2],
    kind: StoreErrorKind,
    about: &KeyRecord,
) {
    let events = [
        LifecycleKind::TokenScopesChanged,
        LifecycleKind::TokenExpired,
    ];
    let change = Change {
        events: events.map(|kind| event(kind, about)).into(),
        writes: writes.into(),
    };
    let refused = store.commit(&change).await;
    expect(refused, kind, "one of two writes fails");
}

async fn assert_nothing_changed(store: &impl KeyStore, keys: &[KeyRecord; 2], new: &KeyRecord) {
    for key in keys {
        let stored = store.get(key.id).await.expect("get");
        assert_eq!(stored.as_ref(), Some(key), "half a change was made");
    }
    let stored = store.get(new.id).await.expect("get");
    assert_eq!(stored, None, "half a change was made");
    let stored = store.company(&new.company).await.expect("company");
    let before = Some(company("company_12", 1));
    assert_eq!(stored, before, "half a change was made");
    let events = store.pending_events(10).await.expect("events");
    assert_eq!(events, [], "an event tells of a change that was not made");
}

/// Events of every kind, of keys and of companies, come back as they were given: with all of their
/// members, and with none of those that they can lack.
pub async fn events_come_back_as_they_were_given(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let mut given: Vec<LifecycleEvent> = Vec::new();
    for (n, kind) in LifecycleKind::ALL.iter().enumerate() {
        let key = record("company_12", n as u128);
        let events = vec![event(*kind, &key), company_event(*kind, key.company)];
        given.extend(events.iter().cloned());
        let writes = vec![Write::InsertKey(key)];
        let change = Change { writes, events };
        store.commit(&change).await.expect("a new key");
    }
    let pending = store.pending_events(100).await.expect("events");
    for (came, given) in pending.iter().zip(&given) {
        assert_eq!(came, given, "an event comes back as it was given");
    }
    assert_eq!(pending.len(), given.len(), "an event was lost");
    store.acknowledge_events(&pending).await.expect("told");
    assert_eq!(store.pending_events(100).await.expect("events"), []);
}

/// Events come in the order of their commits, again and again, until they are acknowledged.
pub async fn events_wait_until_they_are_acknowledged(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let mut events = Vec::new();
    for n in 0..5 {
        let key = record("company_12", n);
        let created = event(LifecycleKind::TokenCreated, &key);
        let change = Change {
            writes: vec![Write::InsertKey(key)],
            events: vec![created.clone()],
        };
        store.commit(&change).await.expect("a new key");
        events.push(created);
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
