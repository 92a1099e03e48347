//! The meter of failed authentications: when it is asked, what it is told, and who never meets it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use countersign_core::testing::ReadinessProbe;
use countersign_core::{Attempt, Environment, FailureMeter, KeyPrefix, Throttled};
use countersign_key_verify::{KeyVerifyLayer, RawKey};
use support::{World, from, request, with_key, wrong_secret};
use tower::{Layer, ServiceExt};

/// Lets `quota` failures be told, and keeps what it was asked.
#[derive(Debug)]
struct Meter {
    quota: usize,
    failures: AtomicUsize,
    admitted: AtomicUsize,
    closed: AtomicBool,
    told: Mutex<Vec<(String, Option<KeyPrefix>)>>,
}

impl Meter {
    fn new(quota: usize) -> Arc<Self> {
        Arc::new(Self {
            quota,
            failures: AtomicUsize::new(0),
            admitted: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            told: Mutex::default(),
        })
    }

    fn failures(&self) -> usize {
        self.failures.load(Ordering::SeqCst)
    }

    fn admitted(&self) -> usize {
        self.admitted.load(Ordering::SeqCst)
    }
}

const LATER: Throttled = Throttled::failures(Duration::from_millis(6_001));

impl FailureMeter for Meter {
    fn admit(&self, _: &Attempt<'_>) -> Result<(), Throttled> {
        self.admitted.fetch_add(1, Ordering::SeqCst);
        if self.closed.load(Ordering::SeqCst) || self.failures() >= self.quota {
            return Err(LATER);
        }
        Ok(())
    }

    fn record_failure(&self, attempt: &Attempt<'_>) -> Result<(), Throttled> {
        let told = (attempt.source.to_string(), attempt.prefix.copied());
        self.told.lock().unwrap().push(told);
        let before = self.failures.fetch_add(1, Ordering::SeqCst);
        if before < self.quota {
            Ok(())
        } else {
            Err(LATER)
        }
    }
}

fn metered(world: &World, meter: &Arc<Meter>) -> KeyVerifyLayer {
    world.layer(|builder| builder.failure_meter(meter.clone()))
}

const HERE: &str = "192.0.2.7:4711";

#[tokio::test]
async fn each_failure_is_reported_with_its_source_and_prefix() {
    let world = World::new().await;
    let issued = world.key().await;
    let meter = Meter::new(100);
    let layer = metered(&world, &meter);
    let unknown = RawKey::generate("acme", Environment::Live).unwrap();
    let sent = [
        request(&[]),
        request(&[("x-api-key", "garbage")]),
        request(&[("x-api-key", &unknown.expose())]),
        request(&[("x-api-key", &unknown.expose())]),
        request(&[("x-api-key", &wrong_secret(&issued))]),
        request(&[("x-api-key", &wrong_secret(&issued))]),
    ];
    for request in sent {
        let seen = world.send(&layer, from(request, HERE)).await;
        assert_eq!(seen.status(), 401);
    }
    let here = || "192.0.2.7".to_owned();
    let expected = [
        (here(), None),
        (here(), None),
        (here(), Some(*unknown.prefix())),
        (here(), Some(*unknown.prefix())),
        (here(), Some(issued.record.prefix)),
        (here(), Some(issued.record.prefix)),
    ];
    assert_eq!(*meter.told.lock().unwrap(), expected);
    assert_eq!(
        meter.admitted(),
        2,
        "asked before each look-up and no other time"
    );
}

#[tokio::test]
async fn a_spent_source_is_told_to_wait_and_the_store_is_not_asked() {
    let world = World::new().await;
    let issued = world.key().await;
    let meter = Meter::new(0);
    let layer = metered(&world, &meter);
    world.store.set_available(false);
    let sent = [
        with_key(&issued),
        request(&[]),
        request(&[("x-api-key", "garbage")]),
        request(&[("x-api-key", &wrong_secret(&issued))]),
    ];
    for request in sent {
        let seen = world.send(&layer, from(request, HERE)).await;
        assert_eq!(seen.status(), 429);
        assert_eq!(seen.reason(), Some("source_throttled"));
        assert_eq!(seen.response.headers()["retry-after"], "7", "rounded up");
        assert!(!seen.response.headers().contains_key("www-authenticate"));
        assert!(!seen.passed);
    }
    let named = world.send(&layer, from(with_key(&issued), HERE)).await;
    assert_eq!(named.context.key(), (None, Some(issued.record.prefix)));
}

#[tokio::test]
async fn a_correct_cached_key_never_meets_the_meter() {
    let world = World::new().await;
    let issued = world.key().await;
    let meter = Meter::new(1);
    let layer = metered(&world, &meter);
    assert!(
        world
            .send(&layer, from(with_key(&issued), HERE))
            .await
            .passed
    );
    assert_eq!(meter.admitted(), 1);
    meter.closed.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        assert!(
            world
                .send(&layer, from(with_key(&issued), HERE))
                .await
                .passed
        );
    }
    assert_eq!((meter.admitted(), meter.failures()), (1, 0));
}

#[tokio::test]
async fn a_right_secret_that_is_refused_counts_as_a_failure() {
    let world = World::new().await;
    let issued = world.key().await;
    world
        .manager
        .suspend(&world.operator, &issued.record.company, issued.record.id)
        .await
        .unwrap();
    let meter = Meter::new(2);
    let layer = metered(&world, &meter);
    for expected in [401, 401, 429] {
        let seen = world.send(&layer, from(with_key(&issued), HERE)).await;
        assert_eq!(seen.status(), expected);
    }
}

#[tokio::test]
async fn a_store_that_fails_is_nobodys_failure() {
    let world = World::new().await;
    let issued = world.key().await;
    let meter = Meter::new(0);
    let layer = metered(&world, &meter);
    world.store.set_available(false);
    let open = Meter::new(1);
    let seen = world
        .send(&metered(&world, &open), from(with_key(&issued), HERE))
        .await;
    assert_eq!(seen.status(), 503);
    assert_eq!(open.failures(), 0);
    let seen = world.send(&layer, from(with_key(&issued), HERE)).await;
    assert_eq!(seen.status(), 429, "a spent source is told so first");
}

#[tokio::test]
async fn without_a_peer_address_a_metered_stack_refuses_and_an_unmetered_one_works() {
    let world = World::new().await;
    let issued = world.key().await;
    let layer = metered(&world, &Meter::new(10));
    let seen = world.send(&layer, with_key(&issued)).await;
    assert_eq!(seen.status(), 500);
    assert_eq!(seen.reason(), Some("misconfigured_stack"));
    assert!(!seen.passed);
    let plain = world.layer(|builder| builder);
    assert!(world.send(&plain, with_key(&issued)).await.passed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_failures_at_once_exactly_the_quota_are_told_401() {
    let world = Arc::new(World::new().await);
    let meter = Meter::new(7);
    let layer = metered(&world, &meter);
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (world, layer) = (Arc::clone(&world), layer.clone());
            tokio::spawn(async move {
                let unknown = RawKey::generate("acme", Environment::Live).unwrap();
                let request = request(&[("x-api-key", &unknown.expose())]);
                world.send(&layer, from(request, HERE)).await.status()
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for caller in callers {
        statuses.push(caller.await.unwrap());
    }
    let told = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!(told, 7);
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)));
}

/// A caller that sends its head and resets the request in one go.
async fn leave(layer: &KeyVerifyLayer, key: &str) {
    let probe = ReadinessProbe::default();
    let request = from(request(&[("x-api-key", key)]), HERE);
    let mut asking = Box::pin(layer.layer(probe.clone()).oneshot(request));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(asking.as_mut().poll(&mut cx).is_pending());
    drop(asking);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(probe.calls(), 0);
}

#[tokio::test]
async fn a_guess_counts_although_its_caller_leaves_before_the_answer() {
    let world = World::new().await;
    let issued = world.key().await;
    let meter = Meter::new(1);
    let layer = metered(&world, &meter);
    leave(&layer, &issued.key.expose()).await;
    assert_eq!(meter.failures(), 0, "a good key is no failure");
    let unknown = RawKey::generate("acme", Environment::Live).unwrap();
    leave(&layer, &unknown.expose()).await;
    let guess = ("192.0.2.7".to_owned(), Some(*unknown.prefix()));
    assert_eq!(*meter.told.lock().unwrap(), [guess]);
    let next = RawKey::generate("acme", Environment::Live).unwrap();
    let next = request(&[("x-api-key", &next.expose())]);
    let seen = world.send(&layer, from(next, HERE)).await;
    assert_eq!(seen.reason(), Some("source_throttled"));
}

#[tokio::test]
async fn who_leaves_a_store_that_is_down_has_not_failed() {
    let world = World::new().await;
    let issued = world.key().await;
    let meter = Meter::new(1);
    let layer = metered(&world, &meter);
    world.store.set_available(false);
    leave(&layer, &issued.key.expose()).await;
    assert_eq!(meter.failures(), 0);
}
