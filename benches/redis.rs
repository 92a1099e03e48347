//! Decisions on Redis beside the least that a call of a script can be: `EVALSHA` of a script that
//! does nothing, by the same client on the same server, with as many calls in flight.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[path = "support/figures.rs"]
mod figures;

use std::env;
use std::future::Future;
use std::time::{Duration, Instant};

use countersign_core::{
    AccessContext, Edge, Endpoint, Environment, Identity, KeyId, MatchedEndpoint, Quota, ScopeSet,
};
use countersign_rate_limit::{Dimension, LimitStore, Policies, Policy};
use countersign_redis::{Leases, RedisLimits, RedisOptions};
use figures::{Effort, median, tell};
use http::Request;
use http::uri::PathAndQuery;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

fn main() {
    let address = env::var("COUNTERSIGN_TEST_REDIS").expect("COUNTERSIGN_TEST_REDIS is a server");
    let effort = Effort::from_arguments();
    // The server has the other processor.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(&address, effort));
}

async fn measure(address: &str, effort: Effort) {
    let plain = Plain::connect(address).await;
    let store = RedisLimits::start(RedisOptions::server(address).expect("an address"));
    let connected = store.wait_until_connected(Duration::from_secs(10)).await;
    connected.expect("the server answers");
    let one = policies(&[("key", Dimension::Key)]);
    let three = policies(&[
        ("key", Dimension::Key),
        ("company", Dimension::Company),
        ("endpoint", Dimension::Endpoint),
    ]);
    let leased = store.clone().leased(Leases::new());
    // Many short turns, so that what else the machine does meets all of them.
    let calls = effort.of(500);
    let mut rounds = Vec::new();
    for _ in 0..=effort.rounds * 4 {
        rounds.push([
            rate(calls, |_| plain.clone()).await,
            rate(calls, |task| decide(store.clone(), one.clone(), task)).await,
            rate(calls, |task| decide(store.clone(), three.clone(), task)).await,
            rate(calls, |task| decide(leased.clone(), three.clone(), task)).await,
        ]);
    }
    // The first round only warms up.
    rounds.remove(0);
    let names = [
        "plain EVALSHA of an empty script",
        "Redis decisions, one counter",
        "Redis decisions, three counters",
        "leased decisions, three counters",
    ];
    for (i, name) in names.into_iter().enumerate() {
        tell(name, median(rounds.iter().map(|round| round[i])), "1/s");
    }
    let ratio = |i: usize| median(rounds.iter().map(|round| round[i] / round[0]));
    tell("Redis decisions/s ÷ plain EVALSHA", ratio(1), "");
    tell(
        "Redis decisions/s ÷ plain EVALSHA, three counters",
        ratio(2),
        "",
    );
    tell(
        "leased decisions/s ÷ plain EVALSHA, three counters",
        ratio(3),
        "",
    );
}

/// What `IN_FLIGHT` tasks do in a second.
async fn rate<F>(calls: usize, mut work: impl FnMut(usize) -> F) -> f64
where
    F: Work,
{
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for task in 0..IN_FLIGHT {
        let mut work = work(task);
        tasks.spawn(async move {
            for _ in 0..calls {
                work.once().await;
            }
        });
    }
    tasks.join_all().await;
    (IN_FLIGHT * calls) as f64 / began.elapsed().as_secs_f64()
}

/// Something that is done again and again.
trait Work: Send + 'static {
    fn once(&mut self) -> impl Future<Output = ()> + Send;
}

#[derive(Clone)]
struct Plain {
    connection: MultiplexedConnection,
    hash: String,
}

impl Plain {
    async fn connect(address: &str) -> Self {
        let client = redis::Client::open(address).expect("an address");
        let connection = client.get_multiplexed_async_connection().await;
        let mut connection = connection.expect("the server answers");
        let load = redis::cmd("SCRIPT").arg("LOAD").arg("return 1").to_owned();
        let hash = load.query_async(&mut connection).await;
        Self {
            connection,
            hash: hash.expect("a script"),
        }
    }
}

impl Work for Plain {
    async fn once(&mut self) {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.hash).arg(0);
        let answer: i64 = call.query_async(&mut self.connection).await.expect("1");
        assert_eq!(answer, 1);
    }
}

struct Decide<S> {
    store: S,
    policies: Policies,
    context: AccessContext,
}

/// Decisions about the calls of one of eight keys.
fn decide<S: LimitStore>(store: S, policies: Policies, task: usize) -> Decide<S> {
    Decide {
        store,
        policies,
        context: context(task as u128 % 8),
    }
}

impl<S: LimitStore> Work for Decide<S> {
    async fn once(&mut self) {
        let request = self.policies.request(&self.context).expect("all is known");
        let answer = self.store.check(&request).resolve().await;
        assert!(answer.expect("the server answers").is_allowed());
    }
}

fn policies(limits: &[(&'static str, Dimension)]) -> Policies {
    let quota = Quota::per_second(1_000_000, 1_000_000).expect("a quota");
    let limits = limits
        .iter()
        .map(|(name, by)| Policy::new(*name, *by, quota));
    Policies::new(limits).expect("policies")
}

fn context(key: u128) -> AccessContext {
    let mut request = Request::new(());
    let context = Edge::default()
        .enter(&mut request)
        .context(&request)
        .clone();
    let company = "company_12".parse().expect("a company");
    let prefix = "acme_live_000000000000".parse().expect("a prefix");
    let identity = Identity::new(company, Environment::Live, ScopeSet::new());
    let identity = identity.with_key(KeyId::from_u128(key), prefix);
    context.identify(identity).expect("nobody else");
    let matched = MatchedEndpoint {
        endpoint: Endpoint::get("/accounts").kept(),
        target: PathAndQuery::from_static("/accounts"),
    };
    context.match_endpoint(matched).expect("nobody else");
    context
}

const IN_FLIGHT: usize = 64;
