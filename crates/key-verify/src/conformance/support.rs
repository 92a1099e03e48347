//! What the properties share: records, writes, races.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{
    ActorType, Clock, CompanyId, Environment, EventId, KeyId, LifecycleEvent, LifecycleKind,
    ManualClock, ScopeSet, StoreError, StoreErrorKind,
};

use crate::manager::{Actor, IssueRequest, IssuedKey, KeyManager};
use crate::record::{CompanyRecord, CompanyStatus, KeyRecord, KeyStatus};
use crate::store::{Change, KeyStore, Write};
use crate::{Digester, RawKey};

pub(super) async fn race<S: KeyStore>(
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

pub(super) async fn write(store: &impl KeyStore, write: Write) -> Result<(), StoreError> {
    let change = Change {
        writes: vec![write],
        events: Vec::new(),
    };
    store.commit(&change).await
}

pub(super) async fn add_company(store: &impl KeyStore, id: &str) {
    let insert = Write::InsertCompany(company(id, 1));
    write(store, insert).await.expect("a new company is stored");
}

pub(super) fn expect(result: Result<(), StoreError>, kind: StoreErrorKind, what: &str) {
    assert_eq!(result.map_err(|error| error.kind()), Err(kind), "{what}");
}

pub(super) fn update(record: &KeyRecord, expected: u64) -> Write {
    Write::UpdateKey {
        record: record.clone(),
        expected,
    }
}

pub(super) fn company(id: &str, version: u64) -> CompanyRecord {
    CompanyRecord {
        id: id.parse().expect("a company id"),
        status: CompanyStatus::Active,
        version,
    }
}

pub(super) fn record(company: &str, n: u128) -> KeyRecord {
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
        origin: None,
        version: 1,
    }
}

/// An event about a key, with something in every member.
pub(super) fn event(kind: LifecycleKind, key: &KeyRecord) -> LifecycleEvent {
    LifecycleEvent {
        environment: Some(Environment::Live),
        key_id: Some(key.id),
        key_prefix: Some(key.prefix),
        reason: Some("suspected_leakage".to_owned()),
        linked_key: Some(KeyId::from_u128(u128::MAX)),
        subsidiaries: vec!["company_34".parse().expect("a company id")],
        scopes: vec!["accounts:read".to_owned()],
        ends_at: Some(key.expires_at),
        changed: Some("networks".to_owned()),
        ..company_event(kind, key.company)
    }
}

/// An event with nothing in the members that an event can lack.
pub(super) fn company_event(kind: LifecycleKind, company: CompanyId) -> LifecycleEvent {
    let time = ManualClock::default().now().wall;
    LifecycleEvent {
        id: EventId::generate(time),
        time: time.saturating_add(Duration::from_micros(1)),
        kind,
        actor_type: ActorType::Operator,
        actor: "ada".to_owned(),
        company,
        environment: None,
        key_id: None,
        key_prefix: None,
        reason: None,
        linked_key: None,
        subsidiaries: Vec::new(),
        scopes: Vec::new(),
        ends_at: None,
        changed: None,
    }
}

/// A manager over the store, with two companies.
pub(super) struct Desk {
    pub(super) manager: KeyManager,
    pub(super) clock: ManualClock,
    pub(super) ada: Actor,
}

impl Desk {
    pub(super) async fn new<S: KeyStore>(store: &Arc<S>) -> Self {
        for company in ["company_12", "company_34"] {
            add_company(&**store, company).await;
        }
        let clock = ManualClock::default();
        let builder = KeyManager::builder(Arc::clone(store)).clock(clock.clone());
        Self {
            manager: builder.build().expect("a manager"),
            clock,
            ada: Actor::operator("ada").expect("a name"),
        }
    }

    pub(super) async fn issue(&self, company: &str) -> IssuedKey {
        let expiry = self.clock.now().wall;
        let expiry = expiry.saturating_add(Duration::from_secs(3600));
        let scopes = ScopeSet::from_names(["accounts:read"]).expect("a scope");
        let company = company.parse().expect("a company id");
        let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
        let issued = self.manager.issue(&self.ada, request.activate_now(true));
        issued.await.expect("a key")
    }
}

pub(super) fn first() -> CompanyId {
    "company_12".parse().expect("a company id")
}
