//! A database that is away for a while, under load.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Scale;
use super::figures::{Figures, millis};
use super::http::Caller;
use super::load::{Load, Log};
use super::processes::{Cli, Key, Node, Programs};
use super::proxy::{Mode, Proxy};
use crate::servers::{self, Postgres};

/// Cached keys go on for the bound, everything else is told to come back, nothing has to be
/// restarted, and nobody storms the server: when the server is stopped, and when it hangs.
pub(super) fn run(programs: &Programs, scale: Scale) -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut server = servers::postgres()?;
    let proxy = Proxy::start(server.port())?;
    let wire = server
        .url()
        .replace(&server.port().to_string(), &proxy.port().to_string());
    let url = server.url();
    let cli = Cli::new(programs, &url);
    let node = Node::start(programs, &wire, home.path())?;
    let outage = Outage {
        node: &node,
        proxy: &proxy,
        cached: cli.issue()?,
    };
    let (stopped, hung) = (cli.issue()?, cli.issue()?);

    let away = scale.of(Duration::from_secs(30), Duration::from_secs(8));
    println!("    stopped for {} s:", away.as_secs());
    outage.hold(&stopped, away, &mut Stop(&mut server))?;
    if scale == Scale::Full {
        println!("    hung for {} s:", away.as_secs());
        outage.hold(&hung, away, &mut Hang(&proxy))?;
    }
    node.stop()
}

/// What is done to the server.
trait Harm {
    fn begin(&mut self) -> Result<()>;
    fn end(&mut self) -> Result<()>;
    /// The longest that a refusal may take meanwhile.
    fn patience(&self) -> Duration;
}

/// It is stopped, and refuses connections.
struct Stop<'a>(&'a mut Postgres);

impl Harm for Stop<'_> {
    fn begin(&mut self) -> Result<()> {
        self.0.pause()
    }

    fn end(&mut self) -> Result<()> {
        self.0.resume()
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(500)
    }
}

/// It takes everything and answers nothing, as behind a broken network.
struct Hang<'a>(&'a Proxy);

impl Harm for Hang<'_> {
    fn begin(&mut self) -> Result<()> {
        self.0.set(Mode::HangAll);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.0.set(Mode::Pass);
        Ok(())
    }

    fn patience(&self) -> Duration {
        // The deadline of a look-up, and a little.
        Duration::from_millis(2500)
    }
}

struct Outage<'a> {
    node: &'a Node,
    proxy: &'a Proxy,
    cached: Key,
}

/// What the callers of a key that is not cached saw.
#[derive(Default)]
struct Refusals {
    took: Figures,
}

impl Outage<'_> {
    fn hold(&self, fresh: &Key, away: Duration, harm: &mut dyn Harm) -> Result<()> {
        let load = Load::start(&[self.node.address], &self.cached.raw);
        let patience = Duration::from_secs(5);
        load.wait("the key is cached", patience, |log| log.accepted > 100)?;
        let mut caller = Caller::new(self.node.address);
        let before = self.proxy.open();

        harm.begin()?;
        let (gone, knocks) = (Instant::now(), self.proxy.accepted());
        let refusals = refusals(&mut caller, fresh, gone, away)?;
        let knocks = self.proxy.accepted() - knocks;
        let log = load.log();

        harm.end()?;
        let back = Instant::now();
        load.wait("the service recovers", Duration::from_secs(10), |log| {
            log.last_accepted.is_some_and(|last| last > back)
        })?;
        let recovered = back.elapsed();
        let answer = caller.accounts(&fresh.raw)?;
        ensure!(answer.status == 200, "after the return: {answer:?}");
        thread::sleep(Duration::from_secs(3));
        let after = self.proxy.open();
        load.end();

        let seen = Seen {
            worked: worked(&log, gone),
            log,
            refusals,
            knocks,
            recovered,
            before,
            after,
        };
        seen.tell();
        seen.judge(away, harm.patience())
    }
}

/// What was seen of one outage.
struct Seen {
    /// How long a cached key went on.
    worked: Duration,
    log: Log,
    refusals: Refusals,
    /// Attempts to connect.
    knocks: usize,
    recovered: Duration,
    /// Connections before and after.
    before: usize,
    after: usize,
}

impl Seen {
    fn tell(&self) {
        let Self { refusals, .. } = self;
        println!(
            "      a cached key went on for {:.0} ms, bound 5000 ms",
            millis(self.worked)
        );
        println!(
            "      calls with another key, each 503 with Retry-After: {}",
            refusals.took.line()
        );
        println!("      {} attempts to connect", self.knocks);
        println!(
            "      accepted again {:.0} ms after the return",
            millis(self.recovered)
        );
        println!(
            "      {} connections before, {} after",
            self.before, self.after
        );
    }

    fn judge(&self, away: Duration, patience: Duration) -> Result<()> {
        let (worked, log) = (self.worked, self.log);
        // An entry is asked for again at half its bound: it was 0 to 2.5 s old when the server went.
        ensure!(
            worked <= BOUND + SLACK,
            "a cached key went on beyond the bound"
        );
        ensure!(
            worked >= BOUND / 2 - SLACK,
            "a cached key did not go on for the bound"
        );
        let other = log.without_retry_after + log.failed + log.refused;
        ensure!(
            other == 0,
            "answers other than 503 with Retry-After: {log:?}"
        );
        let slowest = self.refusals.took.max();
        ensure!(slowest < millis(patience), "a refusal was slow");
        // From 50 ms, doubled up to 2 s, half of it at least, for one connection at a time.
        let most = 10 + usize::try_from(away.as_secs())?;
        ensure!(
            self.knocks <= most,
            "{} attempts to connect are a storm",
            self.knocks
        );
        let open = self.after;
        ensure!(open <= CONNECTIONS, "{open} connections are open");
        Ok(())
    }
}

/// Calls with a key that is not cached for as long as the server is away.
fn refusals(caller: &mut Caller, key: &Key, gone: Instant, away: Duration) -> Result<Refusals> {
    let mut refusals = Refusals::default();
    while gone.elapsed() < away {
        let asked = Instant::now();
        let answer = caller.accounts(&key.raw)?;
        refusals.took.push(millis(asked.elapsed()));
        let told = answer.retry_after.is_some_and(|wait| wait > 0);
        ensure!(
            answer.status == 503 && told,
            "a key that is not cached: {answer:?}"
        );
        thread::sleep(Duration::from_millis(10));
    }
    Ok(refusals)
}

fn worked(log: &Log, gone: Instant) -> Duration {
    let last = log.last_accepted;
    last.map(|last| last.saturating_duration_since(gone))
        .unwrap_or_default()
}

const BOUND: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_millis(100);
/// Two for look-ups, two for changes, one that holds the outbox, and a feed for each of the two
/// stacks, production's and the sandbox's.
const CONNECTIONS: usize = 7;
