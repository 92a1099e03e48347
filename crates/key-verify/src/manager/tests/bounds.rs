//! A caller is handed no key that may do more than the one it calls with.

use std::net::IpAddr;

use countersign_core::{LimitOverride, Quota};
use ipnet::IpNet;

use super::*;

/// What a key is issued with; numbers choose from the lists below.
#[derive(Debug, Clone)]
struct Rights {
    scopes: Vec<usize>,
    networks: Vec<usize>,
    limits: Vec<(usize, u32, u64)>,
    group: bool,
    days: u32,
}

const SCOPES: [&str; 2] = ["accounts:read", "payments:create"];
const NETWORKS: [&str; 5] = [
    "10.0.0.0/8",
    "10.0.0.0/9",
    "10.128.0.0/9",
    "10.1.0.0/16",
    "2001:db8::/32",
];
const ADDRESSES: [&str; 5] = [
    "10.0.0.1",
    "10.1.0.1",
    "10.200.0.1",
    "192.0.2.1",
    "2001:db8::1",
];
const POLICIES: [&str; 2] = ["key", "key:write"];

fn rights() -> impl Strategy<Value = Rights> {
    (
        prop::collection::btree_set(0..SCOPES.len(), 1..=SCOPES.len()),
        prop::collection::btree_set(0..NETWORKS.len(), 0..=3),
        prop::collection::btree_map(0..POLICIES.len(), (1_u32..3, 1_u64..3), 0..=2),
        prop::bool::weighted(0.2),
        1_u32..10,
    )
        .prop_map(|(scopes, networks, limits, group, days)| Rights {
            scopes: scopes.into_iter().collect(),
            networks: networks.into_iter().collect(),
            limits: limits.into_iter().map(|(at, (a, b))| (at, a, b)).collect(),
            group,
            days,
        })
}

impl Rights {
    fn networks(&self) -> Vec<IpNet> {
        let networks = self.networks.iter();
        networks.map(|at| NETWORKS[*at].parse().unwrap()).collect()
    }

    fn limits(&self) -> Vec<LimitOverride> {
        let limit = |(at, burst, seconds): &(usize, u32, u64)| LimitOverride {
            policy: POLICIES[*at].to_owned(),
            quota: Quota::new(*burst, Duration::from_secs(*seconds)).unwrap(),
        };
        self.limits.iter().map(limit).collect()
    }
}

impl World {
    async fn issue_with(&self, rights: &Rights) -> KeyRecord {
        let scopes = rights.scopes.iter().map(|at| SCOPES[*at]);
        let request = IssueRequest {
            scopes: ScopeSet::from_names(scopes).unwrap(),
            expires_at: self.clock.now().wall.saturating_add(rights.days * DAY),
            networks: rights.networks(),
            limits: rights.limits(),
            subsidiaries: rights
                .group
                .then(|| "company_34".parse().unwrap())
                .into_iter()
                .collect(),
            ..self.request().activate_now(true)
        };
        let issued = self.manager.issue(&self.operator, request).await;
        issued.unwrap().record
    }
}

fn caller(record: &KeyRecord) -> Actor {
    let identity = Identity::new(record.company, record.environment(), record.scopes.clone())
        .with_key(record.id, record.prefix)
        .with_subsidiaries(record.subsidiaries.iter().copied().collect());
    Actor::caller(&identity).unwrap()
}

/// Whether whoever holds `key` may do nothing that whoever holds `own` may not.
fn may_do_no_more(key: &KeyRecord, own: &KeyRecord, default: Quota) -> bool {
    let from = |record: &KeyRecord, address: &IpAddr| {
        record.networks.is_empty() || record.networks.iter().any(|net| net.contains(address))
    };
    let quota = |record: &KeyRecord, policy| {
        let own: countersign_core::LimitOverrides = record.limits.iter().cloned().collect();
        own.get(policy).unwrap_or(default)
    };
    let scopes = key.scopes.iter().all(|scope| own.scopes.contains(scope));
    let companies = key.subsidiaries.iter();
    let companies = companies
        .into_iter()
        .all(|it| own.subsidiaries.contains(it));
    let addresses = ADDRESSES.map(|text| text.parse().unwrap());
    let networks = addresses.iter().all(|at| !from(key, at) || from(own, at));
    let limits = POLICIES.iter().all(|policy| {
        let (quota, own) = (quota(key, policy), quota(own, policy));
        quota.burst() <= own.burst() && quota.interval_nanos() >= own.interval_nanos()
    });
    scopes && companies && networks && limits && key.expires_at <= own.expires_at
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_successor_may_do_no_more_than_its_caller_or_its_predecessor(
        own in rights(), other in rights(), burst in 1_u32..4, seconds in 1_u64..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let (own, other) = (world.issue_with(&own).await, world.issue_with(&other).await);
            let default = Quota::new(burst, Duration::from_secs(seconds)).unwrap();
            let (m, company) = (&world.manager, &world.company);
            if let Ok(rotated) = m.rotate(&caller(&own), company, other.id, DAY).await {
                for than in [&own, &other] {
                    prop_assert!(may_do_no_more(&rotated.record, than, default));
                }
            } else {
                let stored = m.show(&world.operator, company, other.id).await.unwrap();
                prop_assert_eq!(&stored, &other, "nothing was written");
            }
            // Its own secret a key renews, whatever binds it.
            let renewed = m.rotate(&caller(&own), company, own.id, DAY).await.unwrap();
            prop_assert!(may_do_no_more(&renewed.record, &own, default));
            prop_assert_eq!(renewed.record.expires_at, own.expires_at);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn networks_limits_and_ends_bound_what_a_caller_is_handed() {
    let world = World::new().await;
    let (m, company) = (&world.manager, &world.company);
    let free = Rights {
        scopes: vec![0],
        networks: Vec::new(),
        limits: Vec::new(),
        group: false,
        days: 9,
    };
    let inside = Rights {
        networks: vec![3],
        ..free.clone()
    };
    let halves = Rights {
        networks: vec![1, 2],
        days: 5,
        ..free.clone()
    };
    let whole = Rights {
        networks: vec![0],
        ..free.clone()
    };
    let slow = Rights {
        limits: vec![(0, 2, 2)],
        ..free.clone()
    };
    let slower = Rights {
        limits: vec![(0, 1, 2)],
        ..free.clone()
    };
    for (own, other, may) in [
        (&free, &free, true),
        (&free, &inside, true),
        (&inside, &free, false),
        (&halves, &whole, true),
        (&inside, &halves, false),
        (&slow, &slow, true),
        (&slow, &slower, true),
        (&slower, &slow, false),
        (&slow, &free, false),
        (&free, &slow, false),
    ] {
        let (own, other) = (world.issue_with(own).await, world.issue_with(other).await);
        let rotated = m.rotate(&caller(&own), company, other.id, DAY).await;
        match rotated {
            Ok(rotated) => {
                let end = own.expires_at.min(other.expires_at);
                assert_eq!((may, rotated.record.expires_at), (true, end));
            }
            Err(ManageError::BeyondActor { scopes, companies }) => {
                assert!(!may && scopes.is_empty() && !companies, "{own:?} {other:?}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_caller_at_its_end_is_handed_nothing_that_outlives_it() {
    let world = World::new().await;
    let (m, company, ada) = (&world.manager, &world.company, &world.operator);
    let (own, other) = (world.issue().await.record, world.issue().await.record);
    m.rotate(ada, company, own.id, DAY).await.unwrap();
    let until = world.clock.now().wall.saturating_add(DAY);
    let handed = m.rotate(&caller(&own), company, other.id, DAY).await;
    let handed = handed.unwrap().record;
    assert_eq!(handed.expires_at, until);
    let reason = RevocationReason::SuspectedLeakage;
    m.revoke(ada, company, own.id, reason).await.unwrap();
    let third = world.issue().await.record;
    let refused = m.rotate(&caller(&own), company, third.id, DAY).await;
    assert!(
        matches!(refused, Err(ManageError::BeyondActor { .. })),
        "it was revoked since it was verified: {refused:?}"
    );
}

#[tokio::test]
async fn what_was_taken_from_a_caller_since_it_was_verified_is_not_handed_on() {
    let world = World::new().await;
    let (m, company, ada) = (&world.manager, &world.company, &world.operator);
    let rights = Rights {
        scopes: vec![0, 1],
        networks: vec![],
        limits: vec![],
        group: true,
        days: 9,
    };
    for takes_scope in [true, false] {
        let own = world.issue_with(&rights).await;
        let other = world.issue_with(&rights).await;
        let caller = caller(&own);
        if takes_scope {
            let one = ScopeSet::from_names([SCOPES[0]]).unwrap();
            m.set_scopes(ada, company, own.id, one).await.unwrap();
        } else {
            let none = Vec::new();
            m.set_subsidiaries(ada, company, own.id, none)
                .await
                .unwrap();
        }
        let refused = m.rotate(&caller, company, other.id, DAY).await;
        assert!(matches!(refused, Err(ManageError::BeyondActor { .. })));
    }
}
