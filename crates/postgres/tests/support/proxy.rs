//! A way to the server that breaks.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::address;

/// Stands between a client and its server, and loses what it is told to.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    ways: Arc<Ways>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Lost {
    /// The server commits, and its answer is lost with the connection.
    Answer,
    /// The connection is lost before the server learns that it is to commit.
    Commit,
}

/// What became of the connections that were open at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Carried,
    Silent,
    Forgotten,
    ServerLost,
}

struct Ways {
    answer: AtomicBool,
    commit: AtomicBool,
    silent_at: Mutex<Option<&'static str>>,
    fate: watch::Sender<Fate>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ways = Arc::new(Ways {
            answer: AtomicBool::new(false),
            commit: AtomicBool::new(false),
            silent_at: Mutex::default(),
            fate: watch::Sender::new(Fate::Carried),
        });
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            ways: Arc::clone(&ways),
        };
        let server = address();
        let server = server.split('@').nth(1).unwrap().split('/').next().unwrap();
        let server = server.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&ways)));
            }
        });
        proxy
    }

    pub(crate) fn lose(&self, what: Lost) {
        self.restore();
        match what {
            Lost::Answer => self.ways.answer.store(true, Ordering::SeqCst),
            Lost::Commit => self.ways.commit.store(true, Ordering::SeqCst),
        }
    }

    pub(crate) fn restore(&self) {
        self.ways.answer.store(false, Ordering::SeqCst);
        self.ways.commit.store(false, Ordering::SeqCst);
    }

    /// The connection that is next to say `text` stays open and carries nothing more.
    pub(crate) fn silent_at(&self, text: &'static str) {
        *self.ways.silent_at.lock().unwrap() = Some(text);
    }

    /// Whether nothing is to fall silent any more: it has.
    pub(crate) fn is_not_waiting(&self) -> bool {
        self.ways.silent_at.lock().unwrap().is_none()
    }

    /// The connections of now stay open on both sides and carry nothing more.
    pub(crate) fn silence(&self) {
        self.ways.fate.send_replace(Fate::Silent);
    }

    /// The connections of now are closed, and the server does not learn of it.
    pub(crate) fn forget(&self) {
        self.ways.fate.send_replace(Fate::Forgotten);
    }

    /// The server ends every connection of now, and no client learns of it.
    pub(crate) fn lose_the_server(&self) {
        self.ways.fate.send_replace(Fate::ServerLost);
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, ways: Arc<Ways>) {
    let mut fate = ways.fate.subscribe();
    let committing = AtomicBool::new(false);
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let bytes = &buffer[..read];
            let says = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
            if says("COMMIT") && ways.commit.load(Ordering::SeqCst) {
                return;
            }
            if says("COMMIT") && ways.answer.load(Ordering::SeqCst) {
                committing.store(true, Ordering::SeqCst);
            }
            let silent_at = ways.silent_at.lock().unwrap().take_if(|text| says(text));
            if silent_at.is_some() {
                pending::<()>().await;
            }
            if to_server.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    let down = async {
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
    let fate = tokio::select! {
        () = up => return,
        () = down => return,
        _changed = fate.changed() => *fate.borrow(),
    };
    match fate {
        Fate::Forgotten => drop(client),
        Fate::ServerLost => drop(server),
        Fate::Carried | Fate::Silent => {}
    }
    pending::<()>().await;
}
