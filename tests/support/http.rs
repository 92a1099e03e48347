//! A client that sends exactly the bytes it is given.
#![allow(
    unreachable_pub,
    reason = "each test takes it in as a module of its own"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    /// The whole answer as text, to search it.
    pub fn text(&self) -> String {
        format!("{:?}{}", self.headers, String::from_utf8_lossy(&self.body))
    }
}

/// Sends `bytes` on a connection of its own and reads one answer.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    // The answer to a HEAD announces a body and has none.
    let reading = read_answer(&mut stream, !bytes.starts_with(b"HEAD "));
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .expect("the server answers")
}

/// A request with `Host` and `Connection: close`, the given fields and body.
pub fn request(method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text =
        format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

async fn read_answer(stream: &mut TcpStream, has_body: bool) -> Answer {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "the connection ended before an answer: {bytes:?}");
        bytes.extend_from_slice(&chunk[..read]);
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = bytes[head + 4..].to_vec();
    let announced = headers.get("content-length").filter(|_| has_body);
    let length: usize = announced.map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "the body ended early");
        body.extend_from_slice(&chunk[..read]);
    }
    Answer {
        status: status.parse().unwrap(),
        headers,
        body,
    }
}
