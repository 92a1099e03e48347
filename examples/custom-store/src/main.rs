//! An orders API behind countersign, with its keys in the platform's own database.
//!
//! `cargo run -p custom-store [DIRECTORY [ADDRESS]]`, then paste the lines that it prints.

// As the payments API ends.
#[path = "../../payments-api/src/stop.rs"]
mod stop;

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign::{
    Actor, AuditSink, Clock, CompanyId, CompanyScope, Contract, Countersign, Dimension, Endpoint,
    Environment, FileLog, IssueRequest, KeyManager, KeyStore, ManageError, Policies, Policy, Quota,
    ScopeSet, SystemClock,
};
use custom_store::PartnerKeyStore;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::stop::Stop;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args().skip(1);
    let data: PathBuf = arguments
        .next()
        .map_or("custom-store-data".into(), Into::into);
    let address = arguments.next().unwrap_or("127.0.0.1:8090".to_owned());
    std::fs::create_dir_all(&data)?;

    // The store is handed over here, and nowhere else is anything different.
    let store: Arc<dyn KeyStore> = Arc::new(PartnerKeyStore::open(data.join("platform.db"))?);
    let (audit, writer) = AuditSink::builder(FileLog::open(data.join("audit"))?).spawn()?;
    let contract = Contract::builder()
        .endpoint(Endpoint::get("/external/v1/orders").scope("orders:read".parse()?))
        .build()?;
    let limits = Policy::new("key", Dimension::Key, Quota::per_second(200, 50)?);
    let stack = Countersign::builder()
        .contract(contract.clone())
        .key_store(Arc::clone(&store))
        .limits(Policies::new([limits])?)
        .audit(audit)
        .build()?;

    // A store without a change feed: whoever changes keys must do it through a manager that evicts
    // from this cache, or the change is felt only after the staleness bound.
    let manager = KeyManager::builder(Arc::clone(&store))
        .brand("demo")
        .known_scopes(contract.scopes())
        .evict_from(stack.key_cache())
        .build()?;
    let outbox = stack.drain_outbox(store);

    let external = TcpListener::bind(&address).await?;
    let office = TcpListener::bind("127.0.0.1:0").await?;
    let stop = Stop::on_signal()?;
    introduce(&demo_key(&manager).await?, &external, &office)?;

    let orders = Router::new()
        .route("/external/v1/orders", get(orders))
        .layer(stack)
        .into_make_service_with_connect_info::<SocketAddr>();
    let office_routes = back_office(manager);
    let told = || stop.clone().told();
    let external = axum::serve(external, orders).with_graceful_shutdown(told());
    let office = axum::serve(office, office_routes).with_graceful_shutdown(told());
    tokio::select! {
        ended = async { tokio::try_join!(external, office) } => { ended?; }
        () = stop.clone().out_of_patience() => {}
    }

    outbox.shutdown().await;
    writer.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

/// What a partner may ask for. Whose orders they are is not asked: it is handed over.
async fn orders(scope: CompanyScope) -> Json<Value> {
    let partner = scope.company().to_string();
    Json(json!({"data": [{"id": "order_1", "partner": partner}]}))
}

/// What the platform's own people may do, on a listener that no partner reaches.
fn back_office(manager: KeyManager) -> Router {
    Router::new()
        .route("/partners/{id}/block", post(block))
        .route("/partners/{id}/unblock", post(unblock))
        .with_state(manager)
}

async fn block(State(manager): State<KeyManager>, Path(id): Path<String>) -> StatusCode {
    let (Ok(actor), Ok(partner)) = (Actor::operator("back office"), id.parse()) else {
        return StatusCode::BAD_REQUEST;
    };
    answer(&manager.suspend_company(&actor, partner).await)
}

async fn unblock(State(manager): State<KeyManager>, Path(id): Path<String>) -> StatusCode {
    let (Ok(actor), Ok(partner)) = (Actor::operator("back office"), id.parse()) else {
        return StatusCode::BAD_REQUEST;
    };
    answer(&manager.reactivate_company(&actor, partner).await)
}

fn answer<T>(done: &Result<T, ManageError>) -> StatusCode {
    match done {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(ManageError::NotFound) => StatusCode::NOT_FOUND,
        Err(ManageError::Store(_)) => StatusCode::SERVICE_UNAVAILABLE,
        Err(_) => StatusCode::CONFLICT,
    }
}

/// A partner and a key of its own. A real service never writes a raw key anywhere.
async fn demo_key(manager: &KeyManager) -> Result<String, Box<dyn Error>> {
    let (ada, partner): (_, CompanyId) = (Actor::operator("ada")?, "partner_7".parse()?);
    match manager.create_company(&ada, partner).await {
        Ok(_) | Err(ManageError::AlreadyExists) => {}
        Err(error) => return Err(error.into()),
    }
    let scopes = ScopeSet::from_names(["orders:read"])?;
    let tomorrow = SystemClock
        .now()
        .wall
        .saturating_add(Duration::from_secs(86_400));
    let request = IssueRequest::new(partner, Environment::Live, scopes, tomorrow);
    let issued = manager.issue(&ada, request.activate_now(true)).await?;
    Ok(issued.key.expose().to_string())
}

fn introduce(
    key: &str,
    external: &TcpListener,
    office: &TcpListener,
) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "export API=http://{}\nexport OFFICE=http://{}\nexport KEY={key}\n\n  \
         curl -i $API/external/v1/orders -H \"X-Api-Key: $KEY\"\n  \
         curl -i -X POST $OFFICE/partners/partner_7/block\n  \
         curl -i $API/external/v1/orders -H \"X-Api-Key: $KEY\"\n",
        external.local_addr()?,
        office.local_addr()?,
    )?;
    Ok(out.flush()?)
}
