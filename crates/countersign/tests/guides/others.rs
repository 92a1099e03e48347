//! The other guides.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use countersign::leak_test::{LeakTest, TestCompany};
use countersign::postgres::PostgresOptions;
use countersign::postgres::audit::PostgresLog;
use countersign::postgres::rls::{BindScope, Bound, RlsError, RowSecurity, Table};
use countersign::redis::{RedisChanges, RedisLimits, RedisOptions};
use countersign::{
    AuditLayer, AuditSink, CompanyScope, Contract, Countersign, Denial, EventBroker, FileAnchor,
    FileLog, FileSigner, KeyStore, LogShipper, MemoryKeyStore, Policies, SourceForm, SourceKey,
    StoreLocator,
};

type Done = Result<(), Box<dyn Error>>;

// docs/audit-log.md

fn a_log_in_a_directory() -> Done {
    let log = FileLog::options("/var/lib/payments/audit")
        .origin("example.com/payments/audit/node-1")
        .signing_key("/etc/payments/audit.key")
        .anchor(FileAnchor::new("/mnt/worm/node-1"), Duration::from_secs(60))
        .segment_age(Duration::from_secs(24 * 3600))
        .keep_for(Duration::from_secs(400 * 24 * 3600))
        .open()?;
    let (sink, writer) = AuditSink::builder(log).spawn()?;
    Ok(())
}

async fn a_log_in_postgres() -> Done {
    let options: PostgresOptions = "postgres://countersign_auditor@db.example.com/platform".parse()?;
    let log = PostgresLog::options(options)
        .origin("example.com/payments/audit")
        .signer(FileSigner::open("/etc/payments/audit.key")?)
        .open()
        .await?;
    let (sink, writer) = AuditSink::builder(log).spawn()?;
    Ok(())
}

fn ship(broker: impl EventBroker) -> Done {
    let shipper = LogShipper::open("/var/lib/payments/audit", "/var/lib/payments/audit.position", broker)?;
    tokio::spawn(shipper.run(Duration::from_secs(1)));
    Ok(())
}

fn hash_sources(sink: AuditSink) -> Done {
    let key = SourceKey::open("/etc/payments/source-2026-11.key")?;
    let audit = AuditLayer::new(sink).with_source_form(SourceForm::KeyedHash(key));
    Ok(())
}

// docs/contract.md

fn from_a_document() -> Done {
    let contract = countersign::openapi::OpenApi::read("openapi.yaml")?.contract()?;
    Ok(())
}

fn compared(external_routes: axum::Router, contract: Contract) {
    countersign::routes::assert_same(&external_routes, &contract);
}

// docs/isolation.md

async fn secured(client: &mut tokio_postgres::Client) -> Done {
    let security = RowSecurity::new([Table::new("payments").schema("bank"), Table::new("accounts").schema("bank")])?;
    println!("{}", security.migration());

    let problems = security.check(&client.transaction().await?).await?;
    assert!(problems.is_empty(), "{problems:?}");
    Ok(())
}

async fn payments(scope: CompanyScope, State(pool): State<Pool>) -> Result<Json<Vec<Payment>>, Failure> {
    let mut client = pool.get().await?;
    let mut tx = client.transaction().await?;
    let rows = scope.bind(&mut tx).await?;
    let payments = repository::payments(&rows).await?;
    tx.commit().await?;
    Ok(Json(payments))
}

async fn leaks(contract: Contract, router: axum::Router, [key_of_12, key_of_34]: [String; 2]) -> Done {
    let report = LeakTest::new(contract, router)
        .company(TestCompany::new("company_12".parse()?, key_of_12))
        .company(TestCompany::new("company_34".parse()?, key_of_34))
        .claim_query("company_id")
        .run()
        .await?;
    report.assert_clean();
    Ok(())
}

// docs/migrate.md

fn imported(keys: MemoryKeyStore, contract: Contract, limits: Policies, audit: AuditSink) -> Done {
    let stack = Countersign::builder()
        .key_store(keys)
        .accept_imported_keys()
        .redigest_on_use()
        .contract(contract)
        .limits(limits)
        .audit(audit)
        .build()?;
    Ok(())
}

// docs/postgres.md

async fn several_machines(contract: Contract, limits: Policies, audit: AuditSink) -> Done {
    let locator: StoreLocator = "postgres://countersign_writer@db.example.com/platform".parse()?;
    let keys = locator.open().await?;
    let stack = Countersign::builder().key_store(keys.clone())
        .contract(contract)
        .limits(limits)
        .audit(audit)
        .build()?;
    let changes = stack.follow_changes()?;
    let outbox = stack.drain_outbox(keys);
    changes.shutdown().await;
    outbox.shutdown().await;
    Ok(())
}

// docs/redis.md

fn fleet(keys: MemoryKeyStore, contract: Contract, policies: Policies, audit: AuditSink) -> Done {
    let limits = RedisLimits::start(RedisOptions::server("redis://limits.example.com:6379/0")?);
    let stack = Countersign::builder().limit_store(limits)
        .key_store(keys)
        .contract(contract)
        .limits(policies)
        .audit(audit)
        .build()?;
    Ok(())
}

fn announced(address: &str, my_store: MemoryKeyStore) -> Done {
    let changes = RedisChanges::start(RedisOptions::server(address)?);
    let store = changes.announce(my_store);
    Ok(())
}

// In the place of what a user has.

#[derive(Clone)]
struct Pool;

impl Pool {
    async fn get(&self) -> Result<tokio_postgres::Client, Denial> {
        Err(Denial::not_found())
    }
}

#[derive(serde::Serialize)]
struct Payment;

mod repository {
    use super::{Bound, Payment, RlsError};

    pub(super) async fn payments(_: &Bound<'_, '_>) -> Result<Vec<Payment>, RlsError> {
        Ok(Vec::new())
    }
}

struct Failure(Denial);

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        Self(denial)
    }
}

impl From<RlsError> for Failure {
    fn from(_: RlsError) -> Self {
        Self(countersign::Reason::HandlerFailed.into())
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(_: tokio_postgres::Error) -> Self {
        Self(countersign::Reason::HandlerFailed.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

/// It is a handler: axum takes it.
fn routed() -> axum::Router<Pool> {
    axum::Router::new().route("/payments", axum::routing::get(payments))
}
