//! The suite that every key store must pass, ours included.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() {
//! use countersign_key_verify::{MemoryKeyStore, conformance};
//!
//! conformance::run(async || MemoryKeyStore::default()).await;
//! # }
//! ```

mod feed;
mod races;
mod uses;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{
    ActorType, Clock, CompanyId, Environment, EventId, KeyId, LifecycleEvent, LifecycleKind,
    ManualClock, ScopeSet, StoreError, StoreErrorKind,
};

pub use self::feed::{
    changes_are_told, no_change_is_missed_among_many, one_at_a_time_claims_the_outbox,
};
pub use self::races::{
    a_rotation_asks_whose_key_it_is, a_suspension_is_seen_by_every_later_use,
    keeps_what_is_as_long_as_can_be, keys_at_their_end_stay, two_issues_of_one_id,
    two_rotations_leave_one_successor,
};
pub use self::uses::{
    companies_are_paged, uses_add_up, uses_are_no_change_of_a_key, uses_of_many_writers_add_up,
};
use crate::manager::{Actor, IssueRequest, KeyManager};
use crate::record::{CompanyRecord, CompanyStatus, KeyRecord, KeyStatus, RevocationReason};
use crate::store::{Change, KeyStore, Write};
use crate::{Digester, RawKey};

/// Runs every property, each on a new and empty store that `make` gives.
///
/// # Panics
/// When the store lacks a property; the message says which. Call it on a runtime with several
/// threads, so that races are races.
pub async fn run<S: KeyStore>(make: impl AsyncFn() -> S) {
    reads_what_was_written(&make().await).await;
    refuses_what_exists_and_what_does_not(&make().await).await;
    a_change_is_made_whole_or_not_at_all(&make().await).await;
    a_company_s_standing_is_seen_at_once(&make().await).await;
    refuses_a_company_s_other_versions(&make().await).await;
    pages_ten_thousand_keys(&make().await).await;
    events_wait_until_they_are_acknowledged(&make().await).await;
    one_of_many_inserts_wins(Arc::new(make().await)).await;
    one_of_many_updates_wins(Arc::new(make().await)).await;
    two_issues_of_one_id(Arc::new(make().await)).await;
    two_rotations_leave_one_successor(Arc::new(make().await)).await;
    a_rotation_asks_whose_key_it_is(Arc::new(make().await)).await;
    a_suspension_is_seen_by_every_later_use(Arc::new(make().await)).await;
    keys_at_their_end_stay(Arc::new(make().await)).await;
    keeps_what_is_as_long_as_can_be(&make().await).await;
    revocation_is_never_undone_by_a_rotation(Arc::new(make().await)).await;
    a_suspended_company_and_a_changed_key_are_both_kept(Arc::new(make().await)).await;
    changes_are_told(Arc::new(make().await)).await;
    no_change_is_missed_among_many(Arc::new(make().await)).await;
    one_at_a_time_claims_the_outbox(Arc::new(make().await)).await;
    companies_are_paged(&make().await).await;
    uses_add_up(&make().await).await;
    uses_are_no_change_of_a_key(&make().await).await;
    uses_of_many_writers_add_up(Arc::new(make().await)).await;
}

/// A record is read back by id and by prefix as it was written, whatever its label holds.
pub async fn reads_what_was_written(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let mut key = record("company_12", 1);
    key.label = "Überweisung \u{1f4b8} \u{202e}x ".repeat(5);
    key.networks = vec!["2001:db8::/32".parse().expect("a network")];
    write(store, Write::InsertKey(key.clone()))
        .await
        .expect("a new key is stored");
    let found = store
        .find(&key.prefix)
        .await
        .expect("find")
        .expect("it was stored");
    assert_eq!(found.record, key, "find gives what was stored");
    assert_eq!(found.company, CompanyStatus::Active);
    let got = store.get(key.id).await.expect("get");
    assert_eq!(got.as_ref(), Some(&key), "get gives what was stored");
    let other = record("company_12", 2);
    assert!(store.find(&other.prefix).await.expect("find").is_none());
    assert!(store.get(other.id).await.expect("get").is_none());
    key.version = 2;
    key.status = KeyStatus::Suspended;
    let update = update(&key, 1);
    write(store, update).await.expect("the version is right");
    assert_eq!(store.get(key.id).await.expect("get"), Some(key));
}

/// `AlreadyExists`, `Conflict` and `NotFound` are told apart, and leave everything as it was.
pub async fn refuses_what_exists_and_what_does_not(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let key = record("company_12", 1);
    let insert = Write::InsertKey(key.clone());
    write(store, insert.clone()).await.expect("a new key");
    expect(
        write(store, insert).await,
        StoreErrorKind::AlreadyExists,
        "the same id",
    );
    let mut same_prefix = record("company_12", 2);
    same_prefix.prefix = key.prefix;
    let insert = Write::InsertKey(same_prefix);
    expect(
        write(store, insert).await,
        StoreErrorKind::AlreadyExists,
        "the same prefix",
    );
    let nobody = Write::InsertKey(record("company_99", 3));
    expect(
        write(store, nobody).await,
        StoreErrorKind::NotFound,
        "an unknown company",
    );
    let mut next = key.clone();
    next.version = 6;
    next.status = KeyStatus::Suspended;
    expect(
        write(store, update(&next, 5)).await,
        StoreErrorKind::Conflict,
        "another version",
    );
    add_company(store, "company_34").await;
    let mut moved = key.clone();
    moved.version = 2;
    moved.company = "company_34".parse().expect("a company id");
    expect(
        write(store, update(&moved, 1)).await,
        StoreErrorKind::Conflict,
        "another owner",
    );
    let missing = update(&record("company_12", 4), 1);
    expect(
        write(store, missing).await,
        StoreErrorKind::NotFound,
        "no such key",
    );
    let company = Write::InsertCompany(company("company_12", 1));
    expect(
        write(store, company).await,
        StoreErrorKind::AlreadyExists,
        "the company",
    );
    assert_eq!(
        store.get(key.id).await.expect("get"),
        Some(key),
        "nothing was written"
    );
}

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

/// `find` tells the company's standing as it is now.
pub async fn a_company_s_standing_is_seen_at_once(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let key = record("company_12", 1);
    write(store, Write::InsertKey(key.clone()))
        .await
        .expect("a new key");
    let suspended = Write::UpdateCompany {
        record: CompanyRecord {
            status: CompanyStatus::Suspended,
            ..company("company_12", 2)
        },
        expected: 1,
    };
    write(store, suspended).await.expect("the version is right");
    let found = store
        .find(&key.prefix)
        .await
        .expect("find")
        .expect("the key");
    assert_eq!(found.company, CompanyStatus::Suspended);
}

/// A company is updated from the version that is stored, and from no other; one that is not there
/// is `NotFound`.
pub async fn refuses_a_company_s_other_versions(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let suspended = |id, expected| Write::UpdateCompany {
        record: CompanyRecord {
            status: CompanyStatus::Suspended,
            ..company(id, expected + 1)
        },
        expected,
    };
    let early = write(store, suspended("company_12", 2)).await;
    expect(early, StoreErrorKind::Conflict, "a company's other version");
    let missing = write(store, suspended("company_99", 1)).await;
    expect(missing, StoreErrorKind::NotFound, "no such company");
    let id = "company_12".parse().expect("a company id");
    let stored = store.company(&id).await.expect("company");
    assert_eq!(
        stored,
        Some(company("company_12", 1)),
        "nothing was written"
    );
    let other = "company_99".parse().expect("a company id");
    assert_eq!(store.company(&other).await.expect("company"), None);
}

/// Ten thousand keys of one company are listed in pages by ascending id, each once, and none of
/// another company among them.
pub async fn pages_ten_thousand_keys(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    add_company(store, "company_34").await;
    let all: Vec<KeyRecord> = (0..10_000).map(|n| record("company_12", n)).collect();
    for keys in all.chunks(1000) {
        let writes = keys.iter().cloned().map(Write::InsertKey).collect();
        let change = Change {
            writes,
            events: Vec::new(),
        };
        store.commit(&change).await.expect("a thousand new keys");
    }
    let foreign = record("company_34", 20_000);
    write(store, Write::InsertKey(foreign))
        .await
        .expect("a new key");
    let id: CompanyId = "company_12".parse().expect("a company id");
    let (mut after, mut seen) = (None, HashSet::new());
    loop {
        let page = store.list(&id, after, 700).await.expect("a page");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 700, "a page is no longer than asked");
        assert!(page.is_sorted_by_key(|key| key.id), "pages ascend");
        assert!(after.is_none_or(|after| page[0].id > after), "pages go on");
        after = Some(last.id);
        seen.extend(page.iter().map(|key| key.id));
    }
    assert_eq!(
        seen,
        all.iter().map(|key| key.id).collect(),
        "each key once"
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

/// Of many inserts of one prefix at the same time exactly one is made.
pub async fn one_of_many_inserts_wins<S: KeyStore>(store: Arc<S>) {
    add_company(&*store, "company_12").await;
    let prefix = record("company_12", 0).prefix;
    let inserts = (1..=16).map(|n| {
        let mut key = record("company_12", n);
        key.prefix = prefix;
        Write::InsertKey(key)
    });
    let made = race(&store, inserts, StoreErrorKind::AlreadyExists).await;
    assert_eq!(made, 1, "one prefix, one key");
}

/// Of many updates of one version at the same time exactly one is made.
pub async fn one_of_many_updates_wins<S: KeyStore>(store: Arc<S>) {
    add_company(&*store, "company_12").await;
    let key = record("company_12", 1);
    write(&*store, Write::InsertKey(key.clone()))
        .await
        .expect("a new key");
    let updates = (0..16).map(|n| {
        let mut key = key.clone();
        key.version = 2;
        key.label = format!("writer {n}");
        update(&key, 1)
    });
    let made = race(&store, updates, StoreErrorKind::Conflict).await;
    assert_eq!(made, 1, "one version, one change");
}

/// Whatever a rotation and a revocation do at the same time, the revoked key stays revoked.
pub async fn revocation_is_never_undone_by_a_rotation<S: KeyStore>(store: Arc<S>) {
    let clock = ManualClock::default();
    let manager = KeyManager::builder(Arc::clone(&store))
        .clock(clock.clone())
        .build()
        .expect("a manager");
    let ada = Actor::operator("ada").expect("a name");
    let company = "company_12".parse().expect("a company id");
    manager
        .create_company(&ada, company)
        .await
        .expect("a new company");
    for _ in 0..20 {
        let expiry = clock.now().wall.saturating_add(Duration::from_secs(3600));
        let scopes = ScopeSet::from_names(["accounts:read"]).expect("a scope");
        let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
        let issued = manager
            .issue(&ada, request.activate_now(true))
            .await
            .expect("a key");
        let id = issued.record.id;
        let (rotating, revoking) = (manager.clone(), manager.clone());
        let (by, also_by) = (ada.clone(), ada.clone());
        let rotation = tokio::spawn(async move {
            rotating
                .rotate(&by, &company, id, Duration::ZERO)
                .await
                .is_ok()
        });
        let reason = RevocationReason::SuspectedLeakage;
        let revocation = tokio::spawn(async move {
            revoking
                .revoke(&also_by, &company, id, reason)
                .await
                .is_ok()
        });
        // A rotation that came second found a revoked key, and was refused.
        rotation.await.expect("a rotation ends");
        assert!(
            revocation.await.expect("a revocation ends"),
            "a revocation always works"
        );
        let after = store.get(id).await.expect("get").expect("the key");
        assert!(
            matches!(after.status, KeyStatus::Revoked { .. }),
            "it stays revoked"
        );
    }
}

/// A company is suspended while one of its keys is changed: neither undoes the other.
pub async fn a_suspended_company_and_a_changed_key_are_both_kept<S: KeyStore>(store: Arc<S>) {
    for n in 0..20 {
        let name = format!("company_{n}");
        add_company(&*store, &name).await;
        let key = record(&name, n);
        let insert = Write::InsertKey(key.clone());
        write(&*store, insert).await.expect("a new key");
        let suspended = Write::UpdateCompany {
            record: CompanyRecord {
                status: CompanyStatus::Suspended,
                ..company(&name, 2)
            },
            expected: 1,
        };
        let mut changed = key.clone();
        changed.version = 2;
        changed.label = "changed".to_owned();
        let writes = [suspended, update(&changed, 1)].into_iter();
        let made = race(&store, writes, StoreErrorKind::Conflict).await;
        assert_eq!(made, 2, "a company and its key are changed side by side");
        let found = store.find(&key.prefix).await.expect("find");
        let found = found.expect("the key");
        assert_eq!(found.company, CompanyStatus::Suspended);
        assert_eq!(found.record, changed);
    }
}

async fn race<S: KeyStore>(
    store: &Arc<S>,
    writes: impl Iterator<Item = Write>,
    lost: StoreErrorKind,
) -> usize {
    let racing: Vec<_> = writes
        .map(|write| {
            let store = Arc::clone(store);
            tokio::spawn(async move { self::write(&*store, write).await })
        })
        .collect();
    let mut made = 0;
    for racer in racing {
        match racer.await.expect("a commit ends") {
            Ok(()) => made += 1,
            Err(error) => assert_eq!(error.kind(), lost, "those who lose are told so"),
        }
    }
    made
}

async fn write(store: &impl KeyStore, write: Write) -> Result<(), StoreError> {
    let change = Change {
        writes: vec![write],
        events: Vec::new(),
    };
    store.commit(&change).await
}

async fn add_company(store: &impl KeyStore, id: &str) {
    let insert = Write::InsertCompany(company(id, 1));
    write(store, insert).await.expect("a new company is stored");
}

fn expect(result: Result<(), StoreError>, kind: StoreErrorKind, what: &str) {
    assert_eq!(result.map_err(|error| error.kind()), Err(kind), "{what}");
}

fn update(record: &KeyRecord, expected: u64) -> Write {
    Write::UpdateKey {
        record: record.clone(),
        expected,
    }
}

fn company(id: &str, version: u64) -> CompanyRecord {
    CompanyRecord {
        id: id.parse().expect("a company id"),
        status: CompanyStatus::Active,
        version,
    }
}

fn record(company: &str, n: u128) -> KeyRecord {
    let key = RawKey::generate("acme", Environment::Live).expect("a key");
    let now = ManualClock::default().now().wall;
    KeyRecord {
        id: KeyId::from_u128(n + 1),
        prefix: *key.prefix(),
        company: company.parse().expect("a company id"),
        digest: Digester::sha256().digest(key.secret()),
        scopes: ScopeSet::from_names(["accounts:read"]).expect("a scope"),
        status: KeyStatus::Active,
        label: String::new(),
        created_at: now,
        expires_at: now.saturating_add(Duration::from_secs(3600)),
        networks: Vec::new(),
        limits: Vec::new(),
        subsidiaries: vec!["company_56".parse().expect("a company id")],
        predecessor: None,
        version: 1,
    }
}

fn event(company: &str) -> LifecycleEvent {
    let time = ManualClock::default().now().wall;
    LifecycleEvent {
        id: EventId::generate(time),
        time,
        kind: LifecycleKind::TokenCreated,
        actor_type: ActorType::Operator,
        actor: "ada".to_owned(),
        company: company.parse().expect("a company id"),
        environment: None,
        key_id: None,
        key_prefix: None,
        reason: None,
        linked_key: None,
        subsidiaries: vec!["company_34".parse().expect("a company id")],
        changed: None,
    }
}
