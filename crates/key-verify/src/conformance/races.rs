//! What goes wrong elsewhere when several do the same thing at once, each by its name; and that what
//! was stored stays.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{CompanyId, KeyId, LimitOverride, Quota, ScopeSet, StoreErrorKind};

use super::support::{Desk, add_company, first, race, record, update, write};
use crate::manager::{Actor, ManageError};
use crate::record::{CompanyStatus, KeyRecord, KeyStatus, RevocationReason};
use crate::store::{KeyStore, Write};

/// Of many inserts of one id at the same time exactly one is made.
pub async fn two_issues_of_one_id<S: KeyStore>(store: Arc<S>) {
    add_company(&*store, "company_12").await;
    let id = KeyId::from_u128(7);
    let inserts = (1..=16).map(|n| {
        let mut key = record("company_12", n);
        key.id = id;
        Write::InsertKey(key)
    });
    let made = race(&store, inserts, StoreErrorKind::AlreadyExists).await;
    assert_eq!(made, 1, "one id, one key");
}

/// Of two rotations of one key at the same time one is made, and the key has one successor.
pub async fn two_rotations_leave_one_successor<S: KeyStore>(store: Arc<S>) {
    let desk = Desk::new(&store).await;
    for round in 1..=20_u32 {
        let old = desk.issue("company_12").await.record;
        let racing: Vec<_> = (0..2)
            .map(|_| {
                let (manager, ada) = (desk.manager.clone(), desk.ada.clone());
                tokio::spawn(async move {
                    let overlap = Duration::from_secs(60);
                    let rotated = manager.rotate(&ada, &first(), old.id, overlap).await;
                    rotated.map(|issued| issued.record)
                })
            })
            .collect();
        let mut successors: Vec<KeyRecord> = Vec::new();
        for racer in racing {
            match racer.await.expect("a rotation ends") {
                Ok(successor) => successors.push(successor),
                Err(ManageError::IllegalTransition { .. }) => {}
                Err(error) => panic!("who loses is told so: {error}"),
            }
        }
        assert_eq!(successors.len(), 1, "one rotation is made");
        let successor = &successors[0];
        assert_eq!(successor.predecessor, Some(old.id));
        assert_eq!(
            successor.origin,
            Some(old.counted_by()),
            "the chain goes on"
        );
        let after = store.get(old.id).await.expect("get").expect("the old key");
        assert!(
            matches!(after.status, KeyStatus::Rotated { successor: named, .. } if named == successor.id),
            "the key names its successor"
        );
        let all = store.list(&first(), None, 1000).await.expect("list");
        assert_eq!(all.len(), 2 * round as usize, "no key without an owner");
    }
}

/// A rotation asks whose key it is, as every other verb does: by the name of another company
/// nothing is found and nothing written.
pub async fn a_rotation_asks_whose_key_it_is<S: KeyStore>(store: Arc<S>) {
    let desk = Desk::new(&store).await;
    let key = desk.issue("company_12").await.record;
    let other: CompanyId = "company_34".parse().expect("a company id");
    let foreign = Actor::company(other, key.prefix);
    let events = store.pending_events(100).await.expect("events");
    for (actor, company) in [
        (&desk.ada, other),
        (&foreign, other),
        (&foreign, key.company),
    ] {
        let overlap = Duration::from_secs(60);
        let rotated = desk.manager.rotate(actor, &company, key.id, overlap).await;
        assert!(matches!(rotated, Err(ManageError::NotFound)), "{rotated:?}");
    }
    let after = store.get(key.id).await.expect("get");
    assert_eq!(after, Some(key), "nothing was written");
    assert_eq!(store.pending_events(100).await.expect("events"), events);
}

/// While a key and its company are suspended, each use finds one state or the other whole; once the
/// suspension is committed, no use finds what was before.
pub async fn a_suspension_is_seen_by_every_later_use<S: KeyStore>(store: Arc<S>) {
    for n in 0..10_u128 {
        let name = format!("company_{n}");
        add_company(&*store, &name).await;
        let key = record(&name, n);
        let insert = Write::InsertKey(key.clone());
        write(&*store, insert).await.expect("a new key");
        let users: Vec<_> = (0..4)
            .map(|_| {
                let (store, prefix) = (Arc::clone(&store), key.prefix);
                tokio::spawn(async move {
                    let mut version = 1;
                    while version == 1 {
                        let found = store.find(&prefix).await.expect("find");
                        let found = found.expect("it is never gone").record;
                        let suspended = found.status == KeyStatus::Suspended;
                        assert_eq!(suspended, found.version == 2, "half a state");
                        version = found.version;
                    }
                })
            })
            .collect();
        let mut suspended = key.clone();
        suspended.version = 2;
        suspended.status = KeyStatus::Suspended;
        let change = update(&suspended, 1);
        write(&*store, change).await.expect("the version is right");
        for _ in 0..8 {
            let found = store.find(&key.prefix).await.expect("find");
            let found = found.expect("the key").record;
            assert_eq!(found.status, KeyStatus::Suspended, "an older state");
        }
        for user in users {
            user.await.expect("every use sees it in the end");
        }
    }
}

/// A key at its end is evidence: revoked and expired, it is found, got and listed as it was, with
/// everything that was known of it.
pub async fn keys_at_their_end_stay<S: KeyStore>(store: Arc<S>) {
    let desk = Desk::new(&store).await;
    let expired = desk.issue("company_12").await.record;
    let revoked = desk.issue("company_12").await.record;
    desk.clock.advance(Duration::from_secs(7200));
    let reason = RevocationReason::SuspectedLeakage;
    let (manager, company) = (&desk.manager, first());
    let ended = manager.revoke(&desk.ada, &company, revoked.id, reason);
    let ended = ended.await.expect("an expired key can be revoked");
    assert_eq!(
        (ended.digest, &ended.scopes),
        (revoked.digest, &revoked.scopes)
    );
    for key in [&expired, &ended] {
        let found = store.find(&key.prefix).await.expect("find");
        assert_eq!(found.map(|found| found.record).as_ref(), Some(key));
        assert_eq!(store.get(key.id).await.expect("get").as_ref(), Some(key));
    }
    let listed = store.list(&first(), None, 10).await.expect("list");
    assert_eq!(listed.len(), 2, "nothing is deleted");
    let again = Write::InsertKey(expired);
    let refused = write(&*store, again).await.map_err(|error| error.kind());
    assert_eq!(
        refused,
        Err(StoreErrorKind::AlreadyExists),
        "its place is never given to another"
    );
}

/// Everything of a record as long as it can be, in letters of several bytes, comes back as it was.
pub async fn keeps_what_is_as_long_as_can_be(store: &impl KeyStore) {
    let name = "c".repeat(64);
    add_company(store, &name).await;
    let mut key = record(&name, 1);
    key.label = "\u{1f4b8}".repeat(100);
    let resource = |n: u32| format!("{}{n:03}:{}", "r".repeat(45), "a".repeat(48));
    let scopes: Vec<String> = (0..50).map(resource).collect();
    key.scopes = ScopeSet::from_names(scopes.iter().map(String::as_str)).expect("scopes");
    key.subsidiaries = (0..64)
        .map(|n| {
            format!("{}{n:02}", "s".repeat(62))
                .parse()
                .expect("a company id")
        })
        .collect();
    key.networks = (0..200_u32)
        .map(|n| format!("2001:db8:{n:x}::/48").parse().expect("a network"))
        .collect();
    key.limits = (0..12)
        .map(|n| LimitOverride {
            policy: format!("política-{n}-'\"\\%_;--"),
            quota: Quota::per_second(1000, 1000).expect("a quota"),
        })
        .collect();
    let insert = Write::InsertKey(key.clone());
    write(store, insert).await.expect("a long record is stored");
    let found = store.find(&key.prefix).await.expect("find");
    let found = found.expect("it was stored");
    assert_eq!(found.record, key);
    assert_eq!(found.company, CompanyStatus::Active);
    let company = key.company;
    assert_eq!(store.list(&company, None, 10).await.expect("list"), [key]);
}
