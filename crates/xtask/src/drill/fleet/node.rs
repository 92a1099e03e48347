//! One process of the fleet.

use std::convert::Infallible;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use countersign_core::{AccessContext, Edge, Environment, Identity, Quota, ScopeSet};
use countersign_rate_limit::{Dimension, Policies, Policy, RateLimitLayer, StoreFailure};
use countersign_redis::{Leases, RedisLimits, RedisOptions};
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::mpsc;
use tower::{Layer, ServiceExt, service_fn};

use super::tally::{self, Call, Kind};
use super::{BURST, LEASED_FOR, LEASED_SHARE, OFFERED, RATE, SHARE};

/// Asks for more than the quota for `seconds`, and prints what it was answered.
///
/// # Errors
/// When the server is not there at the beginning.
pub(crate) fn run(address: &str, company: &str, seconds: &str) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let time = Duration::from_secs(seconds.parse().context("how many seconds")?);
    let calls = runtime.block_on(call(address, company, time))?;
    let mut text = String::new();
    for call in calls {
        writeln!(text, "{call}")?;
    }
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

async fn call(address: &str, company: &str, time: Duration) -> Result<Vec<Call>> {
    // A machine that is busy with four processes is no server that is gone.
    let options = RedisOptions::server(address)?.deadline(Duration::from_secs(1));
    let store = RedisLimits::start(options);
    let there = store.wait_until_connected(Duration::from_secs(10)).await;
    there.map_err(|error| anyhow!("{error}"))?;
    let quota = Quota::per_second(BURST as u32, RATE as u32)?;
    let policies = Policies::new([Policy::new("company", Dimension::Company, quota)])?;
    let leases = Leases::new().share(LEASED_SHARE)?.age(LEASED_FOR)?;
    let layer = match company {
        "leased" => RateLimitLayer::new(policies, store.leased(leases)),
        _ => RateLimitLayer::new(policies, store),
    };
    let layer = layer.on_store_failure(StoreFailure::local(SHARE)?);
    let service = layer.layer(service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let identity = Identity::new(company.parse()?, Environment::Live, ScopeSet::new());
    let (answered, mut calls) = mpsc::unbounded_channel();
    let mut ticks = tokio::time::interval(TICK);
    let ticks_in_all = time.as_millis() / TICK.as_millis();
    for _ in 0..ticks_in_all {
        ticks.tick().await;
        for _ in 0..u128::from(OFFERED) * TICK.as_millis() / 1000 {
            let (service, answered) = (service.clone(), answered.clone());
            let (request, context) = request(identity.clone())?;
            tokio::spawn(async move {
                let asked = tally::now();
                let Ok(answer) = service.oneshot(request).await;
                let call = Call {
                    asked,
                    answered: tally::now(),
                    kind: kind(answer.status().as_u16(), &context),
                };
                // Somebody listens until all calls are answered.
                let _ = answered.send(call);
            });
        }
    }
    drop(answered);
    let mut all = Vec::new();
    while let Some(call) = calls.recv().await {
        all.push(call);
    }
    Ok(all)
}

/// A request as the layers outside leave it.
fn request(identity: Identity) -> Result<(Request<Full<Bytes>>, AccessContext)> {
    let mut request = Request::new(Full::default());
    let context = Edge::default()
        .enter(&mut request)
        .context(&request)
        .clone();
    context.identify(identity)?;
    Ok((request, context))
}

fn kind(status: u16, context: &AccessContext) -> Kind {
    let alone = context.limit().is_some_and(|note| note.fallback);
    match (status, alone) {
        (200, false) => Kind::Admitted,
        (429, false) => Kind::Refused,
        (200, true) => Kind::AdmittedHere,
        (429, true) => Kind::RefusedHere,
        _ => Kind::Failed,
    }
}

const TICK: Duration = Duration::from_millis(4);
