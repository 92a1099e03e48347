//! A gRPC-Web client that takes its answers apart by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::request;

/// `application/grpc-web` or `application/grpc-web-text`, whose bodies are base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Binary,
    Text,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: BTreeMap<String, String>,
    pub(crate) messages: Vec<Vec<u8>>,
    /// What stood in the last frame of the body, where there was one.
    pub(crate) trailers: Option<BTreeMap<String, String>>,
}

impl Answer {
    /// Where a gRPC-Web client looks for the status: in the body's last frame, or in the head.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let trailer = self.trailers.as_ref().and_then(|fields| fields.get(name));
        trailer.or(self.head.get(name)).map(String::as_str)
    }

    /// The `google.rpc.Status` of the details, as text to search it.
    pub(crate) fn details(&self) -> String {
        let details = self.field("grpc-status-details-bin").unwrap();
        let unpadded = details.trim_end_matches('=');
        let details = base64::engine::general_purpose::STANDARD_NO_PAD.decode(unpadded);
        String::from_utf8_lossy(&details.unwrap()).into_owned()
    }

    pub(crate) fn message<M: Message + Default>(&self, at: usize) -> M {
        M::decode(&self.messages[at][..]).unwrap()
    }
}

/// Calls a method with these messages, and reads until the server closes.
pub(crate) async fn call<M: Message>(
    address: SocketAddr,
    form: Form,
    path: &str,
    key: &str,
    messages: &[M],
) -> Answer {
    let mut frames = Vec::new();
    for message in messages {
        frames.push(0);
        frames.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
        frames.extend(message.encode_to_vec());
    }
    let (kind, body) = match form {
        Form::Binary => ("application/grpc-web+proto", frames),
        Form::Text => (
            "application/grpc-web-text+proto",
            STANDARD.encode(frames).into_bytes(),
        ),
    };
    let length = body.len().to_string();
    let fields = [
        ("x-api-key", key),
        ("content-type", kind),
        ("accept", kind),
        ("x-grpc-web", "1"),
        ("content-length", &length),
    ];
    let mut sent = request("POST", path, &fields, "");
    sent.extend(body);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&sent).await.unwrap();
    let mut received = Vec::new();
    let reading = stream.read_to_end(&mut received);
    let ended = tokio::time::timeout(Duration::from_secs(20), reading).await;
    ended.expect("the server ends the answer").unwrap();
    parse(&received, kind, form)
}

fn parse(received: &[u8], kind: &str, form: Form) -> Answer {
    let end = received.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let text = std::str::from_utf8(&received[..end]).unwrap();
    let (line, fields) = text.split_once("\r\n").unwrap();
    let head = fields_of(fields);
    assert_eq!(head["content-type"], kind);
    let body = &received[end + 4..];
    let body = match head.get("transfer-encoding").map(String::as_str) {
        Some("chunked") => unchunked(body),
        _ => body.to_vec(),
    };
    let (messages, trailers) = frames(&match form {
        Form::Binary => body,
        Form::Text => decoded(&body),
    });
    Answer {
        status: line.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        messages,
        trailers,
    }
}

fn frames(mut body: &[u8]) -> (Vec<Vec<u8>>, Option<BTreeMap<String, String>>) {
    let mut messages = Vec::new();
    while let Some((head, rest)) = body.split_at_checked(5) {
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let (content, rest) = rest.split_at(usize::try_from(length).unwrap());
        body = rest;
        match head[0] {
            0 => messages.push(content.to_vec()),
            0x80 => {
                assert!(body.is_empty(), "nothing comes after the trailers");
                let text = std::str::from_utf8(content).unwrap();
                return (messages, Some(fields_of(text)));
            }
            flags => panic!("a frame with the flags {flags:#x}"),
        }
    }
    assert!(body.is_empty(), "a frame that is not whole");
    (messages, None)
}

/// Each piece of the body is base64 of its own, with its own padding.
fn decoded(text: &[u8]) -> Vec<u8> {
    let quads = text.chunks(4);
    quads
        .flat_map(|quad| STANDARD.decode(quad).unwrap())
        .collect()
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|w| w == b"\r\n").unwrap();
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[end + 2..][..size]);
        body = &body[end + 2 + size + 2..];
    }
}

fn fields_of(text: &str) -> BTreeMap<String, String> {
    let lines = text.split("\r\n").filter(|line| !line.is_empty());
    lines
        .map(|line| line.split_once(':').expect(line))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}
