//! Limits by source: anybody can make sources up.

use std::net::Ipv4Addr;

use super::*;
use crate::samples::anonymous;

fn by_source(burst: u32) -> Policies {
    policies([("source", Dimension::Source, burst)])
}

fn from(number: u32) -> countersign_core::AccessContext {
    anonymous(&Ipv4Addr::from_bits(number).to_string(), noon())
}

#[test]
fn a_source_is_counted_by_address_or_network() {
    let store = LocalLimits::new();
    let policies = by_source(3);
    let left = |context| remaining(&store, &policies, &context)[0];
    assert!(ask(&store, &policies, &anonymous("2001:db8:1:2::1", noon())).is_allowed());
    assert!(ask(&store, &policies, &anonymous("2001:db8:1:2::ffff", noon())).is_allowed());
    assert_eq!(left(anonymous("2001:db8:1:2::3", noon())), 1);
    assert_eq!(left(anonymous("2001:db8:1:3::1", noon())), 3);
    assert!(ask(&store, &policies, &anonymous("::ffff:192.0.2.1", noon())).is_allowed());
    assert_eq!(left(anonymous("192.0.2.1", noon())), 2);
    assert_eq!((store.len(), store.tracked_sources()), (0, 2));
}

#[test]
fn a_refusal_by_the_source_takes_nothing_from_the_key_and_the_other_way_round() {
    let store = LocalLimits::new();
    let policies = policies([
        ("key", Dimension::Key, 4),
        ("source", Dimension::Source, 2),
        ("platform", Dimension::Platform, 100),
    ]);
    let caller = Caller::new();
    let near = caller.reads_from("192.0.2.1", noon());
    let far = caller.reads_from("192.0.2.2", noon());
    for _ in 0..2 {
        assert!(ask(&store, &policies, &near).is_allowed());
    }
    assert_eq!(ask(&store, &policies, &near).refused(), Some(1));
    assert_eq!(remaining(&store, &policies, &near), [2, 0, 98]);
    assert!(ask(&store, &policies, &far).is_allowed());
    assert!(ask(&store, &policies, &far).is_allowed());
    let elsewhere = caller.reads_from("192.0.2.3", noon());
    assert_eq!(ask(&store, &policies, &elsewhere).refused(), Some(0));
    assert_eq!(remaining(&store, &policies, &elsewhere), [0, 2, 96]);
    assert_eq!(store.tracked_sources(), 2);
}

#[test]
fn all_or_nothing_holds_across_the_locks_under_eight_threads() {
    let store = LocalLimits::new();
    let policies = policies([
        ("company", Dimension::Company, 300),
        ("source", Dimension::Source, 250),
        ("platform", Dimension::Platform, 400),
    ]);
    let callers = [Caller::new(), Caller::new()];
    let sources = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    let contexts: Vec<_> = callers
        .iter()
        .flat_map(|caller| sources.map(|source| caller.reads_from(source, noon())))
        .collect();
    let passed = stampede(500, |thread, i| {
        ask(&store, &policies, &contexts[(thread + i) % 6]).is_allowed()
    });
    assert_eq!(
        passed, 400,
        "the platform's, whoever else refused meanwhile"
    );
    let left: Vec<_> = contexts
        .iter()
        .map(|context| remaining(&store, &policies, context))
        .collect();
    let companies = 2 * 300 - left[0][0] - left[3][0];
    let sources = 3 * 250 - (0..3).map(|i| left[i][1]).sum::<u32>();
    assert_eq!((companies, sources, left[0][2]), (400, 400, 0));
}

#[test]
fn a_flood_of_made_up_sources_stays_within_the_bound_and_spares_who_is_known() {
    let store = LocalLimits::new().with_sources(10_000);
    let policies = policies([
        ("key", Dimension::Key, 1000),
        ("source", Dimension::Source, 100),
    ]);
    let alone = by_source(100);
    let caller = Caller::new();
    let known = caller.reads_from("198.51.100.7", noon());
    for _ in 0..60 {
        assert!(ask(&store, &policies, &known).is_allowed());
    }
    let mut turned_away = 0;
    for number in 0..100_000 {
        if !ask(&store, &alone, &from(number)).is_allowed() {
            turned_away += 1;
        }
        assert!(store.tracked_sources() <= 1 + 10_000 + 64);
    }
    assert!(turned_away > 80_000, "newcomers share: {turned_away}");
    assert!(store.sources.bytes() < 1 << 20, "{}", store.sources.bytes());
    assert_eq!(store.len(), 1, "keys have a table of their own");
    let early = from(0);
    let left = remaining(&store, &alone, &early)[0];
    assert_eq!(left, 99, "a source that came before the table was full");
    // A verified caller that nobody saw before is counted by itself.
    let newcomer = Caller::new().reads_from("198.51.100.8", noon());
    let passed = (0..200).filter(|_| ask(&store, &policies, &newcomer).is_allowed());
    assert_eq!(passed.count(), 100);
    // Who was counted before is counted as before.
    let more = (0..)
        .take_while(|_| ask(&store, &policies, &known).is_allowed())
        .count();
    assert_eq!(more, 40);
    assert_eq!(remaining(&store, &policies, &known), [900, 0]);
}

#[test]
fn after_a_flood_newcomers_are_counted_by_themselves_again() {
    let store = LocalLimits::new().with_sources(1000);
    let policies = by_source(10);
    for number in 0..50_000 {
        let _ = ask(&store, &policies, &from(number));
    }
    let later = after(Duration::from_secs(43_200 + 40_000));
    for _ in 0..20_000 {
        let _ = ask(&store, &policies, &anonymous("198.51.100.7", later));
    }
    assert!(store.tracked_sources() < 100, "{}", store.tracked_sources());
    let newcomer = anonymous("198.51.100.8", later);
    let passed = (0..20).filter(|_| ask(&store, &policies, &newcomer).is_allowed());
    assert_eq!(passed.count(), 10);
}

#[test]
fn a_counter_is_drawn_on_once_beside_one_that_newcomers_share() {
    let store = LocalLimits::new().with_sources(1);
    let policies = Policies::new([
        Policy::new("source", Dimension::Source, hourly(10)),
        Policy::new("writes", Dimension::Source, hourly(2)).only(OperationType::Write),
    ]);
    let (policies, caller) = (policies.unwrap(), Caller::new());
    let write = || caller.asks_from("198.51.100.7", Endpoint::post("/accounts"), noon());
    let read = || caller.reads_from("198.51.100.7", noon());
    assert!(ask(&store, &policies, &read()).is_allowed());
    for left in [8, 7] {
        assert!(ask(&store, &policies, &write()).is_allowed());
        assert_eq!(remaining(&store, &policies, &read()), [left]);
    }
    assert!(!ask(&store, &policies, &write()).is_allowed());
    assert_eq!(
        remaining(&store, &policies, &read()),
        [7],
        "nothing is taken"
    );
    assert_eq!(store.tracked_sources(), 2, "the shared one is the second");
}

#[test]
fn a_key_is_counted_by_itself_where_its_source_shares_a_counter() {
    let store = LocalLimits::new().with_sources(1);
    let policies = policies([
        ("key", Dimension::Key, 3),
        ("source", Dimension::Source, 100),
    ]);
    for last in 1..=3 {
        let newcomer = Caller::new().reads_from(&format!("198.51.100.{last}"), noon());
        let allowed = (0..9).filter(|_| ask(&store, &policies, &newcomer).is_allowed());
        assert_eq!(allowed.count(), 3);
    }
    assert_eq!(store.len(), 3);
}

#[test]
fn a_refusal_shows_a_full_tables_source_its_own_counters() {
    let store = LocalLimits::new().with_sources(2);
    let policies = Policies::new([
        Policy::new("writes", Dimension::Source, hourly(2)).only(OperationType::Write),
        Policy::new("source", Dimension::Source, hourly(10)),
    ]);
    let (policies, caller) = (policies.unwrap(), Caller::new());
    let write = || caller.asks_from("198.51.100.7", Endpoint::post("/accounts"), noon());
    for _ in 0..2 {
        assert!(ask(&store, &policies, &write()).is_allowed());
    }
    let refused = ask(&store, &policies, &write());
    assert_eq!(refused.refused(), Some(0));
    assert_eq!(refused.outcomes()[1].remaining(), 8);
}
