//! The servers, each a process of its own: this same program, started with `serve`.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::thread;

use axum::Router;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::caller::Callers;
use crate::support::{api, assembled_a, keys};

/// What stands before the router.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Bare,
    AssembledA,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Bare, Self::AssembledA];

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
    child: Child,
}

impl Server {
    /// Starts a server whose audit goes to a file in `directory`, and waits until it listens.
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
        let port = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { port, child })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends when its standard input does; `wait` closes that first.
        let _ = self.child.wait();
    }
}

/// The server's own program: says its port, and serves until its standard input ends.
pub(crate) fn serve(kind: Kind, directory: &Path) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let router = router(kind, directory)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?.port());
        io::stdout().flush()?;
        thread::spawn(end_with_input);
        axum::serve(
            listener,
            router.into_make_service_with_connect_info::<SocketAddr>(),
        )
        .await
    })
}

fn router(kind: Kind, directory: &Path) -> io::Result<Router> {
    let keys = keys::generate(KEYS);
    Ok(match kind {
        Kind::Bare => api::bare(),
        Kind::AssembledA => {
            let mut file = BufWriter::new(File::create(directory.join("events.jsonl"))?);
            assembled_a::router(Callers::new(&keys), move |event: Value| {
                writeln!(file, "{event}").expect("room for the events");
            })
        }
    })
}

fn end_with_input() {
    // Whatever ends the input ends the server.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    process::exit(0);
}

/// How many keys a server knows.
pub(crate) const KEYS: usize = 1000;
