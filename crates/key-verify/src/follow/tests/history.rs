//! A feed that is opened again, at a server whose history may be another one.

use super::*;

const TICK: Duration = Duration::from_nanos(1);

/// A server took over that lacks what the other one told last, and told as much since: the place
/// where the listener stopped is one of its history too.
async fn fails_over(world: &World, lost: usize, made_since: usize) {
    world.hand.set(Mood::Fails);
    world.until_distrusted().await;
    let other = Changed::Company("company_34".parse().unwrap());
    {
        let mut log = world.hand.log.lock().unwrap();
        let had = log.len() - lost;
        log.truncate(had);
        log.push(Changed::Key(world.key.prefix));
        log.resize(had + made_since, other);
    }
    world.hand.set(Mood::Works);
    world.until_trusted().await;
}

/// The connection was cut, and nothing else.
async fn opens_again(world: &World) {
    world.hand.set(Mood::Fails);
    world.until_distrusted().await;
    world.hand.set(Mood::Works);
    world.until_trusted().await;
}

async fn tells_of_another_company(world: &World, times: usize) {
    for _ in 0..times {
        world
            .hand
            .tell(Changed::Company("company_34".parse().unwrap()));
    }
    world
        .until("it is read", || world.hand.woken.available_permits() == 0)
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_the_feed_was_opened_again_ends_at_the_fallback_bound() {
    for (lost, made_since) in [(3, 3), (3, 7), (1, 1)] {
        let world = World::new().await;
        let _follower = world.cache.follow_changes().unwrap();
        world.until_trusted().await;
        tells_of_another_company(&world, 3).await;
        world.load().await;
        fails_over(&world, lost, made_since).await;
        assert!(world.is_held(), "a young entry goes on");
        world.clock.advance(FALLBACK);
        world.until_trusted().await;
        assert!(!world.is_held(), "{lost} lost, {made_since} made since");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_read_anew_is_believed_for_the_staleness_bound_again() {
    let world = World::new().await;
    let _follower = world.cache.follow_changes().unwrap();
    world.until_trusted().await;
    tells_of_another_company(&world, 1).await;
    opens_again(&world).await;
    world.clock.advance(TICK);
    world.until_trusted().await;
    world.load().await;
    world.clock.advance(BOUND - TICK);
    world.until_trusted().await;
    assert!(world.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_is_opened_again_costs_one_look_up_for_each_key_and_none_at_once() {
    let world = World::new().await;
    let _follower = world.cache.follow_changes().unwrap();
    world.until_trusted().await;
    world.load().await;
    for _ in 0..5 {
        opens_again(&world).await;
    }
    assert!(world.is_held(), "a feed that flaps makes nobody wait");
    world.clock.advance(FALLBACK / 2 + TICK);
    assert!(world.is_held(), "asked for in the background");
    world
        .until("it is read anew", || {
            let now = world.clock.monotonic();
            world.cache.peek(&world.key.prefix, now, |key| key.fetched) == Some(now)
        })
        .await;
}
