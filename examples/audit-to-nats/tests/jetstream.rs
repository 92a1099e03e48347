//! Against a server of its own. `cargo xtask test` installs `nats-server` where it is missing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use audit_to_nats::JetStream;
use countersign::{AuditEvent, AuditSink, FileLog, LifecycleEvent, LifecycleKind, LogShipper};
use serde_json::json;

/// A server with a stream store in `directory`; it ends with the value.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(directory: &Path, port: u16) -> Self {
        let port = port.to_string();
        let program = std::env::var_os("COUNTERSIGN_TEST_NATS_SERVER");
        let child = Command::new(program.unwrap_or_else(|| "nats-server".into()))
            .args(["--jetstream", "--addr", "127.0.0.1", "--port", &port])
            .arg("--store_dir")
            .arg(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("COUNTERSIGN_TEST_NATS_SERVER is the program nats-server, or it is installed");
        let address = format!("127.0.0.1:{port}");
        Self { child, address }
    }

    async fn broker(&self) -> JetStream {
        for _ in 0..200 {
            if let Ok(broker) = JetStream::connect(&self.address, "audit").await {
                return broker;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server does not answer");
    }

    async fn messages(&self) -> Vec<String> {
        let client = async_nats::connect(&self.address).await.unwrap();
        let stream = jetstream::new(client).get_stream("audit").await.unwrap();
        let mut all = Vec::new();
        for number in 1..=stream.get_info().await.unwrap().state.messages {
            let message = stream.get_raw_message(number).await.unwrap();
            all.push(String::from_utf8(message.payload.to_vec()).unwrap());
        }
        all
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn write(log: &PathBuf, from: usize, to: usize) {
    let (sink, writer) = AuditSink::builder(FileLog::open(log).unwrap())
        .spawn()
        .unwrap();
    for number in from..to {
        let event: LifecycleEvent = serde_json::from_value(json!({
            "id": format!("01J00000000000000000000{number:03}"),
            "time": "2026-09-21T14:13:20.000000Z",
            "kind": LifecycleKind::CompanySuspended,
            "actor_type": "operator",
            "actor": "ada",
            "company": "company_12",
        }))
        .unwrap();
        sink.append_durable(AuditEvent::from(event)).await.unwrap();
    }
    assert_eq!(writer.shutdown(Duration::from_secs(10)).await.lost, 0);
}

fn lines(log: &Path) -> Vec<String> {
    let segment = log.join("segments/00000000000000000000.jsonl");
    let text = std::fs::read_to_string(segment).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn every_event_is_in_the_stream_once_also_when_it_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let (log, store) = (directory.path().join("log"), directory.path().join("nats"));
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let server = Server::start(&store, port);
    let position = directory.path().join("position");
    write(&log, 0, 40).await;
    let mut shipper = LogShipper::open(&log, &position, server.broker().await)
        .unwrap()
        .batch(16);
    assert_eq!(shipper.ship().await.unwrap(), 42, "with start and stop");
    assert_eq!(server.messages().await, lines(&log));

    // The position is lost: all of it comes again, and the stream knows it.
    std::fs::remove_file(&position).unwrap();
    let mut again = LogShipper::open(&log, &position, server.broker().await).unwrap();
    assert_eq!(again.ship().await.unwrap(), 42);
    assert_eq!(server.messages().await, lines(&log));

    // The server is away, and comes back with what it had.
    drop(server);
    write(&log, 40, 60).await;
    again.ship().await.unwrap_err();
    assert_eq!(again.position(), 42);
    let server = Server::start(&store, port);
    drop(server.broker().await);
    let mut later = LogShipper::open(&log, &position, server.broker().await).unwrap();
    assert_eq!(later.ship().await.unwrap(), 22);
    assert_eq!(server.messages().await, lines(&log));
}
