//! A load generator: keep-alive connections that send one request after the other.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use http::StatusCode;
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::{api, drive};

/// Requests for one server, all alike.
#[derive(Debug)]
pub(crate) struct Load {
    name: &'static str,
    port: u16,
    request: String,
    status_line: String,
}

impl Load {
    /// Requests with `key` that must be answered with `expected`.
    pub(crate) fn new(name: &'static str, port: u16, key: &str, expected: StatusCode) -> Arc<Self> {
        let (path, header) = (api::PATH, api::X_API_KEY);
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{header}: {key}\r\n\
             user-agent: partner/1.0\r\naccept: application/json\r\n\r\n"
        );
        let status_line = format!("HTTP/1.1 {} ", expected.as_str());
        Arc::new(Self {
            name,
            port,
            request,
            status_line,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Sends for as long as `duration` and gives the answers per second. Two threads: a client
    /// that is busy all the time leaves the server no idle processor to hide its costs in.
    pub(crate) fn run(self: &Arc<Self>, duration: Duration) -> f64 {
        let started = Instant::now();
        let answers: u64 = thread::scope(|scope| {
            let clients = [(); THREADS].map(|()| scope.spawn(|| self.run_thread(duration)));
            let answers = clients.map(|client| client.join().expect("a client's answers"));
            answers.iter().sum()
        });
        answers as f64 / started.elapsed().as_secs_f64()
    }

    fn run_thread(self: &Arc<Self>, duration: Duration) -> u64 {
        let deadline = Instant::now() + duration;
        drive::runtime()
            .block_on(async {
                let mut connections = JoinSet::new();
                for _ in 0..CONNECTIONS / THREADS {
                    connections.spawn(Arc::clone(self).connection(deadline));
                }
                let answers = connections.join_all().await;
                answers.into_iter().sum::<io::Result<u64>>()
            })
            .expect("connections that last")
    }

    async fn connection(self: Arc<Self>, deadline: Instant) -> io::Result<u64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let mut buffer = [0; 4096];
        let mut answers = 0;
        while Instant::now() < deadline {
            stream.write_all(self.request.as_bytes()).await?;
            self.read_answer(&mut stream, &mut buffer).await?;
            answers += 1;
        }
        Ok(answers)
    }

    async fn read_answer(&self, stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        loop {
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            if let Some(length) = answer_length(&buffer[..filled]) {
                let answer = &buffer[..filled];
                assert!(
                    length == filled && answer.starts_with(self.status_line.as_bytes()),
                    "unexpected answer: {}",
                    answer.escape_ascii()
                );
                return Ok(());
            }
        }
    }
}

/// The length of the answer that `bytes` begins with, once it is there as a whole.
fn answer_length(bytes: &[u8]) -> Option<usize> {
    let head = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let value = memmem::find(&bytes[..head], b"content-length: ")? + 16;
    let digits = bytes[value..].iter().take_while(|it| it.is_ascii_digit());
    let body = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    (bytes.len() >= head + body).then_some(head + body)
}

const CONNECTIONS: usize = 64;
const THREADS: usize = 2;
