//! As much of HTTP as a drill's callers need.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};

/// One connection that is kept open between calls, and made anew when it was lost.
#[derive(Debug)]
pub(super) struct Caller {
    address: SocketAddr,
    source: Ipv4Addr,
    stream: Option<BufReader<TcpStream>>,
}

/// What a call was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<u64>,
    /// Whether it tells of the caller's own limits, as only a caller who was believed is told.
    pub(super) limits: bool,
}

impl Caller {
    pub(super) const fn new(address: SocketAddr) -> Self {
        Self::from(Ipv4Addr::LOCALHOST, address)
    }

    /// Calls from an address of this machine's loopback network: failures are counted by source.
    pub(super) const fn from(source: Ipv4Addr, address: SocketAddr) -> Self {
        Self {
            address,
            source,
            stream: None,
        }
    }

    /// Calls an endpoint that every key may call.
    pub(super) fn accounts(&mut self, key: &str) -> Result<Answer> {
        self.call("GET", "/external/v1/accounts", key, "")
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// When the connection is refused or lost.
    pub(super) fn call(
        &mut self,
        method: &str,
        target: &str,
        key: &str,
        body: &str,
    ) -> Result<Answer> {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: {}\r\nx-api-key: {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let answer = self.exchange(request.as_bytes());
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.bind(&SocketAddr::from((self.source, 0)).into())?;
                socket.connect(&self.address.into())?;
                let stream = TcpStream::from(socket);
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                empty.insert(BufReader::new(stream))
            }
        };
        stream.get_mut().write_all(request)?;
        read_answer(stream)
    }
}

fn read_answer(stream: &mut BufReader<TcpStream>) -> Result<Answer> {
    let status = line(stream)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.context("a status line")?;
    let (mut length, mut retry_after, mut limits) = (0, None, false);
    loop {
        let line = line(stream)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse()?,
            "ratelimit" => limits = true,
            "retry-after" => retry_after = Some(value.trim().parse()?),
            _ => {}
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    Ok(Answer {
        status,
        retry_after,
        limits,
    })
}

fn line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    ensure!(
        stream.read_line(&mut line)? > 0,
        "the connection was closed"
    );
    line.truncate(line.trim_end().len());
    Ok(line)
}

const PATIENCE: Duration = Duration::from_secs(10);
