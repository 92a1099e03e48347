//! Who may change which key: no company reaches beyond its own, and none beyond what it was given.

use super::*;

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
        matches!(&refused, ManageError::BeyondActor { scopes, .. } if *scopes == target.scopes),
        "{refused}"
    );
    let all = [&["tokens:manage"][..], &target.scopes.names()].concat();
    let child = "company_34".parse().unwrap();
    m.set_subsidiaries(&world.operator, company, target.id, vec![child])
        .await
        .unwrap();
    let refused = m.rotate(&caller(&all), company, target.id, DAY).await;
    assert!(
        matches!(&refused, Err(ManageError::BeyondActor { scopes, companies: true }) if scopes.is_empty()),
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
