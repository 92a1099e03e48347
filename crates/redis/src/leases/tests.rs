//! Books of a fleet, against a server that is modelled here.

use std::collections::HashMap;

use countersign_core::Quota;
use countersign_rate_limit::gcra::decide;
use proptest::prelude::*;

use super::book::Book;
use super::*;
use crate::draw::{Part, Said};

/// The counters, and what was admitted: when, and how many units.
#[derive(Default)]
struct Model {
    tats: HashMap<String, u64>,
    calls: usize,
}

impl Model {
    fn ask(&mut self, draw: &Draw, now: u64) -> Said {
        self.calls += 1;
        let tats = draw.keys.iter().map(|name| self.tats.get(name).copied());
        let tats: Vec<u64> = tats.map(Option::unwrap_or_default).collect();
        let parts = || draw.parts.iter().zip(&tats);
        let taken = parts().all(|(part, tat)| part.weigh(*tat, now).allowed);
        for (name, (part, tat)) in draw.keys.iter().zip(parts()) {
            let units = part.drawn(*tat, now);
            if taken && units > 0 {
                let after = decide(*tat, now, part.quota, units).new_tat;
                self.tats.insert(name.clone(), after);
            }
        }
        Said { now, taken, tats }
    }
}

/// One call by a process with this book. `None` when the server is not there and is needed.
fn call(
    book: &mut Book,
    model: &mut Model,
    wanted: &[(&str, Quota, u32)],
    now: u64,
    up: bool,
) -> Option<LimitDecision> {
    let mut draws = vec![draw(wanted)];
    if let Some(decision) = book.decide(&draws, now) {
        return Some(decision.unwrap());
    }
    book.prepare(&mut draws, now);
    if up {
        // The server's clock is another one.
        let said = model.ask(&draws[0], now + SERVERS_START);
        Some(book.learn(&draws, &[said], now).unwrap())
    } else {
        book.put_back(&draws);
        None
    }
}

fn draw(wanted: &[(&str, Quota, u32)]) -> Draw {
    let part = |(place, &(_, quota, cost)): (usize, &(&str, Quota, u32))| Part {
        place,
        quota,
        cost,
        paid: 0,
        extra: 0,
    };
    Draw {
        keys: wanted.iter().map(|(name, ..)| (*name).to_owned()).collect(),
        parts: wanted.iter().enumerate().map(part).collect(),
    }
}

fn leases(age: Duration, share: f64) -> Leases {
    Leases::new().age(age).unwrap().share(share).unwrap()
}

/// The most units too many that any period saw: more than the quota gives in it.
fn excess(admitted: &[(u64, u32)], quota: Quota) -> u64 {
    let mut most = 0_u64;
    for (i, (begin, _)) in admitted.iter().enumerate() {
        let mut units = 0_u64;
        for (end, cost) in &admitted[i..] {
            units += u64::from(*cost);
            let gives = u64::from(quota.burst()) + (end - begin) / quota.interval_nanos();
            most = most.max(units.saturating_sub(gives));
        }
    }
    most
}

proptest! {
    /// The stated bound, whatever happens: units held for an age, and no more than a share each.
    #[test]
    fn no_period_sees_more_than_the_stated_excess(
        arrivals in prop::collection::vec((0usize..4, 0u64..8_000_000, 1u32..4, 0u8..20), 1..400),
        burst in 1u32..60,
        interval in 200_000u64..20_000_000,
        age in 1u64..200,
        share in 0.01f64..=1.0,
    ) {
        let quota = Quota::new(burst, Duration::from_nanos(interval)).unwrap();
        let age = Duration::from_millis(age);
        let mut books: Vec<Book> = (0..4).map(|_| Book::new(leases(age, share))).collect();
        let (mut model, mut admitted, mut now) = (Model::default(), Vec::new(), 0);
        for (node, after, cost, luck) in arrivals {
            now += after;
            let wanted = [("company", quota, cost)];
            let decision = call(&mut books[node], &mut model, &wanted, now, luck > 0);
            if decision.is_some_and(|decision| decision.is_allowed()) {
                admitted.push((now, cost));
            }
        }
        let held_for = age.as_nanos() as u64 / interval + 1;
        let held_by = 4 * u64::from((f64::from(burst) * share) as u32 + 1);
        prop_assert!(excess(&admitted, quota) <= held_for.min(held_by));
        // Since the counter began, there is no excess at all.
        if let Some((first, _)) = admitted.first() {
            let mut units = 0;
            for (at, cost) in &admitted {
                units += u64::from(*cost);
                prop_assert!(units <= u64::from(burst) + (at - first) / interval);
            }
        }
    }

    /// A refusal by one counter leaves the units of the other where they were.
    #[test]
    fn a_refusal_takes_no_unit(asked in prop::collection::vec(0usize..2, 1..60)) {
        let hourly = |burst| Quota::new(burst, Duration::from_secs(3600)).unwrap();
        let quotas = [("a", hourly(40)), ("b", hourly(7))];
        let mut book = Book::new(leases(Duration::from_secs(1), 0.5));
        let mut model = Model::default();
        let mut taken = [0_u32; 2];
        for (now, only) in (0..).zip(asked) {
            let mut wanted: Vec<_> = quotas.iter().map(|(n, q)| (*n, *q, 1)).collect();
            if only == 1 {
                wanted.pop();
            }
            let decision = call(&mut book, &mut model, &wanted, now, true).unwrap();
            let fits = taken[0] < 40 && (only == 1 || taken[1] < 7);
            prop_assert_eq!(decision.is_allowed(), fits);
            if fits {
                taken[0] += 1;
                taken[1] += u32::from(only == 0);
            }
            let outcomes = decision.outcomes();
            prop_assert_eq!(outcomes[0].remaining(), 40 - taken[0]);
        }
    }
}

/// Four processes lease, are quiet for `pause`, and then all spend what they can at one instant.
fn excess_after(pause: u64) -> u64 {
    let quota = Quota::per_second(200, 10_000).unwrap();
    let leases = leases(Duration::from_millis(50), 0.05);
    let mut books: Vec<Book> = (0..4).map(|_| Book::new(leases)).collect();
    let (mut model, mut admitted) = (Model::default(), Vec::new());
    let mut spend = |calls: u64, begin: u64, step: u64| {
        for i in 0..calls {
            let at = begin + i * step;
            for book in &mut books {
                let wanted = [("company", quota, 1)];
                let decision = call(book, &mut model, &wanted, at, true).unwrap();
                if decision.is_allowed() {
                    admitted.push((at, 1));
                }
            }
        }
    };
    // The twelfth call draws eight units ahead.
    spend(12, 0, 1000);
    spend(300, pause, 0);
    excess(&admitted, quota)
}

#[test]
fn the_excess_is_what_is_held_and_no_more() {
    // The server's counter is whole again after some 10 ms, and units are held for 50.
    let held = excess_after(20_000_000);
    assert!((20..=40).contains(&held), "{held}");
    assert_eq!(excess_after(51_000_000), 0);
}

#[test]
fn a_busy_counter_is_leased_and_a_quiet_one_is_not() {
    let quota = Quota::per_second(1000, 1000).unwrap();
    let run = |every: u64| {
        let (mut book, mut model) = (Book::new(Leases::new()), Model::default());
        let mut admitted = 0;
        for i in 0..1000 {
            let wanted = [("key", quota, 1)];
            let decision = call(&mut book, &mut model, &wanted, i * every, true);
            admitted += usize::from(decision.unwrap().is_allowed());
        }
        (admitted, model.calls)
    };
    let (admitted, calls) = run(2_000_000);
    assert_eq!(admitted, 1000);
    assert!(calls < 60, "{calls} calls of the server");
    // Slower than a lease gets old: each request asks, and no unit is lost.
    assert_eq!(run(200_000_000), (1000, 1000));
}

#[test]
fn little_is_lost_to_old_units() {
    // Half of what the quota allows, at random: nobody is refused, although leases get old.
    let quota = Quota::per_second(100, 1000).unwrap();
    let (mut book, mut model) = (Book::new(Leases::new()), Model::default());
    let (mut now, mut refused) = (0, 0);
    for _ in 0..20_000 {
        now += fastrand::u64(0..4_000_000);
        let decision = call(&mut book, &mut model, &[("key", quota, 1)], now, true);
        refused += usize::from(!decision.unwrap().is_allowed());
    }
    assert!(refused < 20, "{refused} of 20000 refused");
}

#[test]
fn a_storm_of_refused_retries_does_not_reach_the_server() {
    let quota = Quota::new(1, Duration::from_secs(3600)).unwrap();
    let (mut book, mut model) = (Book::new(Leases::new()), Model::default());
    for i in 0..10_000 {
        let now = i * 10_000;
        let decision = call(&mut book, &mut model, &[("key", quota, 1)], now, true).unwrap();
        assert_eq!(decision.is_allowed(), i == 0);
        let wait = decision.outcomes()[0].retry_after().unwrap();
        if i > 0 {
            assert_eq!(wait, Duration::from_secs(3600) - Duration::from_nanos(now));
        }
    }
    assert!(model.calls <= 4, "{} calls of the server", model.calls);
}

#[test]
fn counters_that_are_quiet_leave() {
    let quota = Quota::per_second(10, 10).unwrap();
    let (mut book, mut model) = (Book::new(Leases::new()), Model::default());
    for i in 0..50_000_u64 {
        let name = format!("key {i}");
        call(
            &mut book,
            &mut model,
            &[(&name, quota, 1)],
            i * 1_000_000,
            true,
        );
    }
    assert!(book.len() <= 2048, "{} counters", book.len());
}

#[test]
fn leases_have_bounds() {
    for (age, share) in [
        (0, 0.1),
        (20_000, 0.1),
        (100, 0.0),
        (100, 1.1),
        (100, f64::NAN),
    ] {
        let built = Leases::new().age(Duration::from_millis(age));
        assert!(
            built.and_then(|leases| leases.share(share)).is_err(),
            "{age} {share}"
        );
    }
}

const SERVERS_START: u64 = 1_700_000_000_000_000_000;
