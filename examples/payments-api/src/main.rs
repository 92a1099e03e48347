//! A payments API that outside companies may call, with countersign in front of it, and beside it,
//! in the same process and with data of its own, its sandbox. Start it, paste the lines it prints,
//! then copy this file into a service of your own.

mod args;
mod contract;
mod data;
mod demo;
mod handlers;
mod stop;

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clap::Parser;
use countersign::{
    AuditSink, Builder, Contract, Countersign, FileLog, KeyManager, KeyStore, Policies,
};
use tokio::net::TcpListener;

use crate::args::Args;
use crate::data::Data;
use crate::handlers::App;
use crate::stop::Stop;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    std::fs::create_dir_all(&args.data)?;

    // The three things that countersign asks of a service: keys, a contract, an audit log.
    let keys: Arc<dyn KeyStore> = args.locator()?.open().await?;
    let (audit, writer) = AuditSink::builder(FileLog::open(args.data.join("audit"))?).spawn()?;
    let contract = contract::contract()?;
    // A stack for each environment: a key of the one is refused by the other.
    let live = stack(&contract, &keys, &audit)?.build()?;
    let sandbox = stack(&contract, &keys, &audit)?.sandbox().build()?;

    // Changes of keys take effect here at once, those of other processes too, and are told to the
    // audit log.
    let changes = [live.follow_changes()?, sandbox.follow_changes()?];
    let manager = KeyManager::builder(Arc::clone(&keys))
        .brand("acme")
        .known_scopes(contract.scopes())
        .evict_from(live.key_cache())
        .evict_from(sandbox.key_cache())
        .build()?;
    let outbox = live.drain_outbox(Arc::clone(&keys));
    // When and for what keys are used, for `countersign review`.
    let uses = [live.track_uses()?, sandbox.track_uses()?];

    let live_data = Data::open(&args.data.join("payments.db"))?;
    let sandbox_data = Data::open(&args.data.join("sandbox.db"))?;
    let demo_keys = demo::seed([&live_data, &sandbox_data], &keys, &manager).await?;
    let routes = |data| handlers::external(App { data }, manager.clone());

    let production = TcpListener::bind(args.listen).await?;
    let trial = TcpListener::bind(args.sandbox_listen).await?;
    let internal = TcpListener::bind(args.internal_listen).await?;
    let addresses = [production.local_addr()?, trial.local_addr()?];
    match &args.demo_keys {
        Some(path) => demo::write(&demo_keys, path)?,
        None => demo::print(&demo_keys, addresses[0], Some(addresses[1]))?,
    }
    let stop = Stop::on_signal()?;
    announce(addresses)?;

    // One layer around the whole external API, and none around the internal one.
    tokio::try_join!(
        serve(&stop, production, routes(live_data)?.layer(live)),
        serve(&stop, trial, routes(sandbox_data)?.layer(sandbox)),
        serve(&stop, internal, handlers::internal()),
    )?;

    for uses in uses {
        uses.shutdown().await;
    }
    for changes in changes {
        changes.shutdown().await;
    }
    outbox.shutdown().await;
    let report = writer.shutdown(Duration::from_secs(10)).await;
    tracing::info!(?report, "the audit log is closed");
    Ok(())
}

type Complete = Builder<Contract, Arc<dyn KeyStore>, Policies, AuditSink>;

/// What is the same in both environments. Limits and caches are each stack's own.
fn stack(
    contract: &Contract,
    keys: &Arc<dyn KeyStore>,
    audit: &AuditSink,
) -> Result<Complete, Box<dyn Error>> {
    Ok(Countersign::builder()
        .contract(contract.clone())
        .key_store(Arc::clone(keys))
        .limits(contract::policies()?)
        .audit(audit.clone())
        .claim_query("company_id")
        .claim_header("x-company-id".parse()?)
        .claim_json("/company_id".parse()?))
}

/// Serves until the process is told to stop; requests in flight are answered first, those that end in
/// time: who holds back the rest of a request does not keep the process.
async fn serve(stop: &Stop, listener: TcpListener, routes: Router) -> std::io::Result<()> {
    // The peer's address is what failed authentications are counted by.
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop.clone().told());
    tokio::select! {
        ended = served.into_future() => ended,
        () = stop.clone().out_of_patience() => Ok(()),
    }
}

fn announce([production, sandbox]: [SocketAddr; 2]) -> std::io::Result<()> {
    // In one piece: whoever waits for the first line alone may be gone before a second write.
    let lines = format!("listening on {production}\nsandbox on {sandbox}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes())?;
    out.flush()
}
