//! The built program, running.
#![allow(dead_code, reason = "each test uses a part")]

#[path = "../../../../tests/support/http.rs"]
#[allow(dead_code, missing_docs, reason = "shared with the whole-stack tests")]
pub(crate) mod http;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

pub(crate) use self::http::{Answer, exchange, request};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) sandbox: SocketAddr,
    pub(crate) keys: Value,
    pub(crate) directory: TempDir,
}

impl Service {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("keys.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_payments-api"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--internal-listen",
                "127.0.0.1:0",
            ])
            .arg("--data")
            .arg(directory.path().join("data"))
            .arg("--demo-keys")
            .arg(&keys)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |name: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(name).expect(&line).parse().unwrap()
        };
        Self {
            address: address("listening on "),
            sandbox: address("sandbox on "),
            keys: serde_json::from_str(&std::fs::read_to_string(keys).unwrap()).unwrap(),
            child,
            directory,
        }
    }

    pub(crate) fn key(&self, company: &str, kind: &str) -> &str {
        self.keys[company][kind].as_str().unwrap()
    }

    pub(crate) async fn call(&self, key: &str, method: &str, target: &str, body: &Value) -> Answer {
        self.call_with(key, method, target, &[], body).await
    }

    pub(crate) async fn call_with(
        &self,
        key: &str,
        method: &str,
        target: &str,
        more: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut fields = vec![("x-api-key", key)];
        fields.extend_from_slice(more);
        let body = if body.is_null() {
            String::new()
        } else {
            fields.push(("content-type", "application/json"));
            body.to_string()
        };
        exchange(self.address, &request(method, target, &fields, &body)).await
    }

    /// Stops the service as an operator would, and returns what it logged.
    pub(crate) fn stop(&mut self) -> String {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        assert!(self.ended().success(), "an orderly end");
        let mut log = String::new();
        let mut err = self.child.stderr.take().unwrap();
        err.read_to_string(&mut log).unwrap();
        log
    }

    /// How it ended. One that goes on is killed in the end, so that no test waits for ever.
    fn ended(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let (ended, end) = mpsc::channel::<()>();
        let watch = std::thread::spawn(move || {
            if end.recv_timeout(LONG) == Err(RecvTimeoutError::Timeout) {
                Command::new("kill").args(["-KILL", &id]).status().unwrap();
            }
        });
        let status = self.child.wait().unwrap();
        drop(ended);
        watch.join().unwrap();
        status
    }

    pub(crate) fn audit(&self) -> Vec<Value> {
        let directory = self.directory.path().join("data/audit/segments");
        let mut events = Vec::new();
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|e| e == "jsonl") {
                let text = std::fs::read_to_string(path).unwrap();
                events.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
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

/// The id of a key, as its company learns it from the audit of its own call.
pub(crate) async fn key_id(service: &mut Service, key: &str) -> String {
    let answer = service
        .call(key, "GET", "/external/v1/banks", &Value::Null)
        .await;
    let id = answer.header("x-request-id").unwrap().to_owned();
    for _ in 0..500 {
        let events = service.audit();
        if let Some(event) = events.iter().find(|event| event["request_id"] == *id) {
            return event["key_id"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the call is not in the audit log");
}

const LONG: Duration = Duration::from_secs(40);
