//! A key that is revoked while two services are under load.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Scale;
use super::figures::{Figures, millis};
use super::load::Load;
use super::processes::{Cli, Key, Node, Programs};
use super::proxy::{Mode, Proxy};
use crate::servers;

/// Measures from the end of the command that revokes to the last request that was accepted.
pub(super) fn run(programs: &Programs, scale: Scale) -> Result<()> {
    let home = tempfile::tempdir()?;
    let rounds = scale.of(100, 5);
    {
        let file = home.path().join("keys.db");
        let store = format!("sqlite:{}", file.display());
        let world = World::start(programs, &store, &home.path().join("sqlite"))?;
        world.told("SQLite", &Cli::new(programs, &store), rounds)?;
        world.stop()?;
    }
    let server = servers::postgres()?;
    let proxy = Proxy::start(server.port())?;
    let wire = server
        .url()
        .replace(&server.port().to_string(), &proxy.port().to_string());
    let world = World::start(programs, &wire, &home.path().join("postgres"))?;
    // The command line has a wire of its own.
    let url = server.url();
    let cli = Cli::new(programs, &url);
    world.told("PostgreSQL", &cli, rounds)?;
    for mode in [Mode::Cut, Mode::Hang] {
        world.untold(mode, &proxy, &cli, scale.of(10, 1))?;
    }
    world.told("PostgreSQL, the feed whole again", &cli, scale.of(20, 2))?;
    world.stop()
}

/// Two services on one store.
struct World {
    nodes: [Node; 2],
    addresses: [SocketAddr; 2],
}

impl World {
    fn start(programs: &Programs, store: &str, home: &std::path::Path) -> Result<Self> {
        let node = |name| Node::start(programs, store, &home.join(name));
        let nodes = [node("a")?, node("b")?];
        let addresses = [nodes[0].address, nodes[1].address];
        Ok(Self { nodes, addresses })
    }

    /// With the feed: the last accepted request is less than a second late.
    fn told(&self, name: &str, cli: &Cli<'_>, rounds: usize) -> Result<()> {
        let mut late = Figures::default();
        for _ in 0..rounds {
            let (load, key) = self.load(cli)?;
            late.push(revoke(cli, load, &key, Duration::from_secs(10))?);
        }
        println!(
            "    {name}, last accepted after the command's end: {}",
            late.line()
        );
        ensure!(late.max() < 1000.0, "{name}: a revocation took a second");
        Ok(())
    }

    /// Without the feed: never later than the bound, which is the example's default.
    fn untold(&self, mode: Mode, proxy: &Proxy, cli: &Cli<'_>, rounds: usize) -> Result<()> {
        let mut late = Figures::default();
        for _ in 0..rounds {
            self.wait_for_feeds(proxy)?;
            let (load, key) = self.load(cli)?;
            proxy.set(mode);
            late.push(revoke(cli, load, &key, BOUND * 2)?);
            proxy.set(Mode::Pass);
        }
        println!(
            "    feed {mode:?}, last accepted after the command's end: {}",
            late.line()
        );
        // The slack is for the answer's own way to the caller.
        ensure!(late.max() < millis(BOUND) + 50.0, "later than the bound");
        self.wait_for_feeds(proxy)?;
        for node in &self.nodes {
            let log = node.log()?;
            let told = log.matches("change feed is broken").count();
            ensure!(
                (1..=FEEDS * (3 * rounds + 3)).contains(&told),
                "{told} lines tell of {rounds} breaks"
            );
            ensure!(
                log.contains("change feed works again"),
                "no line tells of a recovery"
            );
        }
        Ok(())
    }

    /// A new key that both services have in their caches, under load.
    fn load(&self, cli: &Cli<'_>) -> Result<(Load, Key)> {
        let key = cli.issue()?;
        let load = Load::start(&self.addresses, &key.raw);
        load.wait("a new key is accepted", Duration::from_secs(5), |log| {
            log.accepted > 2
        })?;
        thread::sleep(Duration::from_millis(fastrand::u64(0..50)));
        Ok((load, key))
    }

    fn wait_for_feeds(&self, proxy: &Proxy) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while proxy.feeds() < FEEDS * self.nodes.len() {
            ensure!(Instant::now() < deadline, "the feeds do not come back");
            thread::sleep(Duration::from_millis(10));
        }
        // Open is not read yet.
        thread::sleep(Duration::from_millis(300));
        Ok(())
    }

    fn stop(self) -> Result<()> {
        self.nodes.into_iter().try_for_each(Node::stop)
    }
}

/// How many milliseconds after the command's end the key was last accepted; before it where the
/// number is negative.
fn revoke(cli: &Cli<'_>, load: Load, key: &Key, patience: Duration) -> Result<f64> {
    let ended = cli.revoke(key)?;
    load.wait("a revoked key is refused", patience, |log| log.refused > 0)?;
    // Longer than any look-up takes: none may bring the key back.
    thread::sleep(Duration::from_millis(100));
    let log = load.end();
    ensure!(log.accepted_again == 0, "a revoked key came back: {log:?}");
    ensure!(
        log.failed == 0 && log.unavailable == 0,
        "calls were lost: {log:?}"
    );
    let last = log.last_accepted.unwrap_or(ended);
    Ok(match last.checked_duration_since(ended) {
        Some(late) => millis(late),
        None => -millis(ended - last),
    })
}

const BOUND: Duration = Duration::from_secs(5);
/// Of each process: one for production, one for the sandbox.
const FEEDS: usize = 2;
