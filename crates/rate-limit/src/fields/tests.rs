use std::time::Duration;

use countersign_core::{AccessContext, LimitOverride};
use http::HeaderMap;
use sfv::{BareItem, Item, List, ListEntry, Parser};

use super::*;
use crate::in_flight::Free;
use crate::samples::{Caller, after};
use crate::{Concurrency, Dimension, LimitStore, LocalLimits, MAX_LIMITS, Policies, Policy};

fn policies() -> Policies {
    let quota = |burst, rate| Quota::per_second(burst, rate).unwrap();
    Policies::new([
        Policy::new("platform", Dimension::Platform, quota(1000, 1000)),
        Policy::new("key", Dimension::Key, quota(200, 50)),
        Policy::new("company", Dimension::Company, quota(400, 100)),
        Policy::new("odd", Dimension::Endpoint, quota(3, 7)),
    ])
    .unwrap()
}

fn headers(policies: &Policies, context: &AccessContext, times: usize) -> HeaderMap {
    let store = LocalLimits::new();
    let request = policies.request(context).unwrap();
    let mut headers = HeaderMap::new();
    for _ in 0..times {
        let crate::LimitFuture::Ready(Ok(decision)) = store.check(&request) else {
            panic!("the local store answers at once");
        };
        let fields = of(&request, Some(&decision), &[], true).unwrap();
        fields.write(&mut headers);
    }
    headers
}

fn members(value: &HeaderValue) -> Vec<(String, Vec<(String, i64)>)> {
    let list: List = Parser::new(value.as_bytes()).parse().unwrap();
    let member = |entry: &ListEntry| {
        let ListEntry::Item(Item {
            bare_item: BareItem::String(name),
            params,
        }) = entry
        else {
            panic!("{entry:?} is no string");
        };
        let number = |value: &BareItem| match value {
            BareItem::Integer(number) => i64::from(*number),
            other => panic!("{other:?} is no integer"),
        };
        let params = params
            .iter()
            .map(|(name, value)| (name.to_string(), number(value)));
        (name.to_string(), params.collect())
    };
    list.iter().map(member).collect()
}

fn expected(members: [(&str, [(&str, i64); 2]); 3]) -> Vec<(String, Vec<(String, i64)>)> {
    let params = |params: [(&str, i64); 2]| params.map(|(n, v)| (n.to_owned(), v)).to_vec();
    members
        .map(|(name, p)| (name.to_owned(), params(p)))
        .to_vec()
}

fn noon() -> countersign_core::Moment {
    after(Duration::from_secs(43_200))
}

#[test]
fn both_fields_are_structured_lists_of_the_callers_own_policies() {
    let headers = headers(&policies(), &Caller::new().reads(noon()), 2);
    assert_eq!(
        headers["ratelimit-policy"],
        "\"key\";q=200;w=4, \"company\";q=400;w=4, \"odd\";q=3;w=1"
    );
    assert_eq!(
        members(&headers["ratelimit-policy"]),
        expected([
            ("key", [("q", 200), ("w", 4)]),
            ("company", [("q", 400), ("w", 4)]),
            ("odd", [("q", 3), ("w", 1)]),
        ])
    );
    assert_eq!(
        members(&headers["ratelimit"]),
        expected([
            ("key", [("r", 198), ("t", 1)]),
            ("company", [("r", 398), ("t", 1)]),
            ("odd", [("r", 1), ("t", 1)]),
        ])
    );
}

#[test]
fn a_refusal_shows_where_the_caller_stands() {
    let headers = headers(&policies(), &Caller::new().reads(noon()), 9);
    assert_eq!(
        headers["ratelimit"],
        "\"key\";r=197;t=1, \"company\";r=397;t=1, \"odd\";r=0;t=1"
    );
    assert_eq!(headers["x-ratelimit-limit"], "3");
    assert_eq!(headers["x-ratelimit-remaining"], "0");
    assert_eq!(headers["x-ratelimit-reset"], "1");
}

#[test]
fn a_key_sees_its_own_quota() {
    let own = LimitOverride {
        policy: "key".to_owned(),
        quota: Quota::per_minute(5, 2).unwrap(),
    };
    let caller = Caller::new().with_limits([own].into_iter().collect());
    let headers = headers(&policies(), &caller.reads(noon()), 1);
    assert_eq!(
        headers["ratelimit-policy"],
        "\"key\";q=5;w=150, \"company\";q=400;w=4, \"odd\";q=3;w=1"
    );
    assert_eq!(members(&headers["ratelimit"])[0].1[0], ("r".to_owned(), 4));
}

#[test]
fn nothing_is_shown_of_the_platforms_limits() {
    let quota = Quota::per_second(1, 1).unwrap();
    let policies = Policies::new([Policy::new("all", Dimension::Platform, quota)]).unwrap();
    let context = Caller::new().reads(noon());
    let request = policies.request(&context).unwrap();
    let decision = LimitDecision::new([crate::LimitOutcome::allowed(0, Duration::ZERO)]).unwrap();
    assert!(of(&request, Some(&decision), &[], true).is_none());
}

#[test]
fn of_limits_on_requests_at_once_the_callers_own_are_shown() {
    let quota = Quota::per_second(9, 1).unwrap();
    let caller = Caller::new();
    for (quotas, shown) in [
        (vec![Policy::new("all", Dimension::Platform, quota)], None),
        (
            vec![
                Policy::new("all", Dimension::Platform, quota),
                Policy::new("key", Dimension::Key, Quota::per_second(12, 3).unwrap()),
            ],
            Some(["12", "11", "1"]),
        ),
    ] {
        let policies = Policies::new(quotas).unwrap();
        let policies = policies
            .with_concurrency([
                Concurrency::new("threads", Dimension::Platform, 3),
                Concurrency::new("writes", Dimension::Company, 8),
            ])
            .unwrap();
        let context = caller.reads(noon());
        let request = policies.request(&context).unwrap();
        let crate::LimitFuture::Ready(Ok(decision)) = LocalLimits::new().check(&request) else {
            panic!("the local store answers at once");
        };
        for most in [8, 5] {
            let told = [Free { most: 3, left: 2 }, Free { most, left: 7 }];
            let fields = of(&request, Some(&decision), &told, true).unwrap();
            let key =
                |parameters| shown.map_or_else(String::new, |_| format!("\"key\";{parameters}, "));
            assert_eq!(fields.limit, format!("{}\"writes\";r=7", key("r=11;t=1")));
            let writes = "\"writes\";q=8;qu=\"concurrent-requests\"";
            assert_eq!(fields.policy, format!("{}{writes}", key("q=12;w=4")));
            let classic = shown.map(|texts| texts.map(HeaderValue::from_static));
            assert_eq!(fields.classic.map(|fields| *fields), classic);
        }
    }
}

#[test]
fn the_classic_fields_are_those_of_the_tightest_policy_that_is_shown() {
    let quota = |burst| Quota::per_second(burst, 1).unwrap();
    let policies = Policies::new([
        Policy::new("platform", Dimension::Platform, quota(2)),
        Policy::new("key", Dimension::Key, quota(5)),
        Policy::new("company", Dimension::Company, quota(4)),
    ])
    .unwrap();
    for times in [1, 2, 3] {
        // The third is refused by the platform's, and takes nothing.
        let headers = headers(&policies, &Caller::new().reads(noon()), times);
        assert_eq!(headers["x-ratelimit-limit"], "4");
        assert_eq!(
            headers["x-ratelimit-remaining"],
            (4 - times.min(2)).to_string()
        );
        assert_eq!(headers["x-ratelimit-reset"], times.min(2).to_string());
    }
}

#[test]
fn seconds_are_rounded_up() {
    const SECOND: u64 = 1_000_000_000;
    for (nanos, expected) in [
        (0, 0),
        (1, 1),
        (SECOND - 1, 1),
        (SECOND, 1),
        (SECOND + 1, 2),
        (2 * SECOND, 2),
        (u64::MAX, 18_446_744_074),
    ] {
        assert_eq!(seconds(nanos), expected, "{nanos}");
    }
}

#[test]
fn the_longest_line_fits() {
    let quota = Quota::new(u32::MAX, Duration::from_millis(8)).unwrap();
    let policy = |i| Policy::new(format!("{i}{}", "x".repeat(30)), Dimension::Key, quota);
    let policies = Policies::new((10..10 + MAX_LIMITS).map(policy)).unwrap();
    let context = Caller::new().reads(noon());
    let request = policies.request(&context).unwrap();
    let outcome = crate::LimitOutcome::refused(u32::MAX, Duration::MAX, None);
    let decision = LimitDecision::new([outcome; MAX_LIMITS]).unwrap();
    let mut headers = HeaderMap::new();
    of(&request, Some(&decision), &[], true)
        .unwrap()
        .write(&mut headers);
    let last = members(&headers["ratelimit"]).pop().unwrap();
    let expected = [
        ("r".to_owned(), i64::from(u32::MAX)),
        ("t".to_owned(), 18_446_744_074),
    ];
    assert_eq!(last.1, expected);
}

#[test]
fn equal_texts_are_kept_once() {
    let first = kept("\"x\";q=1;w=1".to_owned());
    let second = kept("\"x\";q=1;w=1".to_owned());
    assert!(std::ptr::eq(first, second));
}
