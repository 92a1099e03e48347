use std::sync::Arc;

use countersign_core::{CompanyId, Environment, Identity, KeyPrefix, ManualClock};
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
async fn no_verb_finds_a_key_of_another_company() {
    let world = World::new().await;
    let issued = world.issue().await;
    let (id, prefix) = (issued.record.id, issued.record.prefix);
    let foreign = Actor::company("company_34".parse().unwrap(), prefix);
    let m = &world.manager;
    let scopes = issued.record.scopes.clone();
    let reason = RevocationReason::CompanyRequest;
    let answers = [
        m.show(&foreign, &world.company, id).await.map(drop),
        m.find(&foreign, &prefix).await.map(drop),
        m.locate(&foreign, id).await.map(drop),
        m.activate(&foreign, &world.company, id).await.map(drop),
        m.suspend(&foreign, &world.company, id).await.map(drop),
        m.reactivate(&foreign, &world.company, id).await.map(drop),
        m.set_scopes(&foreign, &world.company, id, scopes)
            .await
            .map(drop),
        m.set_limits(&foreign, &world.company, id, Vec::new())
            .await
            .map(drop),
        m.set_networks(&foreign, &world.company, id, Vec::new())
            .await
            .map(drop),
        m.rotate(&foreign, &world.company, id, DAY).await.map(drop),
        m.revoke(&foreign, &world.company, id, reason)
            .await
            .map(drop),
        m.list(&foreign, &world.company, None, 10).await.map(drop),
        m.company(&foreign, &world.company).await.map(drop),
        m.suspend_company(&foreign, world.company).await.map(drop),
        m.reactivate_company(&foreign, world.company)
            .await
            .map(drop),
    ];
    for answer in answers {
        assert!(matches!(answer, Err(ManageError::NotFound)), "{answer:?}");
    }
    let shown = m.show(&world.operator, &world.company, id).await;
    assert_eq!(shown.unwrap(), issued.record);
    assert_eq!(m.locate(&world.operator, id).await.unwrap(), issued.record);
}

#[tokio::test]
async fn a_verb_that_names_the_wrong_company_finds_nothing() {
    let world = World::new().await;
    let issued = world.issue().await;
    let (id, m) = (issued.record.id, &world.manager);
    let wrong: CompanyId = "company_34".parse().unwrap();
    let own = Actor::company(wrong, issued.record.prefix);
    let scopes = issued.record.scopes.clone();
    let reason = RevocationReason::CompanyRequest;
    for actor in [&world.operator, &own] {
        let answers = [
            m.show(actor, &wrong, id).await.map(drop),
            m.activate(actor, &wrong, id).await.map(drop),
            m.suspend(actor, &wrong, id).await.map(drop),
            m.reactivate(actor, &wrong, id).await.map(drop),
            m.set_scopes(actor, &wrong, id, scopes.clone())
                .await
                .map(drop),
            m.set_limits(actor, &wrong, id, Vec::new()).await.map(drop),
            m.set_networks(actor, &wrong, id, Vec::new())
                .await
                .map(drop),
            m.rotate(actor, &wrong, id, DAY).await.map(drop),
            m.revoke(actor, &wrong, id, reason).await.map(drop),
        ];
        for answer in answers {
            assert!(matches!(answer, Err(ManageError::NotFound)), "{answer:?}");
        }
    }
    let shown = m.show(&world.operator, &world.company, id).await;
    assert_eq!(shown.unwrap(), issued.record);
}

#[tokio::test]
async fn a_company_does_not_undo_what_an_operator_did() {
    let world = World::new().await;
    let record = world.issue().await.record;
    let own = Actor::company(world.company, record.prefix);
    world
        .manager
        .suspend(&world.operator, &world.company, record.id)
        .await
        .unwrap();
    let back = world
        .manager
        .reactivate(&own, &world.company, record.id)
        .await;
    assert!(matches!(back, Err(ManageError::NotFound)), "{back:?}");
    let pending = world
        .manager
        .issue(&world.operator, world.request())
        .await
        .unwrap();
    let active = world
        .manager
        .activate(&own, &world.company, pending.record.id)
        .await;
    assert!(matches!(active, Err(ManageError::NotFound)), "{active:?}");
    let reason = RevocationReason::CompanyRequest;
    assert!(
        world
            .manager
            .revoke(&own, &world.company, record.id, reason)
            .await
            .is_ok()
    );
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

/// A company renews its secret and never its time, and has two keys that work at most.
#[tokio::test]
async fn a_company_s_rotation_gives_it_no_more_time_and_no_third_key() {
    let world = World::new().await;
    let old = world.issue().await.record;
    let own = Actor::company(world.company, old.prefix);
    world.clock.advance(2 * DAY);
    let new = world
        .manager
        .rotate(&own, &world.company, old.id, DAY)
        .await
        .unwrap();
    assert_eq!(new.record.expires_at, old.expires_at);
    let third = world
        .manager
        .rotate(&own, &world.company, new.record.id, DAY)
        .await;
    assert!(matches!(third, Err(ManageError::Invalid(_))), "{third:?}");
    world.clock.advance(DAY);
    let third = world
        .manager
        .rotate(&own, &world.company, new.record.id, DAY)
        .await;
    let third = third.unwrap().record;
    assert_eq!(third.expires_at, old.expires_at);
    let operator = world
        .manager
        .rotate(&world.operator, &world.company, third.id, DAY)
        .await;
    let renewed = operator.unwrap().record;
    let lifetime = third.expires_at.duration_since(third.created_at);
    assert_eq!(
        renewed.expires_at,
        world.clock.now().wall.saturating_add(lifetime)
    );
}

/// A key that may look after keys, and little else, is not a way to a key that may do more.
#[tokio::test]
async fn a_caller_rotates_no_key_that_may_do_more_and_none_of_the_other_environment() {
    let world = World::new().await;
    let (m, company) = (&world.manager, &world.company);
    let target = world.issue().await.record;
    let identity = |scopes: &[&str], prefix: &KeyPrefix| {
        let scopes = ScopeSet::from_names(scopes.iter().copied()).unwrap();
        Identity::new(*company, prefix.environment(), scopes).with_key(target.id, *prefix)
    };
    let caller = |scopes| Actor::caller(&identity(scopes, &target.prefix)).unwrap();
    let weak = caller(&["tokens:manage"]);
    let refused = m.rotate(&weak, company, target.id, DAY).await.unwrap_err();
    assert!(
        matches!(&refused, ManageError::BeyondActor { scopes } if *scopes == target.scopes),
        "{refused}"
    );
    let all = [&["tokens:manage"][..], &target.scopes.names()].concat();
    let child = "company_34".parse().unwrap();
    m.set_subsidiaries(&world.operator, company, target.id, vec![child])
        .await
        .unwrap();
    let refused = m.rotate(&caller(&all), company, target.id, DAY).await;
    assert!(
        matches!(&refused, Err(ManageError::BeyondActor { scopes }) if scopes.is_empty()),
        "it acts for nobody else: {refused:?}"
    );
    m.set_subsidiaries(&world.operator, company, target.id, Vec::new())
        .await
        .unwrap();

    let sandbox: KeyPrefix = "acme_test_000000000000".parse().unwrap();
    let sandbox = Actor::caller(&identity(&all, &sandbox)).unwrap();
    let reason = RevocationReason::CompanyRequest;
    let results = [
        m.rotate(&sandbox, company, target.id, DAY).await.map(drop),
        m.revoke(&sandbox, company, target.id, reason)
            .await
            .map(drop),
        m.show(&sandbox, company, target.id).await.map(drop),
        m.find(&sandbox, &target.prefix).await.map(drop),
    ];
    for result in results {
        assert!(matches!(result, Err(ManageError::NotFound)), "{result:?}");
    }
    assert_eq!(m.list(&sandbox, company, None, 10).await.unwrap(), []);
    assert_eq!(m.list(&weak, company, None, 10).await.unwrap().len(), 1);
    m.rotate(&caller(&all), company, target.id, DAY)
        .await
        .unwrap();
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

#[tokio::test]
async fn an_active_key_expires_once_and_is_then_only_revoked() {
    let world = World::new().await;
    let (m, ada, company) = (&world.manager, &world.operator, &world.company);
    let key = world.issue().await.record;
    let end = key.expires_at;
    let early = m.expire_due(ada, end, 10).await.unwrap();
    assert_eq!(early, ExpirySweep::default(), "a time to come is now");
    world.clock.set_wall(end);
    let own = Actor::company(world.company, key.prefix);
    let refused = m.expire_due(&own, end, 10).await;
    assert!(matches!(refused, Err(ManageError::NotFound)), "{refused:?}");
    let system = Actor::system("expiry").unwrap();
    let before = end.saturating_sub(Duration::from_micros(1));
    let swept = m.expire_due(&system, before, 10).await.unwrap();
    assert_eq!(swept.expired, 0, "it ended after that");
    let swept = m.expire_due(&system, end, 10).await.unwrap();
    assert_eq!((swept.expired, swept.more), (1, false));
    assert_eq!(m.expire_due(ada, end, 10).await.unwrap().expired, 0);
    let events = world.store.pending_events(10).await.unwrap();
    let told = &events[3..];
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].kind, LifecycleKind::TokenExpired);
    assert_eq!(
        (told[0].actor_type, &told[0].actor[..]),
        (countersign_core::ActorType::System, "expiry")
    );
    assert_eq!(
        (told[0].key_id, told[0].company),
        (Some(key.id), key.company)
    );

    // Whatever a clock that is behind says, and nothing brings it back.
    world.clock.set_wall(key.created_at);
    let stored = m.show(ada, company, key.id).await.unwrap();
    assert_eq!(stored.status_at(key.created_at), "expired");
    let refusals = [
        m.activate(ada, company, key.id).await.map(drop),
        m.suspend(ada, company, key.id).await.map(drop),
        m.reactivate(ada, company, key.id).await.map(drop),
        m.rotate(ada, company, key.id, DAY).await.map(drop),
        m.set_scopes(ada, company, key.id, key.scopes.clone())
            .await
            .map(drop),
    ];
    for refused in refusals {
        let said = refused.unwrap_err().to_string();
        assert!(said.starts_with("a key that is expired can't be"), "{said}");
        assert!(said.ends_with("issue a new one"), "{said}");
    }
    let reason = RevocationReason::ScheduledHygiene;
    m.revoke(ada, company, key.id, reason).await.unwrap();
}

#[tokio::test]
async fn only_an_active_key_expires() {
    let world = World::new().await;
    let (m, ada, company) = (&world.manager, &world.operator, &world.company);
    let pending = m.issue(ada, world.request()).await.unwrap().record;
    let suspended = world.issue().await.record;
    m.suspend(ada, company, suspended.id).await.unwrap();
    let rotated = world.issue().await.record;
    m.rotate(ada, company, rotated.id, DAY).await.unwrap();
    let revoked = world.issue().await.record;
    let reason = RevocationReason::CompanyRequest;
    m.revoke(ada, company, revoked.id, reason).await.unwrap();
    world.clock.set_wall(pending.expires_at);
    let before = world.kinds().await.len();
    let swept = m.expire_due(ada, pending.expires_at, 10).await.unwrap();
    assert_eq!(swept.expired, 1, "the rotated key's successor");
    assert_eq!(world.kinds().await.len(), before + 1);
    for (key, state, shown) in [
        (&pending, "pending", "expired"),
        (&suspended, "suspended", "expired"),
        (&rotated, "rotated", "expired"),
        (&revoked, "revoked", "revoked"),
    ] {
        let stored = m.show(ada, company, key.id).await.unwrap();
        assert_eq!(stored.status.as_str(), state);
        assert_eq!(stored.status_at(world.clock.now().wall), shown);
    }
}

#[tokio::test]
async fn keys_wait_for_a_store_that_is_away() {
    let world = World::new().await;
    let key = world.issue().await.record;
    let (m, ada, end) = (&world.manager, &world.operator, key.expires_at);
    world.clock.set_wall(end);
    world.store.set_available(false);
    let failed = m.expire_due(ada, end, 10).await;
    assert!(matches!(failed, Err(ManageError::Store(_))), "{failed:?}");
    world.store.set_available(true);
    assert_eq!(m.expire_due(ada, end, 10).await.unwrap().expired, 1);
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Activate,
    Suspend,
    Reactivate,
    Rotate,
    Revoke,
    Expire,
    Pass(u64),
}

fn verbs() -> impl Strategy<Value = Vec<Verb>> {
    let verb = prop_oneof![
        Just(Verb::Activate),
        Just(Verb::Suspend),
        Just(Verb::Reactivate),
        Just(Verb::Rotate),
        Just(Verb::Revoke),
        Just(Verb::Expire),
        (0_u64..4).prop_map(Verb::Pass),
    ];
    prop::collection::vec(verb, 0..30)
}

/// The state that `verb` leads to, by the table of the machine.
fn model(state: &'static str, expired: bool, verb: Verb) -> Option<&'static str> {
    match (state, verb) {
        ("revoked", Verb::Expire) => Some(state),
        ("revoked", _) => None,
        (_, Verb::Revoke) => Some("revoked"),
        // Who looks for keys that are due finds this one or none.
        ("active", Verb::Expire) if expired => Some("expired"),
        (_, Verb::Expire) => Some(state),
        _ if expired => None,
        ("pending", Verb::Activate) | ("suspended", Verb::Reactivate) => Some("active"),
        ("active", Verb::Suspend) => Some("suspended"),
        ("active", Verb::Rotate) => Some("rotated"),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn keys_follow_the_machine(verbs in verbs()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let (m, ada) = (&world.manager, &world.operator);
            let id = m.issue(ada, world.request()).await.unwrap().record.id;
            let (mut state, mut days, mut changes) = ("pending", 0, 2);
            for verb in verbs {
                let mut told = 1;
                let done = match verb {
                    Verb::Activate => m.activate(ada, &world.company, id).await.map(drop),
                    Verb::Suspend => m.suspend(ada, &world.company, id).await.map(drop),
                    Verb::Reactivate => m.reactivate(ada, &world.company, id).await.map(drop),
                    Verb::Rotate => m.rotate(ada, &world.company, id, DAY).await.map(drop),
                    Verb::Revoke => {
                        m.revoke(ada, &world.company, id, RevocationReason::CompanyRequest).await.map(drop)
                    }
                    Verb::Expire => {
                        let due = world.store.due_keys(world.clock.now().wall, 100).await.unwrap();
                        let swept = m.expire_due(ada, world.clock.now().wall, 100).await;
                        told = due.len();
                        swept.map(|swept| assert_eq!(swept.expired as usize, told))
                    }
                    Verb::Pass(more) => {
                        world.clock.advance(u32::try_from(more).unwrap() * DAY);
                        days += more;
                        continue;
                    }
                };
                let expected = model(state, days >= 10, verb);
                prop_assert_eq!(done.is_ok(), expected.is_some(), "{} {:?}", state, verb);
                if let Some(next) = expected {
                    state = next;
                    // A rotation tells of the successor's creation, display and activation too.
                    changes += if matches!(verb, Verb::Rotate) { 4 } else { told };
                }
                let record = m.show(ada, &world.company, id).await.unwrap();
                prop_assert_eq!(record.status.as_str(), state);
                prop_assert_eq!(KeyRecord::decode(&record.encode().unwrap()).unwrap(), record.clone());
                prop_assert_eq!(record.company, world.company);
            }
            prop_assert_eq!(world.kinds().await.len(), changes);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn operators_grant_subsidiaries_and_nobody_else_does() {
    let world = World::new().await;
    let issued = world.issue().await;
    let (id, m) = (issued.record.id, &world.manager);
    let child: CompanyId = "company_34".parse().unwrap();
    let own = Actor::company(world.company, issued.record.prefix);
    let refused = m
        .set_subsidiaries(&own, &world.company, id, vec![child])
        .await;
    assert!(matches!(refused, Err(ManageError::NotFound)), "{refused:?}");
    let grant = |companies| m.set_subsidiaries(&world.operator, &world.company, id, companies);
    for bad in ["company_99", "company_12"] {
        let refused = grant(vec![bad.parse().unwrap()]).await;
        assert!(matches!(refused, Err(ManageError::Invalid(_))), "{bad}");
    }
    let many = (0..65).map(|n| format!("c{n}").parse().unwrap()).collect();
    assert!(matches!(grant(many).await, Err(ManageError::Invalid(_))));

    let granted = grant(vec![child, child]).await.unwrap();
    assert_eq!(granted.subsidiaries, [child]);
    let events = world.store.pending_events(1000).await.unwrap();
    let told = events.last().unwrap();
    assert_eq!(told.kind, LifecycleKind::TokenScopesChanged);
    assert_eq!(told.changed.as_deref(), Some("subsidiaries"));
    assert_eq!(told.subsidiaries, [child]);

    let rotated = m.rotate(&world.operator, &world.company, id, DAY).await;
    let successor = rotated.unwrap().record;
    assert_eq!(successor.subsidiaries, [child]);
    let back = m
        .set_subsidiaries(&world.operator, &world.company, successor.id, Vec::new())
        .await;
    assert!(back.unwrap().subsidiaries.is_empty());
}
