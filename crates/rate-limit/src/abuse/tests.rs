//! The monitor from the outside: what it is told, what it says.

mod world;

use std::time::Duration;

use allocation_counter::measure;
use countersign_core::{
    AbuseKind, AbuseObserver, AbuseReaction, AbuseSignal, AbuseSubject, Clock, Denial,
    FailureMeter, KeyId, Reason, RequestObserver, source::SourceBucket,
};

use self::world::*;
use super::*;

#[test]
fn each_kind_of_denial_is_told_at_its_count_and_counted_anew() {
    let cases = [
        (
            AbuseKind::SourceFailures,
            None,
            Reason::UnknownApiKey,
            "source",
        ),
        (
            AbuseKind::PlatformFailures,
            None,
            Reason::MissingApiKey,
            "platform",
        ),
        (
            AbuseKind::UnknownEndpoints,
            None,
            Reason::EndpointUnknown,
            "source",
        ),
        (
            AbuseKind::UnknownEndpoints,
            None,
            Reason::AmbiguousTarget,
            "source",
        ),
        (
            AbuseKind::ScopeDenials,
            Some(7),
            Reason::ScopeMissing,
            "key",
        ),
        (
            AbuseKind::CompanyBoundaryDenials,
            Some(7),
            Reason::CompanyMismatch,
            "key",
        ),
        (
            AbuseKind::ForeignResources,
            Some(7),
            Reason::ResourceOutsideCompany,
            "key",
        ),
        (
            AbuseKind::PrefixFailures,
            Some(7),
            Reason::ExpiredApiKey,
            "prefix",
        ),
    ];
    for (kind, key, reason, subject) in cases {
        let world = World::with_rule(kind, AbuseRule::new(5, MINUTE));
        for _ in 0..4 {
            world.refuse(OFFICE, key, reason);
        }
        assert_eq!(world.heard.kinds(), [], "{kind}");
        world.refuse(OFFICE, key, reason);
        let signal = world.heard.only();
        assert_eq!((signal.kind, signal.subject.as_str()), (kind, subject));
        assert_eq!((signal.count, signal.window), (5, MINUTE));
        assert_eq!(signal.reaction, AbuseReaction::Notify);
        assert_eq!(signal.source.map(|s| s.bucket()), Some(bucket(OFFICE)));
        for _ in 0..4 {
            world.refuse(OFFICE, key, reason);
        }
        assert_eq!(world.heard.kinds(), [], "{kind} begins anew");
        world.clock.advance(MINUTE);
        world.refuse(OFFICE, key, reason);
        assert_eq!(world.heard.kinds(), [], "{kind} forgets");
    }
}

#[test]
fn subjects_are_counted_apart() {
    let world = World::with_rule(AbuseKind::ScopeDenials, AbuseRule::new(2, MINUTE));
    for key in 0..100 {
        world.refuse(OFFICE, Some(key), Reason::ScopeMissing);
    }
    assert_eq!(world.heard.kinds(), []);
    world.refuse(OFFICE, None, Reason::ScopeMissing);
    assert_eq!(
        world.heard.kinds(),
        [],
        "nobody is known whom it could be held against"
    );
}

#[test]
fn a_source_that_tries_keys_is_kept_away_longer_each_time() {
    let world = World::new(|builder| builder);
    for expected in [1, 2, 4] {
        for _ in 0..30 {
            assert_eq!(world.admit(ELSEWHERE, 1), Ok(()));
            world.refuse(ELSEWHERE, None, Reason::UnknownApiKey);
        }
        let signal = world.heard.only();
        assert_eq!(signal.kind, AbuseKind::SourceFailures);
        let penalty = signal.penalty.unwrap();
        assert_eq!(penalty.lasts, expected * MINUTE);
        assert_eq!(world.admit(ELSEWHERE, 1), Err(Reason::AbuseDenied));
        assert_eq!(world.admit(OFFICE, 1), Ok(()), "others are not");
        let subject = AbuseSubject::Source(bucket(ELSEWHERE));
        let now = world.clock.now().monotonic;
        assert_eq!(world.monitor.penalty(&subject, now), Some(penalty.lasts));
        world.clock.advance(penalty.lasts);
        assert_eq!(world.admit(ELSEWHERE, 1), Ok(()));
    }
}

#[test]
fn a_correct_key_is_not_locked_out_by_its_neighbours() {
    let world = World::new(|builder| builder);
    world.use_key(OFFICE, 7);
    for _ in 0..500 {
        // Somebody behind the same address.
        let _ = world.attempt(OFFICE, 8, |attempt| world.monitor.record_failure(attempt));
        world.refuse(OFFICE, None, Reason::UnknownApiKey);
    }
    assert_eq!(world.admit(OFFICE, 8), Err(Reason::AbuseDenied));
    assert_eq!(
        world.admit(OFFICE, 7),
        Ok(()),
        "it was used from here before"
    );
    assert_eq!(world.admit(ELSEWHERE, 7), Ok(()));
    // Even those that are known to be at home have a bound for their failures, and for those alone.
    let fail = || world.attempt(OFFICE, 7, |a| world.monitor.record_failure(a));
    (0..100).for_each(|_| assert_eq!(fail(), Ok(())));
    assert!(fail().is_err());
    assert_eq!(world.admit(OFFICE, 7), Ok(()));
}

#[test]
fn a_penalty_of_a_prefix_turns_failures_away_and_not_its_owner() {
    let rule = AbuseRule::new(3, MINUTE).react(AbuseReaction::Throttle);
    let world = World::with_rule(AbuseKind::PrefixFailures, rule);
    let subject = AbuseSubject::Prefix(prefix(7));
    for _ in 0..3 {
        let context = world.context(ELSEWHERE, None);
        context.present_key(prefix(7), None);
        context.deny(Reason::InvalidApiKey.into());
        world.monitor.finished(&context);
    }
    assert_eq!(world.heard.only().subject, subject);
    assert_eq!(world.admit(OFFICE, 7), Ok(()));
    let failed = world.attempt(OFFICE, 7, |a| world.monitor.record_failure(a));
    assert_eq!(failed.unwrap_err().reason(), Reason::AbuseDenied);
}

#[test]
fn an_allowed_network_is_never_accused_and_its_keys_are_still_watched() {
    let office = "192.0.2.0/24".parse().unwrap();
    let world = World::new(|builder| builder.allow_network(office));
    for _ in 0..500 {
        world.refuse(OFFICE, None, Reason::UnknownApiKey);
        world.refuse(OFFICE, None, Reason::EndpointUnknown);
    }
    assert_eq!(world.heard.kinds(), []);
    assert_eq!(world.admit(OFFICE, 7), Ok(()));
    for _ in 0..20 {
        world.refuse(OFFICE, Some(7), Reason::ScopeMissing);
    }
    assert_eq!(world.heard.kinds(), [AbuseKind::ScopeDenials]);
    let six = "2001:db8::/65".parse().unwrap();
    let error = AbuseMonitor::builder()
        .allow_network(six)
        .build()
        .unwrap_err();
    assert_eq!(error.subject(), "2001:db8::/65");
    let six = World::new(|builder| builder.allow_network("2001:db8::/64".parse().unwrap()));
    for _ in 0..500 {
        six.refuse("[2001:db8::17]", None, Reason::UnknownApiKey);
    }
    assert_eq!(six.heard.kinds(), []);
}

#[test]
fn a_key_under_a_penalty_is_refused_and_no_other() {
    let world = World::new(|builder| builder);
    assert!(!world.is_kept_away(7));
    for _ in 0..5 {
        world.refuse(OFFICE, Some(7), Reason::CompanyMismatch);
    }
    assert_eq!(
        world.heard.only().subject,
        AbuseSubject::Key(KeyId::from_u128(7))
    );
    assert!(world.is_kept_away(7));
    assert!(!world.is_kept_away(8));
    let now = world.clock.now().monotonic;
    assert!(
        world
            .monitor
            .pardon(&AbuseSubject::Key(KeyId::from_u128(7)), now)
    );
    assert!(!world.is_kept_away(7));
}

#[test]
fn only_who_comes_back_too_early_ignores_retry_after() {
    let rule = AbuseRule::new(3, MINUTE).react(AbuseReaction::Suspend);
    for (key, reaction) in [
        (Some(7), AbuseReaction::Suspend),
        (None, AbuseReaction::Throttle),
    ] {
        let world = World::with_rule(AbuseKind::IgnoredRetryAfter, rule);
        let wait = Denial::new(Reason::LimitKey).with_retry_after(SECOND);
        for _ in 0..20 {
            world.ask(OFFICE, key, Some(wait.clone()));
            world.clock.advance(SECOND);
        }
        assert_eq!(world.heard.kinds(), [], "it always waited");
        for _ in 0..4 {
            world.ask(
                OFFICE,
                key,
                Some(Denial::new(Reason::LimitKey).with_retry_after(MINUTE)),
            );
            world.clock.advance(SECOND);
        }
        let signal = world.heard.only();
        assert_eq!(
            (signal.count, signal.reaction),
            (3, reaction),
            "only a key is suspended"
        );
        assert!(signal.penalty.is_some());
    }
}

#[test]
fn unusual_use_is_told() {
    let world = World::new(|builder| builder);
    for _ in 0..20 {
        (0..50).for_each(|_| world.use_key(OFFICE, 7));
        world.clock.advance(MINUTE);
    }
    assert_eq!(world.heard.kinds(), []);
    world.clock.advance(60 * MINUTE);
    world.use_key(ELSEWHERE, 7);
    assert_eq!(world.heard.only().kind, AbuseKind::NewNetwork);
    (0..1000).for_each(|_| world.use_key(OFFICE, 7));
    let spike = world.heard.only();
    assert_eq!(spike.kind, AbuseKind::Spike);
    assert!((500..540).contains(&spike.count), "{}", spike.count);
    world.clock.advance(Duration::from_secs(40 * 86_400));
    world.use_key(OFFICE, 7);
    let sudden = world.heard.only();
    assert_eq!(sudden.kind, AbuseKind::SuddenUse);
    assert_eq!(sudden.window.as_secs() / 86_400, 40);
}

#[test]
fn what_is_remembered_from_before_the_start_counts() {
    let world = World::new(|builder| builder);
    let now = world.clock.now();
    let last_used = now.wall.saturating_sub(Duration::from_secs(60 * 86_400));
    let from = [OFFICE.parse().unwrap()];
    world.monitor.remember(&prefix(7), last_used, from, now);
    world.use_key(ELSEWHERE, 7);
    assert_eq!(
        world.heard.kinds(),
        [AbuseKind::SuddenUse, AbuseKind::NewNetwork]
    );
}

#[derive(Debug)]
struct Panics;

impl AbuseObserver for Panics {
    fn signal(&self, _: &AbuseSignal) {
        panic!("a fault of the observer's own");
    }
}

#[test]
fn an_observer_that_panics_keeps_nobody_from_hearing() {
    let world = World::new(|builder| builder.observer(Panics));
    let late = Heard::default();
    world.monitor.add_observer(late.clone());
    for _ in 0..5 {
        world.refuse(OFFICE, Some(7), Reason::CompanyMismatch);
    }
    assert_eq!(world.heard.only().id, late.only().id);
}

#[test]
fn of_failures_at_the_same_time_every_one_counts_once() {
    for (rule, told) in [(1000, 1), (1001, 0)] {
        let rule = AbuseRule::new(rule, MINUTE);
        let world = World::with_rule(AbuseKind::SourceFailures, rule);
        let fail = || (0..250).for_each(|_| world.refuse(OFFICE, None, Reason::UnknownApiKey));
        std::thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(fail)));
        });
        assert_eq!(world.heard.kinds().len(), told);
    }
}

#[test]
fn what_goes_on_is_told_once_in_a_window_and_penalised_anew_when_half_is_served() {
    let rules = AbuseRules::default().without(AbuseKind::SourceFailures);
    let world = World::new(|builder| builder.rules(rules));
    let mut signals = Vec::new();
    // Ten minutes of a scanner that minds nothing.
    for second in 0..600 {
        for _ in 0..20 {
            world.refuse(ELSEWHERE, None, Reason::EndpointUnknown);
        }
        let mut heard = world.heard.0.lock().unwrap();
        let levels = heard.drain(..).map(|s| s.penalty.map(|p| p.level));
        signals.extend(levels.map(|level| (second, level)));
        drop(heard);
        world.clock.advance(SECOND);
    }
    let levels: Vec<_> = signals.iter().filter_map(|(_, level)| *level).collect();
    assert_eq!(levels, [1, 2, 3, 4, 5], "{signals:?}");
    assert!((10..=12).contains(&signals.len()), "{signals:?}");
}

#[test]
fn requests_allocate_nothing_until_there_is_a_signal() {
    let world = World::new(|builder| builder);
    let allowed = world.context(OFFICE, Some(7));
    let refused = world.context(OFFICE, Some(7));
    refused.deny(Reason::ScopeMissing.into());
    world.monitor.finished(&allowed);
    let ask = || {
        world.monitor.check_key(&allowed).unwrap();
        (0..40).for_each(|_| world.monitor.finished(&allowed));
        world.monitor.finished(&refused);
        let admitted = world.attempt(ELSEWHERE, 9, |attempt| world.monitor.admit(attempt));
        admitted.unwrap();
    };
    let making = measure(|| {
        std::hint::black_box((prefix(9), bucket(ELSEWHERE)));
    });
    let making = making.count_total;
    assert_eq!(measure(ask).count_total, making);
    assert_eq!(world.heard.kinds(), []);
}

#[test]
fn all_memory_is_taken_at_the_start_and_a_flood_pushes_out_no_key() {
    let world = World::new(|builder| builder);
    let inner = world.monitor.inner();
    let bytes = inner.counters.bytes() + inner.sentences.bytes() + inner.retries.bytes();
    assert!(bytes + inner.profiles.bytes() < 12 << 20, "{bytes}");
    world.use_key(OFFICE, 7);
    for _ in 0..19 {
        world.refuse(OFFICE, Some(7), Reason::ScopeMissing);
    }
    let flood = measure(|| {
        for number in 0..100_000u32 {
            let source = std::net::Ipv4Addr::from_bits(0x0a00_0000 | number);
            let at = world.clock.now().monotonic;
            let subject = AbuseSubject::Source(SourceBucket::V4(source));
            let rule = AbuseRule::new(30, MINUTE);
            let (kind, at) = (AbuseKind::SourceFailures, at.as_nanos());
            assert_eq!(inner.counters.count(kind, &subject, &rule, at), None);
        }
    });
    assert_eq!(flood.bytes_total, 0);
    world.refuse(OFFICE, Some(7), Reason::ScopeMissing);
    assert_eq!(
        world.heard.kinds(),
        [AbuseKind::ScopeDenials],
        "the count was kept"
    );
    assert_eq!(world.admit(OFFICE, 7), Ok(()));
}

#[test]
fn a_rotation_forgets_no_denial_and_ends_no_penalty() {
    let rule = AbuseRule::new(3, MINUTE).react(AbuseReaction::Suspend);
    let world = World::with_rule(AbuseKind::ScopeDenials, rule);
    let (first, second, third) = (7, 7 + CHAINS, 7 + 2 * CHAINS);
    for key in [first, second, third] {
        assert!(!world.is_kept_away(key));
        world.refuse(OFFICE, Some(key), Reason::ScopeMissing);
    }
    let signal = world.heard.only();
    let chain = AbuseSubject::Key(KeyId::from_u128(first));
    assert_eq!(signal.subject, chain);
    assert_eq!(
        signal.key_id,
        Some(KeyId::from_u128(third)),
        "the key that is to be suspended"
    );
    assert!(world.is_kept_away(third + CHAINS));
    assert!(!world.is_kept_away(8));
    let now = world.clock.now().monotonic;
    assert!(world.monitor.pardon(&chain, now));
    assert!(!world.is_kept_away(third));
}
