//! What the server holds, and what happens when it is not there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::disallowed_methods,
    reason = "a real server takes real time, and how long is what is tested"
)]

mod support;

use std::time::{Duration, Instant};

use countersign_core::{Quota, StoreErrorKind};
use countersign_rate_limit::gcra::decide;
use countersign_rate_limit::{Dimension, LimitFuture, LimitStore};
use countersign_redis::{RedisLimits, RedisOptions};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::server::Server;
use support::{ask, company, connected, hourly, policies, raw, remaining, request_of};

/// The name of the only counter of a policy called `key`.
fn counter(company: &str, key: &str, quota: Quota) -> String {
    let interval = quota.interval_nanos();
    format!("countersign:{{{company}}}:key/{key}@{interval}")
}

#[tokio::test]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn a_counter_goes_when_its_quota_is_whole() {
    let store = support::store().await;
    let quota = Quota::new(3, Duration::from_millis(40)).unwrap();
    let policies = policies([
        ("key", Dimension::Key, quota),
        ("platform", Dimension::Platform, quota),
    ]);
    let company = company();
    let context = request_of(company, 7);
    assert!(
        ask(&store, &policies, &context, 2)
            .await
            .unwrap()
            .is_allowed()
    );
    let pattern = format!("countersign:{{{company}}}:*");
    let mut raw = raw().await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(&pattern)
        .query_async(&mut raw)
        .await
        .unwrap();
    assert_eq!(keys.len(), 1);
    let id = context.identity().unwrap().key_id().unwrap().to_string();
    assert_eq!(keys[0], counter(company.as_str(), &id, quota));
    let left: i64 = redis::cmd("PTTL")
        .arg(&keys[0])
        .query_async(&mut raw)
        .await
        .unwrap();
    assert!((1..=81).contains(&left), "{left} ms");
    tokio::time::sleep(Duration::from_millis(120)).await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(&pattern)
        .query_async(&mut raw)
        .await
        .unwrap();
    assert!(keys.is_empty());
}

#[tokio::test]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn a_server_that_forgot_the_script_is_given_it() {
    let server = Server::start();
    let store = connected(RedisOptions::server(&server.address()).unwrap()).await;
    let policies = policies([("key", Dimension::Key, hourly(3))]);
    let context = request_of(company(), 1);
    let client = redis::Client::open(server.address()).unwrap();
    let mut raw = client.get_multiplexed_async_connection().await.unwrap();
    for left in [2, 1, 0] {
        redis::cmd("SCRIPT")
            .arg("FLUSH")
            .exec_async(&mut raw)
            .await
            .unwrap();
        let decision = ask(&store, &policies, &context, 1).await.unwrap();
        assert_eq!(remaining(&decision), [left]);
    }
    assert!(
        !ask(&store, &policies, &context, 1)
            .await
            .unwrap()
            .is_allowed()
    );
}

#[tokio::test]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn what_is_no_counter_is_corrupt_and_stays_as_it_is() {
    let store = support::store().await;
    let quota = hourly(3);
    let policies = policies([("key", Dimension::Key, quota)]);
    let company = company();
    let context = request_of(company, 1);
    let id = context.identity().unwrap().key_id().unwrap().to_string();
    let name = counter(company.as_str(), &id, quota);
    let mut raw = raw().await;
    for bad in ["", "x", "nan", "12345678901234567890123", "-5"] {
        redis::cmd("SET")
            .arg(&name)
            .arg(bad)
            .exec_async(&mut raw)
            .await
            .unwrap();
        let error = ask(&store, &policies, &context, 1).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{bad:?}");
        let now: String = redis::cmd("GET")
            .arg(&name)
            .query_async(&mut raw)
            .await
            .unwrap();
        assert_eq!(now, bad);
    }
    redis::cmd("DEL")
        .arg(&name)
        .exec_async(&mut raw)
        .await
        .unwrap();
    redis::cmd("LPUSH")
        .arg(&name)
        .arg("1")
        .exec_async(&mut raw)
        .await
        .unwrap();
    // MGET reads a list as nothing; the write that follows takes its place.
    let decision = ask(&store, &policies, &context, 1).await.unwrap();
    assert_eq!(remaining(&decision), [2]);
}

#[tokio::test]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn a_spoiled_counter_is_one_callers_trouble() {
    let store = support::store().await;
    let policies = policies([("key", Dimension::Key, hourly(3))]);
    let contexts: Vec<_> = (0..40).map(|key| request_of(company(), key)).collect();
    let spoiled = &contexts[17];
    let identity = spoiled.identity().unwrap();
    let id = identity.key_id().unwrap().to_string();
    let mut raw = raw().await;
    redis::cmd("SET")
        .arg(counter(identity.company().as_str(), &id, hourly(3)))
        .arg("spoiled")
        .exec_async(&mut raw)
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, context) in contexts.iter().enumerate() {
        let (store, policies, context) = (store.clone(), policies.clone(), context.clone());
        tasks.spawn(async move { (number, ask(&store, &policies, &context, 1).await) });
    }
    for (number, answer) in tasks.join_all().await {
        match answer {
            Ok(decision) => assert_eq!((number != 17, remaining(&decision)), (true, vec![2])),
            Err(error) => assert_eq!((number, error.kind()), (17, StoreErrorKind::Corrupt)),
        }
    }
}

/// Any counter, quota and cost: the script writes what `gcra` says, to the nanosecond.
#[test]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
fn the_script_keeps_the_same_integers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (store, raw) = runtime.block_on(async { (support::store().await, raw().await) });
    let quotas = (1u32..2000, 1u64..17_000_000_000_000).prop_filter_map("too long", |(b, i)| {
        Quota::new(b, Duration::from_nanos(i)).ok()
    });
    let slow = (1u32..=400).prop_map(|burst| {
        let longest = Quota::MAX_WINDOW.as_nanos() as u64 / u64::from(burst);
        Quota::new(burst, Duration::from_nanos(longest)).unwrap()
    });
    let cases = (
        prop_oneof![quotas, slow],
        prop_oneof![0u32..5, 0u32..3000, Just(u32::MAX)],
        -0.2f64..1.2,
        0u64..1_000_000_000,
    );
    let mut runner = TestRunner::new(Config::with_cases(600));
    let outcome = runner.run(&cases, |(quota, cost, part, nanos)| {
        let mut raw = raw.clone();
        runtime.block_on(async {
            let policies = policies([("key", Dimension::Key, quota)]);
            let company = company();
            let context = request_of(company, 1);
            let id = context.identity().unwrap().key_id().unwrap().to_string();
            let name = counter(company.as_str(), &id, quota);
            let time: (u64, u64) = redis::cmd("TIME").query_async(&mut raw).await.unwrap();
            let now = time.0 * 1_000_000_000 + time.1 * 1000;
            let ahead = (quota.window().as_nanos() as f64 * part) as i64;
            let before = now.saturating_add_signed(ahead) / 1000 * 1000 + nanos % 1000;
            redis::cmd("SET")
                .arg(&name)
                .arg(before)
                .exec_async(&mut raw)
                .await
                .unwrap();
            // The store itself answers `Corrupt` where its arithmetic and the script's differ.
            let decision = ask(&store, &policies, &context, cost).await.unwrap();
            let after: u64 = redis::cmd("GET")
                .arg(&name)
                .query_async(&mut raw)
                .await
                .unwrap();
            if !decision.is_allowed() || cost == 0 {
                prop_assert_eq!(after, before);
            } else if before > now + 1_000_000_000 {
                // The counter was ahead of the clock, so when exactly it was asked is no matter.
                prop_assert_eq!(after, decide(before, now, quota, cost).new_tat);
            }
            redis::cmd("DEL")
                .arg(&name)
                .exec_async(&mut raw)
                .await
                .unwrap();
            Ok(())
        })
    });
    outcome.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_holds_nobody_up() {
    let store = RedisLimits::start(RedisOptions::server("redis://127.0.0.1:1/").unwrap());
    let policies = policies([("key", Dimension::Key, hourly(3))]);
    let context = request_of(company(), 1);
    let request = policies.request(&context).unwrap();
    for _ in 0..3 {
        let LimitFuture::Ready(answer) = store.check(&request) else {
            panic!("nobody waits while there is no connection");
        };
        assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    assert!(!store.is_connected());
    let waited = store.wait_until_connected(Duration::from_millis(50)).await;
    assert_eq!(waited.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn a_server_that_is_killed_is_found_again() {
    let mut server = Server::start();
    let store = connected(RedisOptions::server(&server.address()).unwrap()).await;
    let policies = policies([("key", Dimension::Key, hourly(5))]);
    let context = request_of(company(), 1);
    assert!(
        ask(&store, &policies, &context, 1)
            .await
            .unwrap()
            .is_allowed()
    );
    server.kill();
    let began = Instant::now();
    let error = ask(&store, &policies, &context, 1).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    server.start_again();
    store
        .wait_until_connected(Duration::from_secs(10))
        .await
        .unwrap();
    // It kept nothing, so the quota is whole.
    let decision = ask(&store, &policies, &context, 1).await.unwrap();
    assert_eq!(remaining(&decision), [4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn a_server_that_says_nothing_is_given_up_after_the_deadline() {
    let server = Server::start();
    let deadline = Duration::from_millis(100);
    let options = RedisOptions::server(&server.address()).unwrap();
    let store = connected(options.deadline(deadline)).await;
    let policies = policies([("key", Dimension::Key, hourly(5))]);
    let context = request_of(company(), 1);
    assert!(
        ask(&store, &policies, &context, 1)
            .await
            .unwrap()
            .is_allowed()
    );
    server.freeze();
    let began = Instant::now();
    let error = ask(&store, &policies, &context, 1).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(began.elapsed() >= deadline, "{:?}", began.elapsed());
    // From then on nobody waits.
    let began = Instant::now();
    for _ in 0..20 {
        assert!(ask(&store, &policies, &context, 1).await.is_err());
    }
    assert!(began.elapsed() < deadline, "{:?}", began.elapsed());
    server.go_on();
    store
        .wait_until_connected(Duration::from_secs(10))
        .await
        .unwrap();
    assert!(ask(&store, &policies, &context, 0).await.is_ok());
}
