//! A caller that writes HTTP/2 by hand, so that it can send what no library lets it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The frame with which the server ends the call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A head: a call's trailers, or all of its answer.
    Head,
    /// A piece of the answer's body, as gRPC-Web ends a call.
    Body,
    /// The stream is reset, or the connection closed: no request ever reached the service.
    Reset,
}

/// Opens a connection, sends these fields as the head of a call with an empty message, and tells
/// how the server ends it.
pub(crate) async fn call(address: SocketAddr, fields: &[(&str, &[u8])]) -> Ending {
    call_with(address, fields, &[0; 5]).await
}

/// The same with this body: at most 64 KiB, which a server takes without being asked.
pub(crate) async fn call_with(
    address: SocketAddr,
    fields: &[(&str, &[u8])],
    body: &[u8],
) -> Ending {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(SETTINGS, 0, 0, &[]));
    sent.extend(frame(HEADERS, END_HEADERS, 1, &head(fields)));
    for piece in body.chunks(MAX_FRAME) {
        sent.extend(frame(DATA, 0, 1, piece));
    }
    sent.extend(frame(DATA, END_STREAM, 1, &[]));
    stream.write_all(&sent).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), ending(&mut stream))
        .await
        .expect("the server ends the call")
}

async fn ending(stream: &mut TcpStream) -> Ending {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return Ending::Reset;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        match head[3] {
            HEADERS if head[4] & END_STREAM != 0 => return Ending::Head,
            DATA if head[4] & END_STREAM != 0 => return Ending::Body,
            RESET | GO_AWAY => return Ending::Reset,
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// HPACK (RFC 7541 §6.2.2): literal fields that are not indexed.
fn head(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name.as_bytes(), value] {
            // Proof: a length of 127 and more takes more than one byte.
            assert!(text.len() < 127);
            bytes.push(text.len() as u8);
            bytes.extend(text);
        }
    }
    bytes
}

const MAX_FRAME: usize = 16 * 1024;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
