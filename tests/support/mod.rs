//! A service behind the whole stack, on a real socket, with a clock that a test moves.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses a part of it"
)]

pub mod http;
pub mod keys;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Path;
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign::{
    AuditSink, AuditWriter, Builder, CompanyScope, Contract, Countersign, Denial, Dimension, Edge,
    Endpoint, KeyStore, ManualClock, MemoryBackend, MemoryKeyStore, MemoryLog, Policies, Policy,
    Quota, Reason,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use self::http::{Answer, exchange, request};
pub use self::keys::Keys;

/// The stack with everything given that must be.
pub type Ready = Builder<Contract, Arc<dyn KeyStore>, Policies, AuditSink>;

pub struct Server {
    pub address: SocketAddr,
    pub clock: ManualClock,
    pub store: Arc<MemoryKeyStore>,
    pub keys: Keys,
    pub log: MemoryLog,
    pub sink: AuditSink,
    handled: Arc<AtomicUsize>,
    _writer: AuditWriter,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(generous(), |stack| stack).await
    }

    /// A server whose stack a test changes.
    pub async fn with(policies: Policies, change: impl FnOnce(Ready) -> Ready) -> Self {
        Self::serve(policies, change, true).await
    }

    pub async fn serve(
        policies: Policies,
        change: impl FnOnce(Ready) -> Ready,
        tells_peer: bool,
    ) -> Self {
        let clock = ManualClock::default();
        let store = Arc::new(MemoryKeyStore::default());
        let keys = Keys::store(&store, &clock).await;
        let (backend, log) = MemoryBackend::new();
        let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
        let stack = Countersign::builder()
            .contract(contract())
            .key_store(Arc::clone(&store))
            .limits(policies)
            .audit(sink.clone())
            .edge(Edge::builder().clock(clock.clone()).build())
            .claim_path("company_id")
            .claim_query("company_id")
            .claim_header(axum::http::HeaderName::from_static("x-company-id"))
            .claim_json("/company_id".parse().unwrap());
        let stack = change(stack).build().unwrap();
        let handled = Arc::new(AtomicUsize::new(0));
        let app = routes(&handled).layer(stack);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            if tells_peer {
                let service = app.into_make_service_with_connect_info::<SocketAddr>();
                axum::serve(listener, service).await
            } else {
                axum::serve(listener, app).await
            }
        });
        Self {
            address,
            clock,
            store,
            keys,
            log,
            sink,
            handled,
            _writer: writer,
        }
    }

    /// How often a handler ran.
    pub fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }

    pub async fn send(&self, bytes: &[u8]) -> Answer {
        exchange(self.address, bytes).await
    }

    pub async fn get(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(&request("GET", target, fields, "")).await
    }

    /// The audit events of one request, in their order.
    pub async fn events(&self, answer: &Answer) -> Vec<Value> {
        let id = answer
            .header("x-request-id")
            .expect("every answer has an id");
        self.flush().await;
        let lines = self.log.lines();
        let events = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        events
            .filter(|event: &Value| event["request_id"] == id)
            .collect()
    }

    /// All audit lines so far.
    pub async fn lines(&self) -> Vec<String> {
        self.flush().await;
        self.log.lines()
    }

    async fn flush(&self) {
        // The outcome is queued as the answer leaves; a moment may pass before it is in the queue.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.sink.flush().await.unwrap();
        }
    }
}

/// Limits that no test reaches by accident.
pub fn generous() -> Policies {
    let quota = |burst| Quota::per_second(burst, burst).unwrap();
    Policies::new([
        Policy::new("key", Dimension::Key, quota(10_000)),
        Policy::new("company", Dimension::Company, quota(20_000)),
    ])
    .unwrap()
}

/// One policy, spent by its first request.
pub fn once(dimension: Dimension) -> Policies {
    let quota = Quota::per_minute(1, 1).unwrap();
    Policies::new([Policy::new("tight", dimension, quota)]).unwrap()
}

pub fn contract() -> Contract {
    let read = "accounts:read".parse().unwrap();
    let write = "payments:create".parse().unwrap();
    Contract::builder()
        .deny_unscoped()
        .endpoint(Endpoint::get("/external/v1/accounts").scope(read))
        .endpoint(Endpoint::get("/external/v1/accounts/{account_id}").scope(read))
        .endpoint(Endpoint::get("/external/v1/companies/{company_id}/accounts").scope(read))
        .endpoint(Endpoint::get("/external/v1/fails/{how}").scope(read))
        .endpoint(Endpoint::get("/external/v1/unscoped"))
        .endpoint(
            Endpoint::post("/external/v1/payments")
                .scope(write)
                .sensitive(),
        )
        .build()
        .unwrap()
}

fn routes(handled: &Arc<AtomicUsize>) -> Router {
    let count = {
        let handled = Arc::clone(handled);
        move || handled.fetch_add(1, Ordering::SeqCst)
    };
    let accounts = {
        let count = count.clone();
        move |scope: CompanyScope| async move {
            count();
            Json(json!({"data": {"company": scope.company().as_str()}}))
        }
    };
    let payments = {
        let count = count.clone();
        move |scope: CompanyScope, body: String| async move {
            count();
            Json(json!({"data": {"company": scope.company().as_str(), "length": body.len()}}))
        }
    };
    let fails = {
        let count = count.clone();
        move |Path(how): Path<String>| async move {
            count();
            fail(&how)
        }
    };
    let uncounted = move || async move {
        count();
        "reached"
    };
    Router::new()
        .route("/external/v1/accounts", get(accounts.clone()))
        .route("/external/v1/accounts/{account_id}", get(fails_as_foreign))
        .route("/external/v1/accounts/internal", get(uncounted.clone()))
        .route(
            "/external/v1/companies/{company_id}/accounts",
            get(accounts),
        )
        .route("/external/v1/fails/{how}", get(fails))
        .route("/external/v1/unscoped", get(uncounted.clone()))
        .route("/external/v1/payments", post(payments))
        .route("/internal/v1/health", get(uncounted))
}

async fn fails_as_foreign() -> Denial {
    Denial::not_found()
}

fn fail(how: &str) -> Result<(), Denial> {
    match how {
        "panic" => panic!("a handler's own fault"),
        "validation" => Err(Denial::validation("No.").with_detail("field", "x")),
        "missing" => Err(Denial::not_found()),
        "abuse" => Err(Reason::AbuseDenied.into()),
        _ => Err(Reason::HandlerFailed.into()),
    }
}
