//! Three servers that share the counters.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use countersign_core::AccessContext;
use countersign_rate_limit::{Dimension, Policies, conformance};
use countersign_redis::{RedisLimits, RedisOptions};
use support::{ask, company, connected, hourly, policies, remaining, request_of};
use tokio::task::JoinSet;

async fn store() -> RedisLimits {
    let addresses = std::env::var("COUNTERSIGN_TEST_REDIS_CLUSTER")
        .expect("COUNTERSIGN_TEST_REDIS_CLUSTER names a cluster");
    let options = RedisOptions::cluster(addresses.split(',')).unwrap();
    // A machine that is busy with other tests is no cluster that is gone.
    connected(options.deadline(Duration::from_secs(10))).await
}

/// A key's limit and the platform's, which are on two servers as often as not. No two tests and no
/// two runs share the platform's.
fn key_and_platform(key: u32, platform: u32) -> Policies {
    let own = company().to_string().replace('_', "-");
    let name: &'static str = own[own.len().saturating_sub(32)..]
        .trim_start_matches('-')
        .to_owned()
        .leak();
    policies([
        ("key", Dimension::Key, hourly(key)),
        (name, Dimension::Platform, hourly(platform)),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a Redis Cluster: cargo xtask test gives it one"]
async fn a_cluster_conforms() {
    conformance::run(Arc::new(store().await)).await;
}

#[tokio::test]
#[ignore = "needs a Redis Cluster: cargo xtask test gives it one"]
async fn what_another_server_refuses_is_given_back_to_the_nanosecond() {
    let store = store().await;
    // Enough companies that they are on all three servers.
    for _ in 0..20 {
        let policies = key_and_platform(10, 2);
        let context = request_of(company(), 1);
        for left in [9, 8] {
            let decision = ask(&store, &policies, &context, 1).await.unwrap();
            assert_eq!(remaining(&decision)[0], left);
        }
        let reset = async || {
            let decision = ask(&store, &policies, &context, 0).await.unwrap();
            assert_eq!(remaining(&decision), [8, 0]);
            decision.outcomes()[0].reset_after()
        };
        let before = reset().await;
        for _ in 0..5 {
            let decision = ask(&store, &policies, &context, 3).await.unwrap();
            assert_eq!(decision.refused(), Some(1));
            assert_eq!(remaining(&decision), [8, 0]);
        }
        // Only time has passed, and nothing else.
        let after = reset().await;
        assert!(
            after <= before && before - after < hourly(1).window(),
            "{before:?} {after:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a Redis Cluster: cargo xtask test gives it one"]
async fn a_crowd_over_two_servers_gets_the_platforms_quota_and_no_more() {
    let store = store().await;
    for _ in 0..5 {
        let policies = key_and_platform(300, 30);
        let context = request_of(company(), 1);
        assert_eq!(crowd(&store, &policies, &context, 200).await, 30);
        let decision = ask(&store, &policies, &context, 0).await.unwrap();
        assert_eq!(remaining(&decision), [270, 0]);
    }
}

async fn crowd(
    store: &RedisLimits,
    policies: &Policies,
    context: &AccessContext,
    count: usize,
) -> usize {
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let (store, policies, context) = (store.clone(), policies.clone(), context.clone());
        tasks.spawn(async move {
            let decision = ask(&store, &policies, &context, 1).await;
            decision.unwrap().is_allowed()
        });
    }
    let passed = tasks.join_all().await;
    passed.into_iter().filter(|allowed| *allowed).count()
}
