//! A way to the server that breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::address;

/// Stands between a client and its server, and loses what it is told to.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    answer: Arc<AtomicBool>,
    commit: Arc<AtomicBool>,
    server: watch::Sender<()>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Lost {
    /// The server commits, and its answer is lost with the connection.
    Answer,
    /// The connection is lost before the server learns that it is to commit.
    Commit,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            answer: Arc::default(),
            commit: Arc::default(),
            server: watch::Sender::new(()),
        };
        let gone = proxy.server.subscribe();
        let server = address();
        let server = server.split('@').nth(1).unwrap().split('/').next().unwrap();
        let (server, answer, commit) = (
            server.to_owned(),
            Arc::clone(&proxy.answer),
            Arc::clone(&proxy.commit),
        );
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let (answer, commit) = (Arc::clone(&answer), Arc::clone(&commit));
                let mut gone = gone.clone();
                gone.mark_unchanged();
                tokio::spawn(async move {
                    let mut client = client;
                    tokio::select! {
                        () = carry(&mut client, server, answer, commit) => {}
                        // The client is told nothing.
                        Ok(()) = gone.changed() => std::future::pending().await,
                    }
                });
            }
        });
        proxy
    }

    pub(crate) fn lose(&self, what: Lost) {
        self.restore();
        match what {
            Lost::Answer => self.answer.store(true, Ordering::SeqCst),
            Lost::Commit => self.commit.store(true, Ordering::SeqCst),
        }
    }

    /// The server ends every connection that there is, and no client learns of it.
    pub(crate) fn lose_the_server(&self) {
        self.server.send_replace(());
    }

    pub(crate) fn restore(&self) {
        self.answer.store(false, Ordering::SeqCst);
        self.commit.store(false, Ordering::SeqCst);
    }
}

async fn carry(
    client: &mut TcpStream,
    server: TcpStream,
    lose_answer: Arc<AtomicBool>,
    lose_commit: Arc<AtomicBool>,
) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.into_split();
    let committing = Arc::new(AtomicBool::new(false));
    let sent = Arc::clone(&committing);
    let up = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let bytes = &buffer[..read];
            let commits = bytes.windows(6).any(|word| word == b"COMMIT");
            if commits && lose_commit.load(Ordering::SeqCst) {
                return;
            }
            if commits && lose_answer.load(Ordering::SeqCst) {
                sent.store(true, Ordering::SeqCst);
            }
            if to_server.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    let down = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if committing.load(Ordering::SeqCst)
                || to_client.write_all(&buffer[..read]).await.is_err()
            {
                return;
            }
        }
    };
    // Either direction's end is the connection's.
    tokio::select! { () = up => {} () = down => {} }
}
