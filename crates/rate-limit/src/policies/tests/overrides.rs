//! Quotas of one key, one company or one endpoint, in place of a policy's.

use super::*;

fn own(policy: &str, burst: u32) -> LimitOverride {
    LimitOverride {
        policy: policy.to_owned(),
        quota: Quota::per_minute(burst, burst).unwrap(),
    }
}

fn bursts(policies: &Policies, context: &AccessContext) -> Vec<u32> {
    let request = policies.request(context).unwrap();
    request
        .limits()
        .map(|limit| limit.quota().burst())
        .collect()
}

#[test]
fn the_nearest_override_counts() {
    let policies = Policies::new([
        policy("key").and("day", Quota::per_minute(100, 100).unwrap()),
        Policy::new("company", Dimension::Company, quota()),
        Policy::new("platform", Dimension::Platform, quota()),
    ])
    .unwrap();
    let caller = Caller::new();
    let partner = caller.company();
    let policies = policies
        .for_company(
            partner,
            [own("key", 20), own("key-day", 200), own("company", 21)],
        )
        .unwrap()
        .for_key(caller.key(), [own("key", 30)])
        .unwrap();
    let other = Caller::new().reads(noon());
    assert_eq!(bursts(&policies, &other), [10, 100, 10, 10]);
    let successor = caller.successor().successor();
    assert_eq!(
        bursts(&policies, &successor.reads(noon())),
        [30, 200, 21, 10],
        "what was said of the first of a chain holds for the rest"
    );
    let nearer = policies
        .clone()
        .for_key(successor.key(), [own("key", 25)])
        .unwrap();
    assert_eq!(bursts(&nearer, &successor.reads(noon())), [25, 200, 21, 10]);
    let colleague = caller.colleague().reads(noon());
    assert_eq!(bursts(&policies, &colleague), [20, 200, 21, 10]);
    assert_eq!(bursts(&policies, &caller.reads(noon())), [30, 200, 21, 10]);
    let recorded = caller.with_limits([own("key", 40), own("company", 99)].into_iter().collect());
    assert_eq!(
        bursts(&policies, &recorded.reads(noon())),
        [40, 200, 21, 10]
    );
}

#[test]
fn an_override_that_replaces_nothing_is_refused() {
    let policies = Policies::new([
        policy("key").cost(5),
        Policy::new("company", Dimension::Company, quota())
            .for_operation(OperationType::Write, quota()),
        Policy::new("platform", Dimension::Platform, quota()),
        Policy::new("source", Dimension::Source, quota()),
    ])
    .unwrap();
    let caller = Caller::new();
    let company = |overrides: &[LimitOverride]| {
        let policies = policies.clone();
        let told = policies.for_company(caller.company(), overrides.to_vec());
        told.map_err(|error| error.subject().to_owned()).err()
    };
    let fault = |name: &str| Some(format!("policy {name}"));
    assert_eq!(company(&[own("company", 5), own("company:write", 5)]), None);
    assert_eq!(company(&[own("nobody", 5)]), fault("nobody"));
    assert_eq!(company(&[own("platform", 5)]), fault("platform"));
    assert_eq!(company(&[own("source", 5)]), fault("source"));
    assert_eq!(
        company(&[own("key", 4)]),
        fault("key"),
        "less than it costs"
    );
    assert_eq!(company(&[own("key", 9), own("key", 8)]), fault("key"));
    let error = policies.clone().for_key(caller.key(), [own("company", 5)]);
    assert_eq!(error.unwrap_err().subject(), "policy company");
}

#[test]
fn an_endpoints_own_quota_stands_behind_overrides_and_replaces_the_first_alone() {
    let hour = Quota::at_most(500, Duration::from_secs(3600)).unwrap();
    let endpoint = Policy::new("endpoint", Dimension::Endpoint, quota()).and("hour", hour);
    let policies = Policies::new([policy("key"), endpoint]).unwrap();
    let own_quota = Quota::per_second(3, 3).unwrap();
    let export = || Endpoint::post("/exports").limit(own_quota);
    let caller = Caller::new();
    let at = |policies: &Policies| bursts(policies, &caller.asks(export(), noon()));
    assert_eq!(at(&policies), [10, 3, 250]);
    let partner = policies.for_company(caller.company(), [own("endpoint", 7)]);
    assert_eq!(at(&partner.unwrap()), [10, 7, 250]);
}
