mod history;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use countersign_core::{
    Clock, CompanyId, Environment, KeyId, KeyPrefix, LifecycleEvent, ManualClock, ScopeSet,
    Timestamp,
};
use tokio::sync::Semaphore;

use super::*;
use crate::feed::Changes;
use crate::manager::{Actor, IssueRequest, KeyManager};
use crate::memory::MemoryKeyStore;
use crate::record::{CompanyRecord, KeyRecord, RevocationReason};
use crate::store::{Change, FoundKey, KeyStore};
use crate::verifier::KeyVerifier;

const BOUND: Duration = Duration::from_secs(60);
const FALLBACK: Duration = Duration::from_secs(5);

/// A feed that a test has in its hands.
#[derive(Debug)]
struct Hand {
    log: Mutex<Vec<Changed>>,
    mood: Mutex<Mood>,
    opened: AtomicUsize,
    /// One permit for each time that a stream is woken.
    woken: Semaphore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Works,
    Fails,
    Hangs,
    Panics,
}

impl Hand {
    fn tell(&self, changed: Changed) {
        self.log.lock().unwrap().push(changed);
        self.woken.add_permits(1);
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.woken.add_permits(1);
    }

    async fn obey(&self) -> Result<(), StoreError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Works => Ok(()),
            Mood::Fails => Err(StoreErrorKind::Unavailable.into()),
            Mood::Hangs => std::future::pending().await,
            Mood::Panics => panic!("the feed panics"),
        }
    }
}

#[derive(Debug)]
struct Hold(Arc<Hand>);

#[async_trait]
impl ChangeFeed for Hold {
    async fn open(&self) -> Result<Box<dyn ChangeStream>, StoreError> {
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        self.0.obey().await?;
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

#[async_trait]
impl ChangeStream for Hold {
    async fn read(&mut self, after: Option<FeedPosition>) -> Result<Changes, StoreError> {
        self.0.obey().await?;
        let log = self.0.log.lock().unwrap();
        let changed = match after {
            Some(FeedPosition(after)) => log[usize::try_from(after).unwrap()..].to_vec(),
            None => vec![Changed::Everything],
        };
        let position = FeedPosition(log.len() as u64);
        Ok(Changes { position, changed })
    }

    async fn wait(&mut self) -> Result<(), StoreError> {
        self.0.woken.acquire().await.unwrap().forget();
        self.0.obey().await
    }
}

/// Keys in memory, told of by [`Hand`].
#[derive(Debug)]
struct Fed(Arc<MemoryKeyStore>, Arc<Hand>);

#[async_trait]
impl KeyStore for Fed {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        self.0.find(prefix).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.0.get(id).await
    }

    async fn list(
        &self,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.0.list(company, after, limit).await
    }

    async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        self.0.due_keys(now, limit).await
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        self.0.company(id).await
    }

    async fn companies(
        &self,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        self.0.companies(after, limit).await
    }

    async fn commit(&self, change: &Change) -> Result<(), StoreError> {
        self.0.commit(change).await
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        self.0.pending_events(limit).await
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        self.0.acknowledge_events(events).await
    }

    fn change_feed(&self) -> Option<Arc<dyn ChangeFeed>> {
        Some(Arc::new(Hold(Arc::clone(&self.1))))
    }
}

struct World {
    hand: Arc<Hand>,
    clock: ManualClock,
    cache: KeyCache,
    /// Its changes are told by nobody but the hand.
    elsewhere: KeyManager,
    ada: Actor,
    key: KeyRecord,
}

impl World {
    async fn new() -> Self {
        let hand = Arc::new(Hand {
            log: Mutex::default(),
            mood: Mutex::new(Mood::Works),
            opened: AtomicUsize::new(0),
            woken: Semaphore::new(0),
        });
        let (memory, clock) = (Arc::new(MemoryKeyStore::default()), ManualClock::default());
        let elsewhere = KeyManager::builder(Arc::clone(&memory))
            .clock(clock.clone())
            .build()
            .unwrap();
        let ada = Actor::operator("ada").unwrap();
        let company = "company_12".parse().unwrap();
        elsewhere.create_company(&ada, company).await.unwrap();
        let expiry = clock.now().wall.saturating_add(Duration::from_secs(3600));
        let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
        let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
        let issued = elsewhere.issue(&ada, request.activate_now(true)).await;
        let verifier = KeyVerifier::builder(Fed(memory, Arc::clone(&hand)))
            .clock(clock.clone())
            .staleness_bound(BOUND)
            .fallback_bound(FALLBACK)
            .build()
            .unwrap();
        Self {
            hand,
            clock,
            cache: verifier.cache().clone(),
            elsewhere,
            ada,
            key: issued.unwrap().record,
        }
    }

    async fn load(&self) {
        self.cache.look_up(self.key.prefix).await;
        assert!(self.is_held());
    }

    fn is_held(&self) -> bool {
        let now = self.clock.monotonic();
        self.cache.peek(&self.key.prefix, now, |_| ()) == Some(())
    }

    /// Time in which the runtime's timers run, and nothing else happens.
    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..1000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}");
    }

    async fn until_trusted(&self) {
        let trusted = || self.cache.bound_now() == BOUND;
        self.until("the feed is trusted", trusted).await;
    }

    async fn until_distrusted(&self) {
        let distrusted = || self.cache.bound_now() == FALLBACK;
        self.until("the feed is not trusted", distrusted).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_process_changes_is_forgotten() {
    let world = World::new().await;
    let follower = world.cache.follow_changes().unwrap();
    world.until_trusted().await;
    for changed in [
        Changed::Key(world.key.prefix),
        Changed::Company(world.key.company),
        Changed::Everything,
    ] {
        world.load().await;
        world.hand.tell(changed);
        world.until("it is forgotten", || !world.is_held()).await;
    }
    world.load().await;
    world
        .hand
        .tell(Changed::Company("company_34".parse().unwrap()));
    world
        .until("it is read", || world.hand.woken.available_permits() == 0)
        .await;
    assert!(world.is_held(), "another company's change");
    follower.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_cached_before_the_feed_was_open_is_forgotten() {
    let world = World::new().await;
    world.load().await;
    let _follower = world.cache.follow_changes().unwrap();
    world.until("it is forgotten", || !world.is_held()).await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_feed_shrinks_the_bound_and_catches_up_before_it_is_trusted_again() {
    let world = World::new().await;
    let _follower = world.cache.follow_changes().unwrap();
    world.until_trusted().await;
    world.load().await;
    world.hand.set(Mood::Fails);
    world.until_distrusted().await;
    assert!(world.is_held(), "a young entry goes on");
    let reason = RevocationReason::SuspectedLeakage;
    let revoked = world
        .elsewhere
        .revoke(&world.ada, &world.key.company, world.key.id, reason);
    revoked.await.unwrap();
    world
        .hand
        .log
        .lock()
        .unwrap()
        .push(Changed::Key(world.key.prefix));
    world.hand.set(Mood::Works);
    world.until_trusted().await;
    assert!(
        !world.is_held(),
        "trusted with what was missed still believed"
    );
}

#[tokio::test(start_paused = true)]
async fn an_entry_ends_at_the_fallback_bound_when_the_feed_breaks() {
    let world = World::new().await;
    let _follower = world.cache.follow_changes().unwrap();
    world.until_trusted().await;
    world.load().await;
    world.hand.set(Mood::Fails);
    world.until_distrusted().await;
    world.clock.advance(FALLBACK - Duration::from_nanos(1));
    assert!(world.is_held());
    world.clock.advance(Duration::from_nanos(1));
    assert!(!world.is_held());
}

#[tokio::test(start_paused = true)]
async fn only_a_feed_that_is_followed_shortens_the_bound() {
    let world = World::new().await;
    assert_eq!(world.cache.bound_now(), BOUND);
    world.hand.set(Mood::Fails);
    let _follower = world.cache.follow_changes().unwrap();
    assert_eq!(world.cache.bound_now(), FALLBACK);
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_hangs_is_trusted_no_longer_than_its_lease() {
    let world = World::new().await;
    let _follower = world.cache.follow_changes().unwrap();
    world.until_trusted().await;
    world.hand.set(Mood::Hangs);
    world
        .until("it hangs", || world.hand.woken.available_permits() == 0)
        .await;
    // Nobody was told of anything; time alone takes the trust away.
    world.clock.advance(ChangeFollower::LEASE);
    assert_eq!(world.cache.bound_now(), FALLBACK);
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_panics_is_opened_again() {
    let world = World::new().await;
    let _follower = world.cache.follow_changes().unwrap();
    world.until_trusted().await;
    world.hand.set(Mood::Panics);
    world.until_distrusted().await;
    world.hand.set(Mood::Works);
    world.until_trusted().await;
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_is_away_is_not_stormed() {
    let world = World::new().await;
    world.hand.set(Mood::Fails);
    let _follower = world.cache.follow_changes().unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let opened = world.hand.opened.load(Ordering::SeqCst);
    assert!((30..100).contains(&opened), "{opened} attempts in a minute");
}

#[tokio::test(start_paused = true)]
async fn who_stops_listening_is_not_trusted_and_nobody_listens_twice() {
    let world = World::new().await;
    let follower = world.cache.follow_changes().unwrap();
    world.cache.follow_changes().unwrap_err();
    world.until_trusted().await;
    follower.shutdown().await;
    assert_eq!(world.cache.bound_now(), FALLBACK);
    let _again = world.cache.follow_changes().unwrap();
    let memory = KeyVerifier::builder(MemoryKeyStore::default()).build();
    memory.unwrap().cache().follow_changes().unwrap_err();
}

#[cfg(feature = "metrics")]
#[test]
fn a_gauge_shows_whether_the_feed_works() {
    use std::sync::atomic::AtomicU64;

    use ::metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    struct Shown(Arc<AtomicU64>);

    impl Recorder for Shown {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            assert_eq!(key.name(), "countersign_change_feed_up");
            Gauge::from_arc(Arc::clone(&self.0))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    let shown = Arc::new(AtomicU64::new(7.0_f64.to_bits()));
    let shows = || f64::from_bits(shown.load(Ordering::SeqCst));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    ::metrics::with_local_recorder(&Shown(Arc::clone(&shown)), || {
        runtime.block_on(async {
            let world = World::new().await;
            let _follower = world.cache.follow_changes().unwrap();
            world.until("it works", || shows() == 1.0).await;
            world.hand.set(Mood::Fails);
            world.until("it is broken", || shows() == 0.0).await;
            world.hand.set(Mood::Works);
            world.until("it works again", || shows() == 1.0).await;
        });
    });
}
