//! The servers, each a process of its own: this same program, started with `serve`.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use axum::Router;
use countersign::FileLog;
use http::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::client::Load;
use crate::support::caller::Callers;
use crate::support::keys::{self, Key};
use crate::support::ours::{self, Ours};
use crate::support::{api, assembled_a};

/// What stands before the router.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Bare,
    AssembledA,
    Ours,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Bare, Self::AssembledA, Self::Ours];

    /// The kind whose name is `name`, on the command line of the server.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn name(self) -> String {
        format!("{self:?}")
    }
}

/// A running server. It ends when this is dropped, or when this process ends.
#[derive(Debug)]
pub(crate) struct Server {
    port: u16,
    key: String,
    child: Child,
}

impl Server {
    /// Starts a server whose audit goes to files in `directory`, and waits until it listens.
    pub(crate) fn start(kind: Kind, directory: &Path) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["serve", &kind.name()])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let (port, key) = line.trim().split_once(' ').unwrap_or_default();
        let port = port.parse().map_err(io::Error::other)?;
        let key = key.to_owned();
        Ok(Self { port, key, child })
    }

    /// Requests that this server answers with 200.
    pub(crate) fn allowed(&self, name: &'static str) -> Arc<Load> {
        Load::new(name, self.port, &self.key, StatusCode::OK)
    }

    /// Requests that this server refuses with 401.
    pub(crate) fn refused(&self, name: &'static str) -> Arc<Load> {
        let garbage = keys::garble(&self.key);
        Load::new(name, self.port, &garbage, StatusCode::UNAUTHORIZED)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends when its standard input does; `wait` closes that first.
        let _ = self.child.wait();
    }
}

/// The server's own program: says its port and a key that it accepts, and serves until its
/// standard input ends.
pub(crate) fn serve(kind: Kind, directory: &Path) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let keys = keys::generate(KEYS);
        let router = router(kind, directory, &keys).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{} {}", listener.local_addr()?.port(), keys[0].text);
        io::stdout().flush()?;
        thread::spawn(end_with_input);
        axum::serve(
            listener,
            router.into_make_service_with_connect_info::<SocketAddr>(),
        )
        .await
    })
}

async fn router(kind: Kind, directory: &Path, keys: &[Key]) -> io::Result<Router> {
    Ok(match kind {
        Kind::Bare => api::bare(),
        Kind::AssembledA => {
            let mut file = BufWriter::new(File::create(directory.join("events.jsonl"))?);
            assembled_a::router(Callers::new(keys), move |event: Value| {
                writeln!(file, "{event}").expect("room for the events");
            })
        }
        Kind::Ours => {
            let log = FileLog::open(directory.join("log")).map_err(io::Error::other)?;
            Ours::new(keys, ours::generous(), log).await.router()
        }
    })
}

fn end_with_input() {
    // Whatever ends the input ends the server.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    process::exit(0);
}

/// How many keys a server knows.
const KEYS: usize = 1000;
