//! What the cache believes, for how long, and what it asks.

mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use self::world::*;
use super::*;
use crate::record::CompanyStatus;
use crate::store::FoundKey;

#[tokio::test]
async fn an_entry_is_believed_up_to_the_bound_and_not_at_it() {
    let world = World::new(BOUND, 100);
    world.store.set(key(1, 1));
    assert_eq!(world.peek(), None);
    assert_eq!(world.look_up().await, Some(1));
    world.store.down.store(true, Ordering::SeqCst);
    world.clock.advance(BOUND - TICK);
    assert_eq!(world.peek(), Some(1));
    world.clock.advance(TICK);
    assert_eq!(world.peek(), None);
}

#[tokio::test]
async fn an_age_counts_from_before_the_store_was_asked() {
    let world = World::new(BOUND, 0);
    world.store.set(key(1, 1));
    let (found, ()) = tokio::join!(world.look_up(), async {
        world.store.until_asked(1).await;
        world.clock.advance(BOUND);
        world.store.gate.add_permits(1);
    });
    assert_eq!(found, Some(1), "who waited is answered");
    assert_eq!(world.peek(), None, "nobody else is");
}

#[tokio::test]
async fn a_bound_of_zero_asks_every_time() {
    let world = World::new(Duration::ZERO, 100);
    world.store.set(key(1, 1));
    for times in 1..4 {
        assert_eq!(world.look_up().await, Some(1));
        assert_eq!(world.peek(), None);
        assert_eq!(world.store.asked(), times);
    }
}

#[tokio::test]
async fn past_half_the_bound_one_refresh_runs_while_the_entry_serves() {
    let world = World::new(BOUND, 1);
    world.store.set(key(1, 1));
    world.look_up().await;
    world.clock.advance(BOUND / 2);
    assert_eq!(world.peek(), Some(1));
    world.settle().await;
    assert_eq!(world.store.asked(), 1, "not before half the bound");
    world.clock.advance(TICK);
    world.store.set(key(1, 2));
    (0..10).for_each(|_| assert_eq!(world.peek(), Some(1)));
    world.store.until_asked(2).await;
    (0..10).for_each(|_| assert_eq!(world.peek(), Some(1)));
    world.store.gate.add_permits(1);
    world.settle().await;
    assert_eq!(world.peek(), Some(2));
    assert_eq!(world.store.asked(), 2, "one refresh for all of them");
    world.clock.advance(BOUND / 2);
    assert_eq!(world.peek(), Some(2), "its age began anew");
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_entry_until_the_bound() {
    let world = World::new(BOUND, 100);
    world.store.set(key(1, 1));
    world.look_up().await;
    world.store.down.store(true, Ordering::SeqCst);
    world.clock.advance(BOUND - TICK);
    assert_eq!(world.peek(), Some(1));
    world.settle().await;
    assert_eq!(world.peek(), Some(1));
    world.settle().await;
    assert_eq!(world.store.asked(), 2, "a store that is down is left alone");
    world.clock.advance(TICK);
    assert_eq!(world.peek(), None);
}

#[tokio::test]
async fn many_callers_share_one_look_up() {
    let world = World::new(BOUND, 0);
    world.store.set(key(1, 1));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let cache = world.cache.clone();
            tokio::spawn(async move { version(&cache.look_up(prefix(1)).await) })
        })
        .collect();
    world.store.until_asked(1).await;
    world.store.gate.add_permits(1);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Some(1));
    }
    assert_eq!(world.store.asked(), 1);
}

#[tokio::test]
async fn a_look_up_in_flight_never_puts_an_evicted_key_back() {
    type Evict = fn(&KeyCache);
    let ways: [Evict; 3] = [
        |cache| cache.evict(&prefix(1)),
        |cache| cache.evict_company(&"company_12".parse().unwrap()),
        KeyCache::clear,
    ];
    for evict in ways {
        let world = World::new(BOUND, 0);
        world.store.set(key(1, 1));
        let cache = world.cache.clone();
        let early = tokio::spawn(async move { version(&cache.look_up(prefix(1)).await) });
        world.store.until_asked(1).await;
        world.store.set(key(1, 2));
        evict(&world.cache);
        // A caller who comes after the eviction doesn't join the look-up from before it.
        let cache = world.cache.clone();
        let late = tokio::spawn(async move { version(&cache.look_up(prefix(1)).await) });
        world.store.until_asked(2).await;
        world.store.gate.add_permits(1);
        assert_eq!(early.await.unwrap(), Some(1));
        assert_eq!(world.peek(), None, "what it read was not kept");
        world.store.gate.add_permits(1);
        assert_eq!(late.await.unwrap(), Some(2));
        assert_eq!(world.peek(), Some(2));
    }
}

#[tokio::test]
async fn an_unknown_prefix_in_flight_is_not_kept_after_an_eviction_either() {
    let world = World::new(BOUND, 0);
    let cache = world.cache.clone();
    let early = tokio::spawn(async move { version(&cache.look_up(prefix(1)).await) });
    world.store.until_asked(1).await;
    world.store.set(key(1, 1));
    world.cache.evict(&prefix(1));
    world.store.gate.add_permits(10);
    assert_eq!(early.await.unwrap(), None);
    assert_eq!(world.peek(), None);
    assert_eq!(world.look_up().await, Some(1));
}

#[tokio::test]
async fn an_older_version_never_replaces_a_newer_one() {
    let world = World::new(BOUND, 100);
    world.store.set(key(1, 7));
    world.look_up().await;
    world.store.set(key(1, 6));
    world.clock.advance(BOUND - TICK);
    assert_eq!(world.look_up().await, Some(7), "the newer one answers");
    assert_eq!(world.peek(), Some(7));
    world.clock.advance(TICK);
    assert_eq!(world.peek(), None, "and is no younger for it");
}

#[tokio::test]
async fn a_suspended_company_is_seen_although_the_record_has_no_new_version() {
    let world = World::new(BOUND, 100);
    world.store.set(key(1, 1));
    world.look_up().await;
    let company = CompanyStatus::Suspended;
    world.store.set(FoundKey {
        company,
        ..key(1, 1)
    });
    world.look_up().await;
    let now = world.clock.now();
    let standing = |key: &CachedKey| key.standing(now.wall, None).is_ok();
    let standing = world.cache.peek(&prefix(1), now.monotonic, standing);
    assert_eq!(standing, Some(false));
}

#[tokio::test]
async fn a_store_that_panics_has_failed_and_strands_nobody() {
    let world = World::new(BOUND, 100);
    world.store.set(key(1, 1));
    world.store.panics.store(true, Ordering::SeqCst);
    let failed = world.cache.look_up(prefix(1)).await;
    assert!(matches!(failed, Outcome::Unavailable));
    world.store.panics.store(false, Ordering::SeqCst);
    assert_eq!(world.look_up().await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_has_failed_for_everybody_who_waits() {
    let world = World::new(BOUND, 0);
    let first = world.cache.look_up(prefix(1));
    let second = world.cache.look_up(prefix(1));
    let (first, second) = tokio::join!(first, second);
    assert!(matches!(first, Outcome::Unavailable));
    assert!(matches!(second, Outcome::Unavailable));
    assert_eq!(world.peek(), None, "a failure is not remembered");
}

#[tokio::test]
async fn the_record_of_another_key_is_no_answer() {
    let world = World::new(BOUND, 100);
    world.store.set_under(prefix(1), key(2, 1));
    let found = world.cache.look_up(prefix(1)).await;
    assert!(matches!(found, Outcome::Unavailable));
    assert!(world.cache.is_empty());
}

#[tokio::test]
async fn an_unknown_prefix_is_remembered_for_a_while() {
    let world = World::new(BOUND, 100);
    assert_eq!(world.look_up().await, None);
    world.store.set(key(1, 1));
    world.clock.advance(Duration::from_secs(1) - TICK);
    assert_eq!(world.peek(), Some(ABSENT));
    world.clock.advance(TICK);
    assert_eq!(world.peek(), None);
    assert_eq!(world.look_up().await, Some(1));
    assert_eq!(world.peek(), Some(1));
}

#[tokio::test]
async fn a_flood_of_unknown_prefixes_stays_bounded_and_pushes_out_no_key() {
    let world = World::new(BOUND, 10_000);
    world.store.set(key(1, 1));
    world.look_up().await;
    for number in 2..1000 {
        world.cache.look_up(prefix(number)).await;
    }
    assert_eq!(world.cache.0.room.len(Part::Absent), 10);
    assert_eq!(world.peek(), Some(1));
    assert_eq!(world.cache.len(), 1);
}

#[tokio::test]
async fn readings_of_another_clock_are_not_believed() {
    let world = World::new(BOUND, 100);
    world.store.set(key(1, 1));
    world.look_up().await;
    let before = world.clock.monotonic().as_nanos();
    let bound = u64::try_from(BOUND.as_nanos()).unwrap();
    let at = |nanos| {
        world
            .cache
            .peek(&prefix(1), Monotonic::from_nanos(nanos), |key| key.version)
    };
    assert_eq!(at(before - bound + 1), Some(1), "a request that waited");
    assert_eq!(at(before - bound), None);
    assert_eq!(at(0), None);
    assert_eq!(at(before + bound), None);
}

/// One thread changes the record and evicts it, others look it up and peek: after an eviction
/// nobody is shown what was stored before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_never_see_what_was_evicted_before_they_came() {
    let world = World::new(Duration::from_secs(60), Semaphore::MAX_PERMITS);
    world.store.set(key(1, 0));
    let evicted = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (cache, evicted) = (world.cache.clone(), Arc::clone(&evicted));
            let now = world.clock.monotonic();
            tokio::spawn(async move {
                loop {
                    let least = evicted.load(Ordering::SeqCst);
                    if least == u64::MAX {
                        return;
                    }
                    if let Some(seen) = cache.peek(&prefix(1), now, |key| key.version) {
                        assert!(seen >= least, "peek: {seen} after {least}");
                    }
                    let seen = version(&cache.look_up(prefix(1)).await);
                    assert!(seen.unwrap() >= least, "look-up: {seen:?} after {least}");
                }
            })
        })
        .collect();
    for number in 1..5000 {
        world.store.set(key(1, number));
        match number % 3 {
            0 => world.cache.evict_company(&"company_12".parse().unwrap()),
            1 => world.cache.evict(&prefix(1)),
            _ => world.cache.clear(),
        }
        evicted.store(number, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
    evicted.store(u64::MAX, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn no_more_look_ups_than_allowed_are_under_way() {
    for bound in [BOUND, Duration::ZERO] {
        let world = World::new(bound, 0);
        let asking: Vec<_> = (0..8)
            .map(|number| {
                let cache = world.cache.clone();
                world.store.set(key(number, 1));
                tokio::spawn(async move { version(&cache.look_up(prefix(number)).await) })
            })
            .collect();
        world.store.until_asked(8).await;
        let one_too_many = world.cache.look_up(prefix(8)).await;
        assert!(matches!(one_too_many, Outcome::Unavailable));
        world.store.gate.add_permits(100);
        for answer in asking {
            assert_eq!(answer.await.unwrap(), Some(1));
        }
        world.settle().await;
        world.store.set(key(8, 1));
        let found = world.cache.look_up(prefix(8)).await;
        assert_eq!(version(&found), Some(1), "room again");
    }
}

#[tokio::test]
async fn a_store_that_was_restored_is_believed_after_the_bound() {
    let world = World::new(BOUND, 100);
    world.store.set(key(1, 5));
    assert_eq!(world.look_up().await, Some(5));
    world.store.set(key(1, 3));
    assert_eq!(world.look_up().await, Some(5), "a replica may lag");
    world.clock.advance(BOUND);
    assert_eq!(world.look_up().await, Some(3));
    assert_eq!(world.peek(), Some(3));
}

#[tokio::test]
async fn a_newer_version_of_another_history_gives_way_after_the_fallback_bound() {
    let world = World::new(BOUND, 100);
    world.store.set(key(1, 5));
    world.look_up().await;
    world.cache.doubt();
    world.store.set(key(1, 3));
    world.clock.advance(FALLBACK);
    assert_eq!(world.peek(), None);
    assert_eq!(world.look_up().await, Some(3));
}
