//! What leaves, what stays, and how much there can be.

use super::*;

#[test]
fn whole_counters_leave_by_themselves() {
    let store = LocalLimits::new();
    let quota = quota(2, Duration::from_secs(1));
    for key in 0..20_000u32 {
        assert!(
            store
                .check_one(&key, quota, 1, noon().monotonic)
                .unwrap()
                .allowed
        );
    }
    let full = store.cells.bytes();
    assert_eq!(store.len(), 20_000);
    let later = after(Duration::from_secs(50_000)).monotonic;
    // One key asks on; the shards of the others are swept in passing.
    for _ in 0..200_000 {
        let _ = store.check_one("busy", quota, 1, later).unwrap();
    }
    assert_eq!(store.len(), 1);
    assert!(
        store.cells.bytes() < full / 2,
        "the memory goes back as well"
    );
}

#[test]
fn counters_that_count_stay_while_others_leave() {
    let store = LocalLimits::new();
    let day = quota(2, Duration::from_secs(86_400));
    for key in 0..5_000u32 {
        assert!(
            store
                .check_one(&key, day, 2, noon().monotonic)
                .unwrap()
                .allowed
        );
    }
    let later = after(Duration::from_secs(50_000)).monotonic;
    for _ in 0..100_000 {
        let _ = store.check_one("busy", day, 1, later).unwrap();
    }
    for key in 0..5_000u32 {
        assert!(
            !store.check_one(&key, day, 1, later).unwrap().allowed,
            "{key}"
        );
    }
}

#[test]
fn a_full_store_refuses_newcomers_and_keeps_the_rest() {
    let store = LocalLimits::with_capacity(100);
    let minute = quota(2, Duration::from_secs(60));
    let check = |key: u32, at: Monotonic| store.check_one(&key, minute, 1, at);
    let now = noon().monotonic;
    for key in 0..100 {
        assert!(check(key, now).unwrap().allowed);
    }
    for key in 100..1000 {
        let error = check(key, now).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.is::<StoreFull>());
    }
    assert_eq!(store.len(), 100);
    assert!(check(7, now).unwrap().allowed);
    assert!(!check(7, now).unwrap().allowed, "nobody gets a new quota");
    let later = after(Duration::from_secs(43_400)).monotonic;
    let passed = (1000..1400)
        .filter(|key| check(*key, later).is_ok())
        .count();
    assert_eq!(
        passed, 100,
        "whole counters make room for as many newcomers"
    );
    assert!(store.len() <= 100);
}

#[test]
fn a_request_that_finds_no_room_takes_nothing() {
    let store = LocalLimits::with_capacity(4);
    let policies = policies([
        ("key", Dimension::Key, 5),
        ("company", Dimension::Company, 5),
    ]);
    let (first, second) = (Caller::new(), Caller::new());
    assert!(ask(&store, &policies, &first.reads(noon())).is_allowed());
    // One counter is left and two are needed: the company has one, the colleague's key fits.
    assert!(ask(&store, &policies, &first.colleague().reads(noon())).is_allowed());
    let context = second.reads(noon());
    assert!(store.decide(&policies.request(&context).unwrap()).is_err());
    assert_eq!(store.len(), 3);
    assert_eq!(remaining(&store, &policies, &context), [5, 5]);
    assert_eq!(remaining(&store, &policies, &first.reads(noon())), [4, 3]);
    // One place is left for one more key of the company, and none for the next.
    assert!(ask(&store, &policies, &first.colleague().reads(noon())).is_allowed());
    let context = first.colleague().reads(noon());
    assert!(store.decide(&policies.request(&context).unwrap()).is_err());
    assert_eq!(remaining(&store, &policies, &context), [5, 2]);
}

#[test]
fn the_bound_holds_under_eight_threads() {
    let store = LocalLimits::with_capacity(1000);
    let day = quota(1, Duration::from_secs(86_400));
    let passed = stampede(2_000, |thread, i| {
        let key = (thread * 2_000 + i) as u64;
        store.check_one(&key, day, 1, noon().monotonic).is_ok()
    });
    assert_eq!((passed, store.len()), (1000, 1000));
}

#[test]
fn a_clock_that_goes_back_grants_nothing_even_where_a_counter_left() {
    let store = LocalLimits::new();
    let second = quota(1, Duration::from_secs(1));
    let at = |millis| after(Duration::from_millis(millis)).monotonic;
    assert!(store.check_one("a", second, 1, at(10_000)).unwrap().allowed);
    for _ in 0..100_000 {
        let _ = store.check_one("busy", second, 1, at(11_000)).unwrap();
    }
    assert_eq!(store.len(), 1);
    // Held up for a second on its way: decided at 11 s, and once only.
    let late = store.check_one("a", second, 1, at(10_000)).unwrap();
    assert!(late.allowed);
    assert_eq!(late.new_tat, at(12_000).as_nanos());
    assert!(!store.check_one("a", second, 1, at(10_500)).unwrap().allowed);
    assert!(!store.check_one("a", second, 1, at(11_999)).unwrap().allowed);
    assert!(store.check_one("a", second, 1, at(12_000)).unwrap().allowed);
}

#[test]
fn a_limited_key_takes_at_most_200_bytes_in_all_dimensions() {
    let limits = [
        ("key", Dimension::Key, 5),
        ("company", Dimension::Company, 5),
        ("endpoint", Dimension::Endpoint, 5),
        ("scope", Dimension::Scope, 5),
        ("operation", Dimension::Operation, 5),
    ];
    let policies = policies(limits);
    let endpoint = Endpoint::get("/accounts").scope("accounts:read".parse().unwrap());
    // Just after the tables have grown, which is when they are emptiest.
    for keys in [12_000, 24_000] {
        let store = LocalLimits::new();
        let empty = store.cells.bytes();
        for _ in 0..keys {
            let context = Caller::new().asks(endpoint.clone(), noon());
            assert!(ask(&store, &policies, &context).is_allowed());
        }
        assert_eq!(store.len(), 5 * keys);
        let each = (store.cells.bytes() - empty) / keys;
        assert!(each <= 200, "{each} bytes a key with {keys} keys");
    }
}
