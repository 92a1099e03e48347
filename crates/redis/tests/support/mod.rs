//! The server that tests are given, servers of their own, and requests.
#![allow(dead_code, reason = "each test uses a part of this")]

pub(crate) mod server;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_core::{
    AccessContext, CompanyId, Edge, Endpoint, Environment, Identity, KeyId, MatchedEndpoint, Quota,
    ScopeSet, StoreError,
};
use countersign_rate_limit::{Dimension, LimitDecision, LimitStore, Policies, Policy};
use countersign_redis::{RedisLimits, RedisOptions};
use http::Request;
use http::uri::PathAndQuery;

pub(crate) fn address() -> String {
    std::env::var("COUNTERSIGN_TEST_REDIS").expect("COUNTERSIGN_TEST_REDIS names a server")
}

pub(crate) fn options() -> RedisOptions {
    // A machine that is busy with other tests is no server that is gone.
    let options = RedisOptions::server(&address()).unwrap();
    options.deadline(Duration::from_secs(10))
}

pub(crate) async fn store() -> RedisLimits {
    connected(options()).await
}

pub(crate) async fn connected(options: RedisOptions) -> RedisLimits {
    let store = RedisLimits::start(options);
    let connected = store.wait_until_connected(Duration::from_secs(10)).await;
    connected.unwrap();
    store
}

/// A connection past the store, to see and to spoil what it wrote.
pub(crate) async fn raw() -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(address()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// A company's id that no other test and no other run uses.
pub(crate) fn company() -> CompanyId {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("company_{random:x}_{number}").parse().unwrap()
}

/// A request of `company`, by the key of this number.
pub(crate) fn request_of(company: CompanyId, key: u128) -> AccessContext {
    let mut request = Request::new(());
    let context = Edge::default()
        .enter(&mut request)
        .context(&request)
        .clone();
    let prefix = "acme_test_000000000000".parse().unwrap();
    let identity = Identity::new(company, Environment::Test, ScopeSet::new())
        .with_key(KeyId::from_u128(key), prefix);
    context.identify(identity).unwrap();
    let matched = MatchedEndpoint {
        endpoint: Endpoint::get("/accounts").kept(),
        target: PathAndQuery::from_static("/accounts"),
    };
    context.match_endpoint(matched).unwrap();
    context
}

pub(crate) fn hourly(burst: u32) -> Quota {
    Quota::new(burst, Duration::from_secs(3600)).unwrap()
}

pub(crate) fn policies<const N: usize>(limits: [(&'static str, Dimension, Quota); N]) -> Policies {
    Policies::new(limits.map(|(name, dimension, quota)| Policy::new(name, dimension, quota)))
        .unwrap()
}

pub(crate) async fn ask(
    store: &impl LimitStore,
    policies: &Policies,
    context: &AccessContext,
    cost: u32,
) -> Result<LimitDecision, StoreError> {
    let request = policies.request(context).unwrap();
    store.check(&request.with_cost(cost)).resolve().await
}

pub(crate) fn remaining(decision: &LimitDecision) -> Vec<u32> {
    decision.outcomes().iter().map(|o| o.remaining()).collect()
}
