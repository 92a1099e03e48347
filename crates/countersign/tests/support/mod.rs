//! A stack with a key, and the requests and events of it.

mod key;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use countersign::{
    AuditSink, AuditWriter, Builder, Contract, Countersign, Dimension, Endpoint, KeyStore,
    MemoryBackend, MemoryKeyStore, MemoryLog, PeerAddr, Policies, Policy, Quota,
};
use http::Request;
use serde_json::Value;

use self::key::key;

/// Its contract has `/accounts` and `/v1/accounts`.
pub(crate) struct World {
    pub(crate) stack: Countersign,
    key: String,
    log: MemoryLog,
    sink: AuditSink,
    _writer: AuditWriter,
}

type Ready = Builder<Contract, Arc<dyn KeyStore>, Policies, AuditSink>;

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|stack| stack).await
    }

    pub(crate) async fn with(change: impl FnOnce(Ready) -> Ready) -> Self {
        let store = Arc::new(MemoryKeyStore::default());
        let key = key(&store).await;
        let (backend, log) = MemoryBackend::new();
        let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
        let quota = Quota::per_second(100, 100);
        let stack = Countersign::builder()
            .contract(contract())
            .key_store(store)
            .limits(Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap())
            .audit(sink.clone());
        let stack = change(stack).build().unwrap();
        Self {
            stack,
            key,
            log,
            sink,
            _writer: writer,
        }
    }

    /// A request of the company's, as a server hands it on.
    pub(crate) fn request(&self, path: &str) -> Request<Body> {
        let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        Request::get(path)
            .header("host", "api.example.com")
            .header("x-api-key", &self.key)
            .extension(PeerAddr(peer))
            .body(Body::empty())
            .unwrap()
    }

    pub(crate) async fn events(&self) -> Vec<Value> {
        self.sink.flush().await.unwrap();
        let lines = self.log.lines();
        let events = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        events.collect()
    }
}

fn contract() -> Contract {
    let scope = "accounts:read".parse().unwrap();
    Contract::builder()
        .endpoint(Endpoint::get("/accounts").scope(scope))
        .endpoint(Endpoint::get("/v1/accounts").scope(scope))
        .build()
        .unwrap()
}
