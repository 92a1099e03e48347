//! The connection to the server, and its keeper.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, RedisResult, Value};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::RedisOptions;
use crate::error::is_broken;
use crate::options::Nodes;

/// A handle to the connection. While there is none, nobody waits for one: a keeper of its own
/// connects again, and everybody else is told at once that the server is not there.
#[derive(Debug)]
pub(crate) struct Link {
    state: Arc<State>,
    keeper: AbortHandle,
}

/// A connection on which any number of calls are under way at once.
#[derive(Clone)]
pub(crate) struct Connection {
    wire: Wire,
    number: u64,
    state: Arc<State>,
}

#[derive(Clone)]
enum Wire {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

#[derive(Debug, Default)]
struct State {
    current: RwLock<Current>,
    broken: Notify,
    connected: Notify,
}

#[derive(Default)]
struct Current {
    /// How many connections there were so far.
    number: u64,
    wire: Option<Wire>,
}

impl Link {
    /// Begins to connect, for as long as it takes.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn start(options: RedisOptions) -> Self {
        let state = Arc::new(State::default());
        let task = tokio::spawn(keep(options, Arc::clone(&state)));
        Self {
            state,
            keeper: task.abort_handle(),
        }
    }

    /// The connection, if there is one.
    pub(crate) fn connection(&self) -> Option<Connection> {
        let current = self.state.current.read();
        let current = current.unwrap_or_else(PoisonError::into_inner);
        Some(Connection {
            wire: current.wire.clone()?,
            number: current.number,
            state: Arc::clone(&self.state),
        })
    }

    /// Waits until there is a connection.
    pub(crate) async fn connected(&self) -> Connection {
        loop {
            let connected = self.state.connected.notified();
            tokio::pin!(connected);
            // Listening begins before looking, so that no connection is missed in between.
            connected.as_mut().enable();
            if let Some(connection) = self.connection() {
                return connection;
            }
            connected.await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Connection {
    pub(crate) async fn send(&mut self, call: &Cmd) -> RedisResult<Value> {
        let answer = match &mut self.wire {
            Wire::Server(wire) => wire.req_packed_command(call).await,
            Wire::Cluster(wire) => wire.req_packed_command(call).await,
        };
        let answer = answer.and_then(Value::extract_error);
        if let Err(error) = &answer
            && is_broken(error)
        {
            self.state.lose(self.number, &self.wire, error);
        }
        answer
    }
}

impl State {
    fn keep(&self, wire: Wire) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.number += 1;
        current.wire = Some(wire);
        drop(current);
        self.connected.notify_waiters();
    }

    /// Connection `number` is of no more use. Of all who notice that, the first one says so.
    fn lose(&self, number: u64, wire: &Wire, error: &(dyn Error + 'static)) {
        // A cluster's connection is to many nodes, looks after each of them by itself, and goes on
        // with the others when one is gone.
        if matches!(wire, Wire::Cluster(_)) {
            return;
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.number != number || current.wire.take().is_none() {
            return;
        }
        drop(current);
        tracing::warn!(target: "countersign", error, "the connection to redis is lost");
        self.broken.notify_one();
    }
}

/// Connects, waits until the connection breaks, and connects again.
async fn keep(options: RedisOptions, state: Arc<State>) {
    let mut failures: u32 = 0;
    loop {
        match connect(&options).await {
            Ok(wire) => {
                tracing::info!(target: "countersign", "connected to redis");
                state.keep(wire);
                let held = tokio::time::timeout(LONGEST_PAUSE, state.broken.notified());
                // A server that takes connections and breaks them is no better than none.
                if held.await.is_err() {
                    failures = 0;
                    state.broken.notified().await;
                }
            }
            Err(error) if failures == 0 => {
                let error = &error as &dyn Error;
                tracing::warn!(target: "countersign", error, "redis can't be reached");
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause(failures)).await;
        failures = failures.saturating_add(1);
    }
}

async fn connect(options: &RedisOptions) -> RedisResult<Wire> {
    match &options.nodes {
        Nodes::Server(address) => {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(options.connect_timeout))
                .set_response_timeout(Some(options.deadline));
            let client = open(address, options)?;
            let mut wire = client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            // A server that accepts and says nothing is none.
            redis::cmd("PING").exec_async(&mut wire).await?;
            Ok(Wire::Server(wire))
        }
        Nodes::Cluster(nodes) => {
            let client = certified(ClusterClient::builder(nodes.iter().cloned()), options)
                .connection_timeout(options.connect_timeout)
                .response_timeout(options.deadline)
                .overall_response_timeout(Some(options.deadline))
                .retries(2)
                .min_retry_wait(5)
                .max_retry_wait(50)
                .build()?;
            Ok(Wire::Cluster(client.get_async_connection().await?))
        }
    }
}

#[cfg(feature = "tls")]
pub(crate) fn open(address: &ConnectionInfo, options: &RedisOptions) -> RedisResult<Client> {
    choose_cryptography();
    match options.certificates() {
        Some(certificates) => Client::build_with_tls(address.clone(), certificates),
        None => Client::open(address.clone()),
    }
}

#[cfg(not(feature = "tls"))]
pub(crate) fn open(address: &ConnectionInfo, _: &RedisOptions) -> RedisResult<Client> {
    Client::open(address.clone())
}

#[cfg(feature = "tls")]
fn certified(builder: ClusterClientBuilder, options: &RedisOptions) -> ClusterClientBuilder {
    choose_cryptography();
    match options.certificates() {
        Some(certificates) => builder.certs(certificates),
        None => builder,
    }
}

#[cfg(not(feature = "tls"))]
fn certified(builder: ClusterClientBuilder, _: &RedisOptions) -> ClusterClientBuilder {
    builder
}

/// The client asks for the process's default, and would panic where there is none.
#[cfg(feature = "tls")]
fn choose_cryptography() {
    use rustls::crypto::{CryptoProvider, ring};
    if CryptoProvider::get_default().is_none() {
        // An error says that somebody else has just chosen.
        let _ = ring::default_provider().install_default();
    }
}

/// Any time up to twice as long as before the last attempt, and never more than two seconds. All
/// nodes of a fleet lose a server at the same moment; they must not come back at the same moment.
pub(crate) fn pause(failures: u32) -> Duration {
    let longest = FIRST_PAUSE
        .saturating_mul(1 << failures.min(10))
        .min(LONGEST_PAUSE);
    let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(fastrand::u64(1..=millis))
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current")
            .field("number", &self.number)
            .field("connected", &self.wire.is_some())
            .finish()
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_a_fleet_come_back_apart() {
        for failures in [0, 1, 3, 8, u32::MAX] {
            let pauses: Vec<_> = (0..200).map(|_| pause(failures)).collect();
            let longest = pauses.iter().max().unwrap();
            let shortest = pauses.iter().min().unwrap();
            assert!(*longest <= LONGEST_PAUSE, "{longest:?}");
            assert!(*longest > *shortest * 4, "{shortest:?} to {longest:?}");
        }
        assert!((0..200).all(|_| pause(0) <= FIRST_PAUSE));
    }
}
