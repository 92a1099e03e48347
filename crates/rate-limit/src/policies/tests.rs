mod costs;
mod overrides;

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
