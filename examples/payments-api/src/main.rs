//! A payments API that outside companies may call, with countersign in front of it. Start it,
//! paste the lines it prints, then copy this file into a service of your own.

mod args;
mod contract;
mod data;
mod demo;
mod handlers;

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clap::Parser;
use countersign::{AuditSink, Countersign, FileLog, KeyManager, KeyStore};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;
use crate::data::Data;
use crate::handlers::App;

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
    let stack = Countersign::builder()
        .contract(contract.clone())
        .key_store(Arc::clone(&keys))
        .limits(contract::policies()?)
        .audit(audit)
        .claim_query("company_id")
        .claim_header("x-company-id".parse()?)
        .claim_json("/company_id".parse()?)
        .build()?;

    // Changes of keys take effect here at once, those of other processes too, and are told to the
    // audit log.
    let changes = stack.follow_changes()?;
    let manager = KeyManager::builder(Arc::clone(&keys))
        .brand("acme")
        .known_scopes(contract.scopes())
        .evict_from(stack.key_cache())
        .build()?;
    let outbox = stack.drain_outbox(Arc::clone(&keys));
    // When and for what keys are used, for `countersign review`.
    let uses = stack.track_uses()?;

    let data = Data::open(&args.data.join("payments.db"))?;
    let demo_keys = demo::seed(&data, &keys, &manager).await?;
    let app = App {
        data,
        keys: manager,
    };

    let external = TcpListener::bind(args.listen).await?;
    let internal = TcpListener::bind(args.internal_listen).await?;
    match &args.demo_keys {
        Some(path) => demo::write(&demo_keys, path)?,
        None => demo::print(&demo_keys, external.local_addr()?)?,
    }
    announce(external.local_addr()?)?;

    // One layer around the whole external API, and none around the internal one.
    let external = serve(external, handlers::external(app).layer(stack));
    let internal = serve(internal, handlers::internal());
    tokio::try_join!(external, internal)?;

    uses.shutdown().await;
    changes.shutdown().await;
    outbox.shutdown().await;
    let report = writer.shutdown(Duration::from_secs(10)).await;
    tracing::info!(?report, "the audit log is closed");
    Ok(())
}

/// Serves until the process is told to stop; requests in flight are answered first.
async fn serve(listener: TcpListener, routes: Router) -> std::io::Result<()> {
    // The peer's address is what failed authentications are counted by.
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(stopped())
        .await
}

async fn stopped() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn announce(address: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on {address}")?;
    out.flush()
}
