//! Who guesses is throttled, by source and by prefix, and nobody is locked out by it who has the secret.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use countersign::{AbuseMonitor, Quota, SourceThrottle};
use support::{Ready, Server, generous, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

const OWNER: &str = "127.0.0.1:0";
const STRANGER: &str = "127.0.0.2:0";

impl Server {
    /// The status of the answer to whoever calls with `key` from `address`.
    async fn ask(&self, address: &str, key: &str) -> u16 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        let asked = request("GET", "/external/v1/accounts", &[("x-api-key", key)], "");
        stream.write_all(&asked).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
    }

    /// A hundred strangers' failures with the prefix of `keys.full`, and one more.
    async fn guess(&self, address: &str) {
        for _ in 0..100 {
            assert_eq!(self.ask(address, &self.keys.wrong_secret).await, 401);
        }
        assert_eq!(self.ask(address, &self.keys.wrong_secret).await, 429);
    }
}

fn uncached(stack: Ready) -> Ready {
    stack.staleness_bound(Duration::ZERO)
}

#[tokio::test]
async fn a_prefix_is_no_lever_against_its_owner_without_a_cache() {
    let server = Server::with(generous(), uncached).await;
    server.guess(STRANGER).await;
    assert_eq!(server.ask(OWNER, &server.keys.full).await, 200);
    let guess = server.ask(OWNER, &server.keys.wrong_secret).await;
    assert_eq!(guess, 429, "by prefix, from wherever");
}

#[tokio::test]
async fn nor_is_it_with_a_cache_that_forgot_the_key() {
    let hour = Duration::from_secs(3600);
    let slow = SourceThrottle::new().with_prefix_quota(Quota::new(100, hour).unwrap());
    let server = Server::with(generous(), |stack| stack.throttle(slow)).await;
    server.guess(STRANGER).await;
    // Longer than a key is believed, and than a source is remembered, but not than this prefix is.
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(server.ask(OWNER, &server.keys.full).await, 200);
    assert_eq!(server.ask(STRANGER, &server.keys.wrong_secret).await, 429);
}

/// The monitor knows where the key was used: there not even neighbours lock it out.
#[tokio::test]
async fn nor_do_neighbours_use_it_from_the_owner_s_address() {
    let monitored = |stack| uncached(stack).abuse(AbuseMonitor::builder());
    let server = Server::with(generous(), monitored).await;
    assert_eq!(server.ask(OWNER, &server.keys.full).await, 200);
    server.guess(OWNER).await;
    assert_eq!(server.ask(OWNER, &server.keys.full).await, 200);
}
