//! The states of a key, and its end.

use super::*;

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

#[tokio::test]
async fn stopping_suspends_an_active_key_and_revokes_one_in_its_overlap() {
    let world = World::new().await;
    let (m, company) = (&world.manager, &world.company);
    let system = Actor::system("abuse:spike").unwrap();
    let reason = RevocationReason::SuspectedLeakage;
    let stop = async |id| m.stop(&system, company, id, reason).await;
    let active = world.issue().await.record.id;
    assert_eq!(stop(active).await.unwrap().status, KeyStatus::Suspended);
    let rotated = world.issue().await.record.id;
    let over = world.issue().await.record.id;
    for (id, overlap) in [(rotated, DAY), (over, Duration::ZERO)] {
        m.rotate(&world.operator, company, id, overlap)
            .await
            .unwrap();
    }
    let stopped = stop(rotated).await.unwrap().status;
    assert!(matches!(stopped, KeyStatus::Revoked { reason: why, .. } if why == reason));
    let pending = m.issue(&world.operator, world.request()).await.unwrap();
    let before = world.kinds().await;
    assert!(before.contains(&LifecycleKind::TokenRevoked));
    for id in [active, rotated, over, pending.record.id] {
        let again = stop(id).await;
        assert!(
            matches!(again, Err(ManageError::IllegalTransition { .. })),
            "{again:?}"
        );
    }
    assert_eq!(world.kinds().await, before);
    let elsewhere = "company_34".parse().unwrap();
    let foreign = m.stop(&system, &elsewhere, active, reason).await;
    assert!(matches!(foreign, Err(ManageError::NotFound)), "{foreign:?}");
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
