use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{
    Clock, CompanyId, Endpoint, Environment, KeyId, ManualClock, RequiredScopes, ScopeSet,
    Timestamp,
};

use super::*;
use crate::{Actor, IssueRequest, KeyManager, KeyStore, MemoryKeyStore};

fn key(number: u128) -> KeyId {
    KeyId::from_u128(number)
}

fn endpoint(path: &str, scope: &str) -> Endpoint {
    Endpoint::get(path).scope(scope.parse().unwrap())
}

fn scopes(names: &[&str]) -> ScopeSet {
    ScopeSet::from_names(names.iter().copied()).unwrap()
}

fn collect(tracker: &UseTracker) -> HashMap<KeyId, KeyUse> {
    let mut waiting = HashMap::new();
    tracker.collect(&mut waiting);
    waiting
}

#[test]
fn time_route_count_and_scopes_are_noted() {
    let (tracker, clock) = (UseTracker::default(), ManualClock::default());
    let granted = scopes(&["accounts:read", "payments:create"]);
    let cell = tracker.cell(key(1), &granted);
    let accounts = endpoint("/accounts", "accounts:read");
    let foreign = endpoint("/tokens", "tokens:manage");
    cell.note(clock.now().wall, &granted, Some(&accounts));
    clock.advance(Duration::from_secs(2));
    cell.note(clock.now().wall, &granted, Some(&foreign));
    let used = &collect(&tracker)[&key(1)];
    assert_eq!(used.count, 2);
    assert_eq!(used.at, clock.now().wall);
    assert_eq!(used.route.as_deref(), Some("/tokens"));
    assert_eq!(
        used.scopes,
        scopes(&["accounts:read"]),
        "a scope that the key lacks was not exercised"
    );
    assert!(collect(&tracker).is_empty(), "each use is told once");
    cell.note(clock.now().wall, &granted, None);
    let again = &collect(&tracker)[&key(1)];
    assert_eq!((again.count, again.at), (1, clock.now().wall));
}

#[test]
fn all_scopes_that_an_endpoint_asks_for_together_are_exercised_together() {
    let tracker = UseTracker::default();
    let granted = scopes(&["accounts:read", "payments:create"]);
    let cell = tracker.cell(key(1), &granted);
    let all = RequiredScopes::all(granted.iter()).unwrap();
    let lacking = ["accounts:read", "tokens:manage"].map(|name| name.parse().unwrap());
    let lacking = RequiredScopes::all(lacking).unwrap();
    let now = Timestamp::from_micros(1_000_000);
    cell.note(now, &granted, Some(&Endpoint::get("/a").scopes(lacking)));
    assert!(collect(&tracker)[&key(1)].scopes.is_empty(), "refused");
    cell.note(now, &granted, Some(&Endpoint::get("/b").scopes(all)));
    assert_eq!(collect(&tracker)[&key(1)].scopes, granted);
}

#[test]
fn a_clock_that_is_set_back_takes_no_use_back() {
    let tracker = UseTracker::default();
    let cell = tracker.cell(key(1), &ScopeSet::new());
    let late = Timestamp::from_micros(2_000_000_000);
    cell.note(late, &ScopeSet::new(), None);
    cell.note(Timestamp::from_micros(-5), &ScopeSet::new(), None);
    let used = &collect(&tracker)[&key(1)];
    assert_eq!((used.count, used.at), (2, late));
}

#[test]
fn a_key_that_left_the_cache_loses_no_use_and_no_room() {
    let tracker = UseTracker::default();
    let cell = tracker.cell(key(1), &ScopeSet::new());
    cell.note(Timestamp::from_micros(1_000_000), &ScopeSet::new(), None);
    drop(cell);
    assert_eq!(collect(&tracker)[&key(1)].count, 1);
    // Its cell is gone by now, and a new one begins.
    let cell = tracker.cell(key(1), &ScopeSet::new());
    assert_eq!(Arc::strong_count(&cell), 2);
}

#[test]
fn a_key_with_new_scopes_gets_more_room_and_keeps_its_uses() {
    let tracker = UseTracker::default();
    let (before, now) = (ScopeSet::new(), Timestamp::from_micros(1_000_000));
    let old = tracker.cell(key(1), &before);
    old.note(now, &before, None);
    let more = scopes(&["late:scope"]);
    let new = tracker.cell(key(1), &more);
    assert!(!Arc::ptr_eq(&old, &new));
    old.note(now, &before, None);
    new.note(now, &more, Some(&endpoint("/late", "late:scope")));
    let used = &collect(&tracker)[&key(1)];
    assert_eq!((used.count, &used.scopes), (3, &more));
}

#[test]
fn threads_on_one_busy_key_lose_no_count() {
    let tracker = UseTracker::default();
    let granted = scopes(&["accounts:read"]);
    let cell = tracker.cell(key(1), &granted);
    let accounts = endpoint("/accounts", "accounts:read");
    let mut waiting = HashMap::new();
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let (cell, granted, accounts) = (&cell, &granted, &accounts);
            threads.spawn(move || {
                for n in 0..50_000 {
                    let now = Timestamp::from_micros(thread * 1_000_000 + n);
                    cell.note(now, granted, Some(accounts));
                }
            });
        }
        for _ in 0..100 {
            tracker.collect(&mut waiting);
        }
    });
    tracker.collect(&mut waiting);
    assert_eq!(waiting[&key(1)].count, 200_000);
}

struct World {
    store: Arc<MemoryKeyStore>,
    tracker: Arc<UseTracker>,
    cell: Arc<UseCell>,
    key: KeyId,
}

impl World {
    async fn new() -> Self {
        let (store, clock) = (Arc::new(MemoryKeyStore::default()), ManualClock::default());
        let manager = KeyManager::builder(Arc::clone(&store))
            .clock(clock.clone())
            .build()
            .unwrap();
        let ada = Actor::operator("ada").unwrap();
        let company: CompanyId = "company_12".parse().unwrap();
        manager.create_company(&ada, company).await.unwrap();
        let expiry = clock.now().wall.saturating_add(Duration::from_secs(3600));
        let granted = scopes(&["accounts:read"]);
        let request = IssueRequest::new(company, Environment::Live, granted, expiry);
        let key = manager.issue(&ada, request).await.unwrap().record.id;
        let tracker = Arc::new(UseTracker::default());
        let cell = tracker.cell(key, &ScopeSet::new());
        Self {
            store,
            tracker,
            cell,
            key,
        }
    }

    fn writer(&self) -> UseWriter {
        let store: Arc<dyn KeyStore> = self.store.clone();
        UseWriter::spawn(Arc::clone(&self.tracker), store, UseWriter::INTERVAL)
    }

    fn use_it(&self) {
        let now = ManualClock::default().now().wall;
        self.cell.note(now, &ScopeSet::new(), None);
    }

    async fn stored(&self) -> u64 {
        let uses = self.store.last_uses(&[self.key]).await.unwrap();
        uses.first().map_or(0, |uses| uses.count)
    }
}

#[tokio::test(start_paused = true)]
async fn uses_are_written_once_an_interval_and_at_the_end() {
    let world = World::new().await;
    let writer = world.writer();
    world.use_it();
    world.use_it();
    tokio::time::sleep(UseWriter::INTERVAL / 2).await;
    assert_eq!(world.stored().await, 0, "not before its time");
    tokio::time::sleep(UseWriter::INTERVAL).await;
    assert_eq!(world.stored().await, 2);
    world.use_it();
    let report = writer.shutdown().await;
    assert_eq!((report.written, report.lost), (3, 0));
    assert_eq!(world.stored().await, 3, "nothing is lost at the end");
}

#[tokio::test(start_paused = true)]
async fn uses_wait_while_the_store_is_away() {
    let world = World::new().await;
    let writer = world.writer();
    world.store.set_available(false);
    for _ in 0..3 {
        world.use_it();
        tokio::time::sleep(2 * UseWriter::INTERVAL).await;
    }
    world.store.set_available(true);
    tokio::time::sleep(2 * UseWriter::INTERVAL).await;
    assert_eq!(world.stored().await, 3);
    world.store.set_available(false);
    world.use_it();
    let report = writer.shutdown().await;
    assert_eq!(
        (report.written, report.lost),
        (3, 1),
        "what is lost is told"
    );
}
