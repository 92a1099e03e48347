//! A wire between services and their database that can be cut.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// Passes connections on to a server, and does harm to those of a change feed, or to all, when told
/// to. A feed is known by its `LISTEN`.
#[derive(Debug)]
pub(super) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    mode: AtomicU8,
    /// Connections of feeds that pass.
    feeds: AtomicUsize,
    /// Connections that were made, ever.
    accepted: AtomicUsize,
    /// Connections that are open.
    open: AtomicUsize,
    ended: AtomicBool,
}

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mode {
    /// They pass.
    Pass = 0,
    /// Those of feeds are closed, and so is every new one.
    Cut = 1,
    /// Those of feeds stay open and nothing comes through.
    Hang = 2,
    /// All stay open and nothing comes through.
    HangAll = 3,
}

impl Proxy {
    /// Listens on a free port for connections to `port`.
    pub(super) fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || pass(&client, server, &shared));
            }
        });
        Ok(Self { port, shared })
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Feeds that are open and pass.
    pub(super) fn feeds(&self) -> usize {
        self.shared.feeds.load(Ordering::SeqCst)
    }

    /// Connections that were made up to now.
    pub(super) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub(super) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; it may have ended.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Passes one connection on until either side closes it. A server that is not there closes it at
/// once, as a machine without the server would.
fn pass(client: &TcpStream, server: u16, shared: &Arc<Shared>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
        return;
    };
    shared.open.fetch_add(1, Ordering::SeqCst);
    let feed = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &server, shared, &feed, true));
        copy(&server, client, shared, &feed, false);
    });
    if feed.load(Ordering::SeqCst) {
        shared.feeds.fetch_sub(1, Ordering::SeqCst);
    }
    shared.open.fetch_sub(1, Ordering::SeqCst);
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, shared: &Shared, feed: &AtomicBool, asks: bool) {
    let mut buffer = vec![0; 65_536];
    let _ = from.set_read_timeout(Some(Duration::from_millis(20)));
    let _ = to.set_nodelay(true);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => &buffer[..read],
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => &[],
            Err(_) => break,
        };
        let listens = asks && read.windows(7).any(|part| part == b"LISTEN ");
        if listens && !feed.swap(true, Ordering::SeqCst) {
            shared.feeds.fetch_add(1, Ordering::SeqCst);
        }
        if !may_pass(shared, feed.load(Ordering::SeqCst)) {
            break;
        }
        if to.write_all(read).is_err() {
            break;
        }
    }
    // The other direction ends by it; either may have ended first.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Whether bytes go on; waits while they hang. A connection that hung does not come back.
fn may_pass(shared: &Shared, feed: bool) -> bool {
    let is = |mode| shared.mode.load(Ordering::SeqCst) == mode as u8;
    let hangs = || is(Mode::HangAll) || feed && is(Mode::Hang);
    let hung = hangs();
    while hangs() {
        thread::sleep(Duration::from_millis(20));
    }
    let cut = feed && is(Mode::Cut);
    !hung && !cut
}
