//! The built program, running.
#![allow(dead_code, reason = "each test uses a part")]

#[path = "../../../../tests/support/http.rs"]
#[allow(dead_code, missing_docs, reason = "shared with the whole-stack tests")]
pub(crate) mod http;
pub(crate) mod raw;
pub(crate) mod web;

/// What the build made of `payments/v1/payments.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub(crate) mod proto {
    tonic::include_proto!("payments.v1");
}

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tonic::Request;
use tonic::transport::Channel;

use self::proto::payments_client::PaymentsClient;

pub(crate) struct Service {
    child: Child,
    pub(crate) production: SocketAddr,
    pub(crate) sandbox: SocketAddr,
    keys: Value,
    pub(crate) directory: TempDir,
}

impl Service {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("keys.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_payments-grpc"))
            .args(["--listen", "127.0.0.1:0", "--sandbox-listen", "127.0.0.1:0"])
            .arg("--data")
            .arg(directory.path().join("data"))
            .arg("--demo-keys")
            .arg(&keys)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |name: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(name).expect(&line).parse().unwrap()
        };
        Self {
            sandbox: address("sandbox on "),
            production: address("listening on "),
            keys: serde_json::from_str(&std::fs::read_to_string(keys).unwrap()).unwrap(),
            child,
            directory,
        }
    }

    pub(crate) fn key(&self, company: &str, kind: &str) -> &str {
        self.keys[company][kind].as_str().unwrap()
    }

    pub(crate) async fn client(&self, address: SocketAddr) -> PaymentsClient<Channel> {
        PaymentsClient::connect(format!("http://{address}"))
            .await
            .unwrap()
    }

    /// The one event of this request, once it is written.
    pub(crate) async fn event(&self, request_id: &str) -> Value {
        let is_its = |event: &Value| {
            event["request_id"] == request_id && event["type"] != "external_api.request.intent"
        };
        self.wait_for(is_its).await
    }

    /// The last event for which `is_it` holds, once there is one.
    pub(crate) async fn wait_for(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..500 {
            if let Some(event) = self.audit().into_iter().rev().find(&is_it) {
                return event;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no such event in the audit log");
    }

    pub(crate) fn audit(&self) -> Vec<Value> {
        let directory = self.directory.path().join("data/audit-grpc/segments");
        let mut events = Vec::new();
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|e| e == "jsonl") {
                let text = std::fs::read_to_string(path).unwrap();
                // A line that is being written is not one yet.
                let lines = text.lines().map(serde_json::from_str::<Value>);
                events.extend(lines.filter_map(Result::ok));
            }
        }
        events.sort_by_key(|event: &Value| event["seq"].as_u64());
        events
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended already where the test stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `message` with a key.
pub(crate) fn with_key<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("x-api-key", key.parse().unwrap());
    request
}
