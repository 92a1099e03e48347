//! Keys whose time has come are found, stored as expired and told of, once, whoever else changes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Clock, KeyId, LifecycleKind, ManualClock, Timestamp};

use super::support::{Desk, add_company, first, record, update, write};
use crate::manager::{KeyManager, ManageError};
use crate::record::{KeyRecord, KeyStatus, RevocationReason};
use crate::store::{Change, KeyStore, Write};

/// Due are the active keys that ended, of every company: to the microsecond, the longest due first,
/// and no more than asked.
pub async fn due_keys_are_those_that_ended(store: &impl KeyStore) {
    for company in ["company_12", "company_34"] {
        add_company(store, company).await;
    }
    // Around a full second, where a shorter form of a time would sort otherwise.
    let at = |micros: i64| Timestamp::from_micros(1_800_000_000_000_000 + micros);
    let key = |n: u128, company: &str, end: i64, status: KeyStatus| KeyRecord {
        expires_at: at(end),
        status,
        ..record(company, n)
    };
    let rotated = KeyStatus::Rotated {
        successor: KeyId::from_u128(1),
        until: at(-9),
    };
    let revoked = KeyStatus::Revoked {
        at: at(-9),
        reason: RevocationReason::CompanyRequest,
    };
    let third = key(1, "company_12", 1, KeyStatus::Active);
    let second = key(2, "company_34", 0, KeyStatus::Active);
    let early = key(3, "company_12", -1, KeyStatus::Active);
    let mut waking = key(4, "company_12", -2, KeyStatus::Suspended);
    let mut keys = vec![third.clone(), second.clone(), early.clone(), waking.clone()];
    let others = [KeyStatus::Pending, KeyStatus::Expired, rotated, revoked];
    for (n, status) in (5..).zip(others) {
        keys.push(key(n, "company_34", -2, status));
    }
    keys.push(key(20, "company_12", 1_000_000, KeyStatus::Active));
    for key in keys {
        let insert = Write::InsertKey(key);
        write(store, insert).await.expect("a new key");
    }
    let due = async |now: i64, limit| store.due_keys(at(now), limit).await.expect("due keys");
    assert_eq!(due(-2, 10).await, [], "no other state expires");
    assert_eq!(due(-1, 10).await, std::slice::from_ref(&early));
    let all = [early.clone(), second.clone(), third.clone()];
    assert_eq!(due(1, 10).await, all, "the longest due first");
    assert_eq!(due(1, 2).await, all[..2], "no more than asked");
    waking.status = KeyStatus::Active;
    waking.version = 2;
    let mut gone = early.clone();
    gone.status = KeyStatus::Expired;
    gone.version = 2;
    for change in [update(&waking, 1), update(&gone, 1)] {
        write(store, change).await.expect("the version is right");
    }
    assert_eq!(due(1, 10).await, [waking, second, third], "as it is now");
}

/// However many keys are due, a page of them is read and changed at a time.
pub async fn a_sweep_goes_page_by_page<S: KeyStore>(store: Arc<S>) {
    let desk = Desk::new(&store).await;
    let keys: Vec<KeyRecord> = (0..250).map(|n| record("company_12", n)).collect();
    let change = Change {
        writes: keys.iter().cloned().map(Write::InsertKey).collect(),
        events: Vec::new(),
    };
    store.commit(&change).await.expect("new keys");
    let sweep = async || {
        let now = desk.clock.now().wall;
        let swept = desk.manager.expire_due(&desk.ada, now, 100).await;
        let swept = swept.expect("a sweep");
        (swept.expired, swept.more)
    };
    assert_eq!(sweep().await, (0, false), "none has ended yet");
    desk.clock.advance(Duration::from_secs(3600));
    let pages = [sweep().await, sweep().await, sweep().await, sweep().await];
    assert_eq!(pages, [(100, true), (100, true), (50, false), (0, false)]);
    let told = ends_told(&*store).await;
    assert_eq!(told.len(), 250, "each is told");
    for key in keys {
        let stored = store.get(key.id).await.expect("get").expect("the key");
        let expected = KeyRecord {
            status: KeyStatus::Expired,
            version: 2,
            ..key
        };
        assert_eq!(stored, expected, "nothing else was changed");
    }
}

/// Of each key one of many sweeps at the same time tells.
pub async fn many_sweeps_tell_each_end_once<S: KeyStore>(store: Arc<S>) {
    let desk = Desk::new(&store).await;
    for _ in 0..40 {
        desk.issue("company_12").await;
    }
    desk.clock.advance(Duration::from_secs(3600));
    let now = desk.clock.now().wall;
    let sweeps: Vec<_> = (0..4)
        .map(|_| {
            let (manager, ada) = (desk.manager.clone(), desk.ada.clone());
            tokio::spawn(async move { sweep(&manager, &ada, now).await })
        })
        .collect();
    let mut expired = 0;
    for sweeping in sweeps {
        expired += sweeping.await.expect("a sweep ends");
    }
    // Whoever finds all of a page done leaves the rest to those who did it.
    expired += sweep(&desk.manager, &desk.ada, now).await;
    assert_eq!(expired, 40, "each counts once");
    let told = ends_told(&*store).await;
    assert_eq!(told.len(), 40, "each is told");
    assert!(told.values().all(|times| *times == 1), "and once: {told:?}");
}

/// A key that somebody changes while it is found to be due is either expired or what they made of
/// it, never both, and its events say so.
pub async fn a_sweep_undoes_no_other_change<S: KeyStore>(store: Arc<S>) {
    let desk = Desk::new(&store).await;
    // They change keys by a clock that is behind.
    let late = ManualClock::new(desk.clock.now().wall.saturating_add(HOUR));
    let late = KeyManager::builder(Arc::clone(&store)).clock(late).build();
    let late = late.expect("a manager");
    for round in 0..30 {
        let id = desk.issue("company_12").await.record.id;
        let (sweeper, by) = (late.clone(), desk.ada.clone());
        let now = desk.clock.now().wall.saturating_add(HOUR);
        let sweeping = tokio::spawn(async move { sweep(&sweeper, &by, now).await });
        let (manager, ada) = (desk.manager.clone(), desk.ada.clone());
        let change = tokio::spawn(async move {
            let reason = RevocationReason::CompanyRequest;
            match round % 3 {
                0 => manager.rotate(&ada, &first(), id, HOUR).await.map(drop),
                1 => manager.suspend(&ada, &first(), id).await.map(drop),
                _ => manager.revoke(&ada, &first(), id, reason).await.map(drop),
            }
        });
        sweeping.await.expect("a sweep ends");
        let changed = change.await.expect("a change ends");
        let stored = store.get(id).await.expect("get").expect("the key");
        let told = ends_told(&*store).await.get(&id).copied().unwrap_or(0);
        match (&stored.status, changed) {
            (KeyStatus::Rotated { .. } | KeyStatus::Suspended, Ok(())) => assert_eq!(told, 0),
            (KeyStatus::Expired, Err(ManageError::IllegalTransition { .. })) => {
                assert_eq!(told, 1);
            }
            // An expired key is revoked like any other.
            (KeyStatus::Revoked { .. }, Ok(())) => assert_eq!(told, stored.version - 2),
            (status, changed) => panic!("{status:?} after {changed:?}"),
        }
    }
}

async fn sweep(manager: &KeyManager, actor: &crate::Actor, until: Timestamp) -> u32 {
    let mut expired = 0;
    loop {
        let swept = manager.expire_due(actor, until, 15).await;
        let swept = swept.expect("a sweep");
        expired += swept.expired;
        if !swept.more {
            return expired;
        }
    }
}

/// How often the end of each key was told.
async fn ends_told(store: &impl KeyStore) -> HashMap<KeyId, u64> {
    let mut told = HashMap::new();
    for event in store.pending_events(10_000).await.expect("events") {
        if event.kind == LifecycleKind::TokenExpired {
            let key = event.key_id.expect("it is about a key");
            *told.entry(key).or_default() += 1;
        }
    }
    told
}

const HOUR: Duration = Duration::from_secs(3600);
