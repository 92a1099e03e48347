//! The payments API over gRPC, with the data and the keys of payments-api. In production it serves
//! gRPC, gRPC-Web and HTTP on one port; beside it, in the same process and with data of its own, a
//! sandbox serves gRPC to sandbox keys. Start it, paste the lines it prints, then copy this file
//! into a service of your own.

mod args;
mod keys;
mod service;

// What is the same over HTTP.
#[path = "../../payments-api/src/contract.rs"]
mod contract;
#[path = "../../payments-api/src/data.rs"]
mod data;
#[path = "../../payments-api/src/demo.rs"]
mod demo;
#[path = "../../payments-api/src/handlers/mod.rs"]
#[allow(dead_code, reason = "the internal routes are payments-api's alone")]
mod handlers;
#[path = "../../payments-api/src/stop.rs"]
mod stop;

/// What the build made of `payments/v1/payments.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod proto {
    tonic::include_proto!("payments.v1");

    pub(crate) const DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/payments.v1.bin"));
}

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clap::Parser;
use countersign::{
    AuditSink, Builder, ConfigError, Contract, Countersign, Dimension, FileLog, KeyManager,
    KeyStore, Policies, Policy, Quota,
};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_web::GrpcWebLayer;
use tower_layer::Layer;

use crate::args::Args;
use crate::data::Data;
use crate::handlers::App;
use crate::proto::payments_server::PaymentsServer;
use crate::service::PaymentsService;
use crate::stop::Stop;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    std::fs::create_dir_all(&args.data)?;

    let store: Arc<dyn KeyStore> = args.locator()?.open().await?;
    // A log of its own: each has one writer.
    let log = FileLog::open(args.data.join("audit-grpc"))?;
    let (audit, writer) = AuditSink::builder(log).spawn()?;

    // A stack for each environment: a key of the one is refused by the other.
    let http = contract::contract()?;
    let live = stack(both(&http)?, &store, &audit, |live| live)?;
    let sandbox = stack(calls()?, &store, &audit, Builder::sandbox)?;
    let changes = [live.follow_changes()?, sandbox.follow_changes()?];
    let outbox = live.drain_outbox(Arc::clone(&store));

    let manager = KeyManager::builder(Arc::clone(&store))
        .brand("acme")
        .known_scopes(http.scopes())
        .evict_from(live.key_cache())
        .evict_from(sandbox.key_cache())
        .build()?;
    let live_data = Data::open(&args.data.join("payments.db"))?;
    let sandbox_data = Data::open(&args.data.join("sandbox.db"))?;
    let keys = demo::seed([&live_data, &sandbox_data], &store, &manager).await?;

    let production = TcpListener::bind(args.listen).await?;
    let trial = TcpListener::bind(args.sandbox_listen).await?;
    let addresses = [production.local_addr()?, trial.local_addr()?];
    match &args.demo_keys {
        Some(path) => demo::write(&keys, path)?,
        None => keys::print(&keys, addresses)?,
    }
    let stop = Stop::on_signal()?;
    announce(addresses)?;

    let app = App { data: live_data };
    tokio::try_join!(
        serve_one_port(&stop, production, one_port(app, manager)?.layer(live)),
        serve_grpc(
            &stop,
            trial,
            PaymentsService { data: sandbox_data },
            sandbox
        ),
    )?;

    for follower in changes {
        follower.shutdown().await;
    }
    outbox.shutdown().await;
    let report = writer.shutdown(Duration::from_secs(10)).await;
    tracing::info!(?report, "the audit log is closed");
    Ok(())
}

/// What production opens: HTTP and gRPC.
fn both(http: &Contract) -> Result<Contract, ConfigError> {
    Contract::builder()
        .endpoints(http.endpoints().cloned())
        .descriptor_set(proto::DESCRIPTOR_SET)?
        .build()
}

/// What the sandbox opens: gRPC.
fn calls() -> Result<Contract, ConfigError> {
    Contract::builder()
        .descriptor_set(proto::DESCRIPTOR_SET)?
        .build()
}

type Complete = Builder<Contract, Arc<dyn KeyStore>, Policies, AuditSink>;

fn stack(
    contract: Contract,
    store: &Arc<dyn KeyStore>,
    audit: &AuditSink,
    environment: impl FnOnce(Complete) -> Complete,
) -> Result<Countersign, Box<dyn Error>> {
    let stack = Countersign::builder()
        .contract(contract)
        .key_store(Arc::clone(store))
        .limits(contract::policies()?)
        .limit_messages(messages()?)
        .audit(audit.clone())
        .claim_query("company_id")
        .claim_header("x-company-id".parse()?)
        .claim_json("/company_id".parse()?);
    Ok(environment(stack).build()?)
}

/// What a caller may send within its calls: 200 messages at once and 50 a second for a key.
fn messages() -> Result<Policies, ConfigError> {
    let quota = Quota::per_second(200, 50)?;
    Policies::new([Policy::new("messages", Dimension::Key, quota)])
}

/// HTTP, gRPC and gRPC-Web on one port, all behind one layer. Once the process is told to stop, what is
/// in flight is answered, as far as it ends in time.
async fn serve_one_port(
    stop: &Stop,
    listener: TcpListener,
    routes: Router,
) -> Result<(), Box<dyn Error>> {
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop.clone().told());
    tokio::select! {
        ended = served.into_future() => Ok(ended?),
        () = stop.clone().out_of_patience() => Ok(()),
    }
}

fn one_port(app: App, keys: KeyManager) -> Result<Router, ConfigError> {
    let service = PaymentsService {
        data: app.data.clone(),
    };
    // gRPC-Web is taken apart inside the stack, so that the stack sees what the caller sent.
    let calls = GrpcWebLayer::new().layer(PaymentsServer::new(service));
    Ok(handlers::external(app, keys)?.merge(Routes::new(calls).into_axum_router()))
}

/// gRPC on a server of tonic's own.
async fn serve_grpc(
    stop: &Stop,
    listener: TcpListener,
    service: PaymentsService,
    stack: Countersign,
) -> Result<(), Box<dyn Error>> {
    let served = Server::builder()
        .layer(stack)
        .add_service(PaymentsServer::new(service))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), stop.clone().told());
    tokio::select! {
        ended = served => Ok(ended?),
        () = stop.clone().out_of_patience() => Ok(()),
    }
}

fn announce([production, sandbox]: [SocketAddr; 2]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "sandbox on {sandbox}")?;
    writeln!(out, "listening on {production}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use countersign::{Endpoint, MemoryKeyStore, routes};

    use super::*;

    fn app() -> App {
        let data = Data::open(":memory:".as_ref()).unwrap();
        App { data }
    }

    fn told(router: &Router, contract: &Contract) -> Vec<String> {
        let found = routes::differences_with_services(router, contract, proto::DESCRIPTOR_SET);
        found.unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn both_servers_answer_what_their_contracts_open_and_nothing_else() {
        let http = contract::contract().unwrap();
        let both = both(&http).unwrap();
        let keys = KeyManager::builder(MemoryKeyStore::default()).build();
        let production = one_port(app(), keys.unwrap()).unwrap();
        routes::assert_same_with_services(&production, &both, proto::DESCRIPTOR_SET);
        let service = PaymentsService { data: app().data };
        let sandbox = Routes::new(PaymentsServer::new(service)).into_axum_router();
        let calls = calls().unwrap();
        routes::assert_same_with_services(&sandbox, &calls, proto::DESCRIPTOR_SET);
    }

    #[test]
    fn a_method_that_only_one_of_both_knows_is_told() {
        let calls = calls().unwrap();
        let all = || calls.endpoints().cloned();
        let build = |builder: countersign::ContractBuilder| builder.build().unwrap();
        let service = PaymentsService { data: app().data };
        let server = Routes::new(PaymentsServer::new(service)).into_axum_router();

        let create = "/payments.v1.Payments/CreatePayment";
        let fewer = all().filter(|endpoint| endpoint.template() != create);
        let fewer = build(Contract::builder().endpoints(fewer));
        assert_eq!(
            told(&server, &fewer),
            [format!(
                "POST {create}: the router has it, and not the contract"
            )]
        );

        let refund = Endpoint::grpc("/payments.v1.Payments/Refund");
        let refund = refund.scope("payments:create".parse().unwrap());
        let more = build(Contract::builder().endpoints(all()).endpoint(refund));
        assert_eq!(
            told(&server, &more),
            ["POST /payments.v1.Payments/Refund: the contract has it, and not the router"]
        );

        // The service is not added to the server at all.
        assert_eq!(
            told(&Router::new(), &calls).len(),
            calls.endpoints().count()
        );
    }
}
