use std::time::Duration;

use countersign_core::Quota;

use super::*;
use crate::samples::{Caller, after};
use crate::{Concurrency, Limit, LimitStore, LocalLimits};

fn quota() -> Quota {
    Quota::per_second(10, 10).unwrap()
}

fn policy(name: &str) -> Policy {
    Policy::new(name, Dimension::Key, quota())
}

fn subject_of_error<const N: usize>(policies: [Policy; N]) -> String {
    Policies::new(policies).unwrap_err().subject().to_owned()
}

#[test]
fn a_mistake_names_its_policy() {
    assert_eq!(subject_of_error([policy("Key")]), "policy Key");
    assert_eq!(subject_of_error([policy("")]), "policy ");
    assert_eq!(
        subject_of_error([policy(&"x".repeat(33))]),
        format!("policy {}", "x".repeat(33))
    );
    assert_eq!(
        subject_of_error([policy("a"), policy("b"), policy("a")]),
        "policy a"
    );
    assert_eq!(subject_of_error([policy("a").cost(11)]), "policy a");
    assert_eq!(subject_of_error([policy("a").cost(0)]), "policy a");
    let write = OperationType::Write;
    let small = Quota::per_second(4, 1).unwrap();
    assert_eq!(
        subject_of_error([policy("a").cost(5).for_operation(write, small)]),
        "policy a"
    );
    let twice = policy("a")
        .for_operation(write, quota())
        .for_operation(write, quota());
    assert_eq!(subject_of_error([twice]), "policy a");
    let unused = policy("a")
        .only(OperationType::Read)
        .for_operation(write, quota());
    assert_eq!(subject_of_error([unused]), "policy a");
    assert!(Policies::new([policy("a-1"), policy("b")]).is_ok());
    assert!(Policies::new([]).is_ok());
}

#[test]
fn a_quota_that_is_none_is_told_with_its_policys_name() {
    let forever = Duration::from_secs(u64::MAX);
    let cases = [
        (
            Policy::new("zero", Dimension::Key, Quota::per_second(0, 1)),
            "policy zero",
        ),
        (
            Policy::new("stuck", Dimension::Key, Quota::per_second(1, 0)),
            "policy stuck",
        ),
        (
            Policy::new("long", Dimension::Key, Quota::new(2, forever)),
            "policy long",
        ),
        (
            policy("a").and("day", Quota::at_most(0, forever)),
            "policy a-day",
        ),
        (
            policy("a").for_operation(OperationType::Write, Quota::per_second(0, 1)),
            "policy a:write",
        ),
        (
            Policy::new("first", Dimension::Key, Quota::per_second(0, 1))
                .and("day", Quota::per_second(0, 1))
                .for_operation(OperationType::Write, quota()),
            "policy first",
        ),
    ];
    for (policy, subject) in cases {
        assert_eq!(subject_of_error([policy]), subject);
    }
}

#[test]
fn quotas_of_one_policy_that_contradict_each_other_are_refused() {
    let hourly = |burst, rate| Quota::per(burst, rate, Duration::from_secs(3600)).unwrap();
    let looser = Quota::per_second(20, 10).unwrap();
    let both = |second: Quota| Policies::new([policy("a").and("day", second)]);
    // Ten at once and ten a second: a larger burst at a lower rate says more, anything else doesn't.
    assert!(both(hourly(1000, 1000)).is_ok());
    let equal_and_looser = [(quota(), "policy a"), (looser, "policy a-day")];
    for (second, subject) in equal_and_looser {
        assert_eq!(both(second).unwrap_err().subject(), subject);
    }
    // A tighter second quota leaves the first one without a say.
    assert_eq!(both(hourly(5, 5)).unwrap_err().subject(), "policy a");
    // Writes that count apart are no reason for all requests together to be within their bound.
    let write = OperationType::Write;
    let policy = policy("a")
        .for_operation(write, Quota::per_second(2, 1).unwrap())
        .and("day", hourly(1000, 1000));
    assert!(Policies::new([policy]).is_ok());
}

#[test]
fn a_policys_name_and_that_of_its_quota_are_taken() {
    let sustained = Quota::per_minute(100, 100).unwrap();
    assert_eq!(
        subject_of_error([policy("a").and("day", sustained), policy("a-day")]),
        "policy a-day"
    );
    assert_eq!(
        subject_of_error([policy("a").and("Day", sustained)]),
        "policy a-Day"
    );
}

#[test]
fn a_cost_that_is_none_is_refused() {
    let export = || Endpoint::post("/exports");
    let cases = [
        policy("a").cost_of(export(), 2).cost_of(export(), 3),
        policy("a").cost_of(export(), 11),
        policy("a").cost(2).cost_by(|_| 1),
        policy("a").cost_of(export(), 2).cost_by(|_| 1),
        policy("a")
            .cost_of(export(), 5)
            .for_operation(OperationType::Write, Quota::per_second(4, 1).unwrap()),
    ];
    for policy in cases {
        assert_eq!(subject_of_error([policy]), "policy a");
    }
    // Too dear for writes, and it is a read.
    let cheap = policy("a")
        .cost_of(Endpoint::get("/exports"), 5)
        .for_operation(OperationType::Write, Quota::per_second(4, 1).unwrap());
    assert!(Policies::new([cheap]).is_ok());
}

#[test]
fn ten_quotas_apply_to_one_request_and_no_more() {
    let named = |i: usize| policy(&format!("p{i}"));
    assert!(Policies::new((0..10).map(named)).is_ok());
    let error = Policies::new((0..11).map(named)).unwrap_err();
    assert_eq!(error.subject(), "policy p10");
    // Eleven in all, but no more than ten of them meet.
    let apart = (0..11).map(|i| match i {
        0 => named(i).only(OperationType::Read),
        1 => named(i).only(OperationType::Write),
        _ => named(i),
    });
    assert!(Policies::new(apart).is_ok());
}

fn noon() -> countersign_core::Moment {
    after(Duration::from_secs(43_200))
}

fn costs(policies: &Policies, endpoint: Endpoint) -> Vec<(String, u32)> {
    let context = Caller::new().asks(endpoint, noon());
    let request = policies.request(&context).unwrap();
    let tell = |limit: Limit<'_>| (limit.policy().to_owned(), limit.cost());
    request.limits().map(tell).collect()
}

#[test]
fn an_endpoint_has_its_own_cost_in_every_quota_of_the_policy() {
    let sustained = Quota::per_minute(100, 100).unwrap();
    let policies = Policies::new([
        policy("key")
            .cost(2)
            .cost_of(
                Endpoint::post("/exports").with_operation(OperationType::Administration),
                7,
            )
            .cost_of(Endpoint::get("/health"), 0)
            .and("day", sustained),
        policy("plain"),
    ])
    .unwrap();
    let expected = |units| {
        let own = |name: &str| (name.to_owned(), units);
        vec![own("key"), own("key-day"), ("plain".to_owned(), 1)]
    };
    let export = Endpoint::post("/exports").with_operation(OperationType::Administration);
    assert_eq!(costs(&policies, export), expected(7));
    assert_eq!(costs(&policies, Endpoint::get("/exports")), expected(2));
    assert_eq!(costs(&policies, Endpoint::get("/health")), expected(0));
}

#[test]
fn a_function_is_asked_once_for_all_quotas_of_its_policy() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let asked = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&asked);
    let policies = Policies::new([
        policy("plain"),
        policy("batch")
            .and("day", Quota::per_minute(100, 100).unwrap())
            .cost_by(move |call| {
                counting.fetch_add(1, Ordering::Relaxed);
                call.headers().len() as u32
            }),
    ])
    .unwrap();
    let context = Caller::new().reads(noon());
    let denial = policies.request(&context).unwrap_err();
    assert_eq!(
        denial.reason(),
        countersign_core::Reason::MisconfiguredStack
    );
    let mut request = Request::new(());
    for name in ["a", "b", "c"] {
        let value = http::HeaderValue::from_static("x");
        request
            .headers_mut()
            .insert(http::HeaderName::from_static(name), value);
    }
    let costs = policies.costs(&request, &context).unwrap();
    let limits = policies.request_costing(&context, &costs).unwrap();
    let units: Vec<u32> = limits.limits().map(|limit| limit.cost()).collect();
    assert_eq!((units, asked.load(Ordering::Relaxed)), (vec![1, 3, 3], 1));
    assert!(
        Policies::new([policy("a")])
            .unwrap()
            .costs(&request, &context)
            .is_none()
    );
}

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
fn a_key_and_its_successors_have_one_counter() {
    let policies = Policies::new([
        policy("key"),
        Policy::new("endpoint", Dimension::Endpoint, quota()),
        Policy::new("operation", Dimension::Operation, quota()),
    ])
    .unwrap();
    let names = |caller: &Caller| {
        let context = caller.reads(noon());
        let request = policies.request(&context).unwrap();
        let limits = request.limits();
        let names: Vec<_> = limits
            .map(|limit| request.key(&limit).to_string())
            .collect();
        names
    };
    let caller = Caller::new();
    assert_eq!(names(&caller.successor().successor()), names(&caller));
    assert_eq!(names(&caller)[0], format!("key/{}", caller.key()));
    assert_ne!(names(&caller.colleague()), names(&caller));
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
fn burst_and_sustained_quota_hold_together() {
    let policies = Policies::new([policy("key").and("hour", {
        Quota::at_most(50, Duration::from_secs(3600)).unwrap()
    })])
    .unwrap();
    let store = LocalLimits::new();
    let caller = Caller::new();
    let (mut passed, mut first_refusals) = (0, Vec::new());
    // Ten requests a second for nearly an hour.
    for tenth in 0..35_990u64 {
        let context = caller.reads(after(Duration::from_millis(43_200_000 + tenth * 100)));
        let request = policies.request(&context).unwrap();
        let crate::LimitFuture::Ready(Ok(decision)) = store.check(&request) else {
            panic!("the local store answers at once");
        };
        match decision.refused() {
            None => passed += 1,
            Some(limit) if first_refusals.is_empty() => {
                first_refusals.push(request.limits().nth(limit).unwrap().policy().to_owned());
            }
            Some(_) => {}
        }
    }
    assert_eq!((passed, first_refusals), (50, vec!["key-hour".to_owned()]));
}

#[test]
fn a_cost_for_an_endpoint_that_the_contract_lacks_is_a_mistake() {
    let export = Endpoint::post("/exports");
    let policies = Policies::new([policy("a").cost_of(export.clone(), 5)]).unwrap();
    let contract = [Endpoint::get("/exports"), export];
    assert!(policies.check_all(&contract).is_ok());
    let error = policies.check_all(&contract[..1]).unwrap_err();
    assert_eq!(error.subject(), "policy a");
    let dear = Endpoint::get("/dear").cost(11.try_into().unwrap());
    let error = policies
        .check_all(contract.iter().chain([&dear]))
        .unwrap_err();
    assert_eq!(error.subject(), "GET /dear");
}

#[test]
fn an_endpoints_own_cost_multiplies_what_a_policy_doesnt_name() {
    let export = || Endpoint::post("/exports").cost(3.try_into().unwrap());
    let policies = Policies::new([
        policy("plain").cost(2),
        policy("named").cost_of(export(), 5),
    ])
    .unwrap();
    let told = |name: &str, units| (name.to_owned(), units);
    assert_eq!(
        costs(&policies, export()),
        [told("plain", 6), told("named", 5)]
    );
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

#[test]
fn a_limit_on_requests_at_once_is_checked_like_a_policy() {
    let caller = Caller::new();
    let key = |most| Concurrency::new("at-once", Dimension::Key, most);
    let subject = |limits: Vec<Concurrency>| {
        let policies = Policies::new([policy("a").and("day", Quota::per_minute(100, 100))]);
        let told = policies.unwrap().with_concurrency(limits);
        told.map_err(|error| error.subject().to_owned()).err()
    };
    let fault = Some("policy at-once".to_owned());
    assert_eq!(
        subject(vec![
            key(1)
                .for_company(caller.company(), 2)
                .for_key(caller.key(), 3)
        ]),
        None
    );
    assert_eq!(subject(vec![key(0)]), fault);
    assert_eq!(subject(vec![key(1).for_key(caller.key(), 0)]), fault);
    assert_eq!(subject(vec![key(1), key(1)]), fault);
    let by = |dimension| Concurrency::new("at-once", dimension, 1);
    assert_eq!(
        subject(vec![by(Dimension::Company).for_key(caller.key(), 1)]),
        fault
    );
    assert_eq!(
        subject(vec![
            by(Dimension::Platform).for_company(caller.company(), 1)
        ]),
        fault
    );
    for taken in ["a", "a-day", "A"] {
        let limit = Concurrency::new(taken, Dimension::Key, 1);
        assert_eq!(subject(vec![limit]), Some(format!("policy {taken}")));
    }
    let many = (0..5).map(|i| Concurrency::new(format!("c{i}"), Dimension::Key, 1));
    assert_eq!(subject(many.collect()), Some("policy c4".to_owned()));
}
