use std::net::{IpAddr, Ipv4Addr};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn attempt<'a>(source: u32, prefix: Option<&'a KeyPrefix>, at: Duration) -> Attempt<'a> {
    Attempt {
        source: SourceBucket::of(IpAddr::V4(Ipv4Addr::from_bits(source))),
        prefix,
        at: Monotonic::from_nanos(at.as_nanos() as u64),
    }
}

fn prefix(number: u64) -> KeyPrefix {
    format!("acme_live_{number:012}").parse().unwrap()
}

const START: Duration = Duration::from_secs(1000);

#[test]
fn a_hundred_failures_of_a_source_and_no_more() {
    let throttle = SourceThrottle::new();
    for _ in 0..100 {
        assert_eq!(throttle.admit(&attempt(1, None, START)), Ok(()));
        assert_eq!(throttle.record_failure(&attempt(1, None, START)), Ok(()));
    }
    let wait = Throttled::failures(Duration::from_millis(600));
    assert_eq!(throttle.admit(&attempt(1, None, START)), Err(wait));
    assert_eq!(throttle.record_failure(&attempt(1, None, START)), Err(wait));
    assert_eq!(throttle.admit(&attempt(2, None, START)), Ok(()));
    let later = START + wait.retry_after;
    assert_eq!(throttle.admit(&attempt(1, None, later)), Ok(()));
}

#[test]
fn a_prefix_is_guarded_against_many_sources() {
    let throttle = SourceThrottle::new();
    let key = prefix(1);
    for source in 0..100 {
        assert_eq!(
            throttle.record_failure(&attempt(source, Some(&key), START)),
            Ok(())
        );
    }
    let guess = attempt(1000, Some(&key), START);
    for _ in 0..100 {
        assert_eq!(throttle.admit(&guess), Ok(()), "it may be the owner");
        assert!(throttle.record_failure(&guess).is_err());
    }
    // What was turned away counted for its source, which asks the store no more.
    assert!(throttle.admit(&guess).is_err());
    let unharmed = prefix(2);
    let other = attempt(1001, Some(&unharmed), START);
    assert_eq!(throttle.record_failure(&other), Ok(()));
}

#[test]
fn admitting_counts_nothing() {
    let throttle = SourceThrottle::new();
    for _ in 0..1000 {
        assert_eq!(throttle.admit(&attempt(1, Some(&prefix(1)), START)), Ok(()));
    }
    assert_eq!(
        (throttle.tracked_sources(), throttle.tracked_prefixes()),
        (0, 0)
    );
}

#[test]
fn of_many_failures_in_flight_no_more_than_the_quota_are_told() {
    let throttle = SourceThrottle::new();
    let key = prefix(7);
    let (told, start) = (AtomicU32::new(0), Barrier::new(8));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (throttle, told, start, key) = (&throttle, &told, &start, &key);
            scope.spawn(move || {
                start.wait();
                for i in 0..200 {
                    let attempt = attempt((thread + i) % 4, Some(key), START);
                    if throttle.record_failure(&attempt).is_ok() {
                        told.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(told.into_inner(), 100);
    let spent = |source| {
        let attempt = attempt(source, None, START);
        (0..)
            .take_while(|_| throttle.record_failure(&attempt).is_ok())
            .count()
    };
    assert_eq!(
        (0..4).map(spent).sum::<usize>(),
        0,
        "those that the prefix turned away counted for their sources too"
    );
}

#[test]
fn a_flood_of_made_up_sources_stays_within_the_bound() {
    let throttle = SourceThrottle::new();
    let known = attempt(u32::MAX, None, START);
    for _ in 0..60 {
        throttle.record_failure(&known).unwrap();
    }
    let mut turned_away = 0;
    for source in 0..1_000_000 {
        let made_up = prefix(u64::from(source));
        if throttle
            .record_failure(&attempt(source, Some(&made_up), START))
            .is_err()
        {
            turned_away += 1;
        }
        if source % 10_000 == 0 {
            assert!(throttle.tracked_sources() <= SourceThrottle::CAPACITY);
            assert!(throttle.tracked_prefixes() <= SourceThrottle::CAPACITY);
        }
    }
    assert_eq!(throttle.tracked_sources(), SourceThrottle::CAPACITY);
    assert_eq!(throttle.tracked_prefixes(), SourceThrottle::CAPACITY);
    assert!(
        turned_away > 900_000,
        "newcomers share what is left: {turned_away}"
    );
    let tables = throttle.sources.cells.bytes() + throttle.prefixes.cells.bytes();
    assert!(tables < 16 << 20, "{tables} bytes");
    // Who was counted before is counted as before: 40 failures are left.
    assert!(throttle.admit(&known).is_ok());
    let left = (0..)
        .take_while(|_| throttle.record_failure(&known).is_ok())
        .count();
    assert_eq!(left, 40);
    // Unknown ones wait, until the flood is forgotten.
    assert!(throttle.admit(&attempt(2_000_000, None, START)).is_err());
    let later = START + Duration::from_secs(61);
    assert!(throttle.admit(&attempt(2_000_000, None, later)).is_ok());
    for source in 0..200_000 {
        let _ = throttle.admit(&attempt(source, Some(&prefix(0)), later));
    }
    assert!(
        throttle.tracked_sources() < 100,
        "{}",
        throttle.tracked_sources()
    );
}

#[test]
fn a_bound_of_nothing_is_refused() {
    assert!(SourceThrottle::new().with_capacity(0, 1).is_err());
    assert!(SourceThrottle::new().with_capacity(1, 0).is_err());
    assert!(SourceThrottle::new().with_capacity(1, 1).is_ok());
}

#[test]
fn an_attempt_counted_apart_neither_suffers_from_others_nor_makes_them_suffer() {
    let throttle = SourceThrottle::new().with_source_quota(Quota::per_minute(2, 2).unwrap());
    let (mine, other) = (prefix(1), prefix(2));
    let apart = attempt(1, Some(&mine), START);
    for _ in 0..2 {
        assert_eq!(
            throttle.record_failure(&attempt(1, Some(&other), START)),
            Ok(())
        );
    }
    assert!(
        throttle.admit(&apart).is_err(),
        "the source has spent its failures"
    );
    for _ in 0..2 {
        assert_eq!(throttle.record_apart(&apart), Ok(()));
    }
    assert!(throttle.record_apart(&apart).is_err());
    assert_eq!(
        throttle.record_apart(&attempt(1, Some(&other), START)),
        Ok(())
    );
    assert_eq!(throttle.admit(&attempt(2, Some(&mine), START)), Ok(()));
}
