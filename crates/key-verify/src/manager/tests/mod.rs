mod boundary;
mod bounds;
mod machine;

use std::sync::Arc;

use countersign_core::{CompanyId, Environment, Identity, KeyPrefix, ManualClock, Reason};
use proptest::prelude::*;

use super::*;
use crate::record::{KeyStatus, RevocationReason};
use crate::{MemoryKeyStore, SecretDigest};

const DAY: Duration = Duration::from_secs(86_400);

struct World {
    store: Arc<MemoryKeyStore>,
    clock: ManualClock,
    manager: KeyManager,
    operator: Actor,
    company: CompanyId,
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(MemoryKeyStore::default());
        let clock = ManualClock::default();
        let manager = KeyManager::builder(Arc::clone(&store))
            .clock(clock.clone())
            .brand("acme")
            .known_scopes(ScopeSet::from_names(["accounts:read", "payments:create"]).unwrap())
            .build()
            .unwrap();
        let operator = Actor::operator("ada").unwrap();
        let company = "company_12".parse().unwrap();
        manager.create_company(&operator, company).await.unwrap();
        let other = "company_34".parse().unwrap();
        manager.create_company(&operator, other).await.unwrap();
        Self {
            store,
            clock,
            manager,
            operator,
            company,
        }
    }

    fn request(&self) -> IssueRequest {
        let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
        let expiry = self.clock.now().wall.saturating_add(10 * DAY);
        IssueRequest::new(self.company, Environment::Live, scopes, expiry)
    }

    async fn issue(&self) -> IssuedKey {
        let request = self.request().activate_now(true);
        self.manager.issue(&self.operator, request).await.unwrap()
    }

    async fn kinds(&self) -> Vec<LifecycleKind> {
        let events = self.store.pending_events(1000).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }
}

#[tokio::test]
async fn issuing_tells_who_and_what() {
    let world = World::new().await;
    let issued = world.issue().await;
    assert_eq!(issued.record.prefix, *issued.key.prefix());
    let events = world.store.pending_events(10).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [
            LifecycleKind::TokenCreated,
            LifecycleKind::TokenDisplayedOnce,
            LifecycleKind::TokenActivated,
        ]
    );
    assert_eq!(events[0].actor, "ada");
    assert_eq!(events[0].key_id, Some(issued.record.id));
    assert_eq!(events[0].scopes, ["accounts:read"]);
    assert_eq!(events[0].ends_at, Some(issued.record.expires_at));
    let later = |event: &LifecycleEvent| event.scopes.is_empty() && event.ends_at.is_none();
    assert!(events[1..].iter().all(later), "told once");
}

#[tokio::test]
async fn an_event_tells_what_a_key_may_do_from_then_on() {
    let world = World::new().await;
    let (m, ada) = (&world.manager, &world.operator);
    let id = world.issue().await.record.id;
    let scopes = ScopeSet::from_names(["payments:create", "accounts:read"]).unwrap();
    m.set_scopes(ada, &world.company, id, scopes).await.unwrap();
    let end = world.clock.now().wall.saturating_add(DAY);
    m.rotate(ada, &world.company, id, DAY).await.unwrap();
    let events = world.store.pending_events(10).await.unwrap();
    let told: Vec<_> = events[3..6]
        .iter()
        .map(|event| (event.kind, event.scopes.join(" "), event.ends_at))
        .collect();
    let both = "accounts:read payments:create".to_owned();
    let expiry = world.request().expires_at;
    assert_eq!(
        told,
        [
            (LifecycleKind::TokenScopesChanged, both.clone(), None),
            (LifecycleKind::TokenRotated, String::new(), Some(end)),
            (LifecycleKind::TokenCreated, both, Some(expiry)),
        ]
    );
}

#[tokio::test]
async fn what_is_not_acceptable_is_refused_and_leaves_nothing() {
    let world = World::new().await;
    let now = world.clock.now().wall;
    let unknown_scope = ScopeSet::from_names(["accounts:delete"]).unwrap();
    let nobody = "company_99".parse().unwrap();
    let base = world.request();
    let bad = [
        IssueRequest {
            expires_at: now,
            ..base.clone()
        },
        IssueRequest {
            expires_at: now.saturating_add(500 * DAY),
            ..base.clone()
        },
        IssueRequest {
            scopes: ScopeSet::new(),
            ..base.clone()
        },
        IssueRequest {
            scopes: unknown_scope,
            ..base.clone()
        },
        IssueRequest {
            company: nobody,
            ..base.clone()
        },
        base.clone().label("x".repeat(101)),
        base.label("two\nlines"),
    ];
    for request in bad {
        let refused = world.manager.issue(&world.operator, request.clone()).await;
        assert!(refused.is_err(), "{request:?}");
    }
    let keys = world.store.list(&world.company, None, 10).await.unwrap();
    assert!(keys.is_empty());
    assert!(world.kinds().await.is_empty());
}

#[tokio::test]
async fn a_rotation_links_both_and_keeps_the_owner() {
    let world = World::new().await;
    let old = world.issue().await.record;
    let new = world
        .manager
        .rotate(&world.operator, &old.company, old.id, DAY)
        .await
        .unwrap();
    let replaced = world
        .manager
        .show(&world.operator, &old.company, old.id)
        .await
        .unwrap();
    let now = world.clock.now().wall;
    assert_eq!(new.record.predecessor, Some(old.id));
    assert_eq!(new.record.company, old.company);
    assert_eq!(new.record.scopes, old.scopes);
    assert!(
        matches!(replaced.status, KeyStatus::Rotated { successor, .. } if successor == new.record.id)
    );
    assert!(replaced.standing(now).is_ok(), "within the overlap");
    assert!(replaced.standing(now.saturating_add(DAY)).is_err());
    let long = world
        .manager
        .rotate(&world.operator, &old.company, new.record.id, 31 * DAY)
        .await;
    assert!(matches!(long, Err(ManageError::Invalid(_))));
}

#[tokio::test]
async fn without_an_overlap_a_key_ends_by_every_clock() {
    let world = World::new().await;
    let (here, five_minutes) = (world.clock.now().wall, Duration::from_secs(300));
    let ahead = ManualClock::new(here.saturating_add(five_minutes));
    let manager = KeyManager::builder(Arc::clone(&world.store)).clock(ahead.clone());
    let (manager, ada) = (manager.build().unwrap(), &world.operator);
    let id = world.issue().await.record.id;
    let rotated = manager.rotate(ada, &world.company, id, Duration::ZERO);
    rotated.await.unwrap();
    let old = world.store.get(id).await.unwrap().unwrap();
    for now in [here, here.saturating_sub(DAY), Timestamp::default()] {
        assert_eq!(old.standing(now), Err(Reason::RotatedApiKey));
    }
    assert_eq!(old.status.accepted_until(), None);
    let events = world.store.pending_events(20).await.unwrap();
    let told = |event: &&LifecycleEvent| event.kind == LifecycleKind::TokenRotated;
    let told = events.iter().find(told).unwrap();
    assert_eq!(told.ends_at, Some(ahead.now().wall), "not 1970");
}

#[tokio::test]
async fn an_event_tells_which_limit_was_changed() {
    let world = World::new().await;
    let id = world.issue().await.record.id;
    let (m, ada) = (&world.manager, &world.operator);
    m.set_networks(ada, &world.company, id, vec!["10.0.0.0/8".parse().unwrap()])
        .await
        .unwrap();
    m.set_limits(ada, &world.company, id, Vec::new())
        .await
        .unwrap();
    let events = world.store.pending_events(10).await.unwrap();
    let changed: Vec<_> = events[3..]
        .iter()
        .map(|event| {
            (
                event.kind,
                event.changed.as_deref(),
                event.reason.as_deref(),
            )
        })
        .collect();
    let kind = LifecycleKind::TokenLimitsChanged;
    assert_eq!(
        changed,
        [(kind, Some("networks"), None), (kind, Some("quotas"), None)]
    );
}

#[tokio::test]
async fn a_key_is_taken_over_by_its_hash_and_once() {
    let world = World::new().await;
    let hash = ImportedHash::new([7; 32]);
    let (m, ada) = (&world.manager, &world.operator);
    let request = || world.request().activate_now(true);
    let record = m
        .import(ada, ImportRequest::new(request(), hash))
        .await
        .unwrap();
    assert!(record.prefix.as_str().starts_with("imported_live_"));
    assert_eq!(record.digest, SecretDigest::Imported([7; 32]));
    let again = m.import(ada, ImportRequest::new(request(), hash)).await;
    assert!(
        matches!(again, Err(ManageError::AlreadyExists)),
        "{again:?}"
    );
    let sandbox: KeyPrefix = "acme_test_000000000000".parse().unwrap();
    let other = m
        .import(ada, ImportRequest::new(request(), hash).prefix(sandbox))
        .await;
    assert!(matches!(other, Err(ManageError::Invalid(_))), "{other:?}");
    let own = Actor::company(world.company, record.prefix);
    let company = m
        .import(
            &own,
            ImportRequest::new(request(), ImportedHash::new([8; 32])),
        )
        .await;
    assert!(matches!(company, Err(ManageError::NotFound)), "{company:?}");
    let events = world.store.pending_events(10).await.unwrap();
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.reason.as_deref()))
        .collect();
    let created = (LifecycleKind::TokenCreated, Some("imported"));
    assert_eq!(
        told,
        [created, (LifecycleKind::TokenActivated, None)],
        "none was displayed"
    );
}
