//! Four processes that share one limit on one Redis.

mod node;
mod tally;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

pub(crate) use self::node::run as run_node;
use self::tally::{Kind, Tally};
use super::Scale;
use super::proxy::Proxy;
use crate::servers::{self, Redis};

/// The fleet admits what its quota allows, no more and not much less; while the server is gone each
/// process admits its share, and when it is back they come back to it, each at a time of its own.
pub(super) fn run(scale: Scale) -> Result<()> {
    let program = servers::redis_program()?;
    let mut server = Redis::start(&program).context("Redis")?;
    let proxy = Proxy::start(server.port())?;
    let time = scale.of(Duration::from_secs(10), Duration::from_secs(4));

    println!("    {NODES} processes, {time:?}, {RATE}/s, {OFFERED}/s asked for by each:");
    let steady = Fleet::start(&proxy, "steady", time)?.end()?;
    steady.hold_quota(time, 0.0)?;
    println!("    with leases of {LEASED_SHARE} of the burst for {LEASED_FOR:?}:");
    let leased = Fleet::start(&proxy, "leased", time)?.end()?;
    leased.hold_quota(time, excess())?;

    let time = scale.of(Duration::from_secs(15), Duration::from_secs(9));
    println!("    the server is killed after a third of {time:?} and started after another:");
    let fleet = Fleet::start(&proxy, "outage", time)?;
    thread::sleep(time / 3);
    server.kill()?;
    let knocks = proxy.accepted();
    thread::sleep(time / 3);
    let knocks = proxy.accepted() - knocks;
    server.start_again(&program)?;
    let back = tally::now();
    fleet.end()?.hold_share(time, knocks, back)
}

/// How many units too many a period may see: what refills while a lease gets old, and no more than
/// all processes can hold.
fn excess() -> f64 {
    let held = NODES as f64 * (LEASED_SHARE * BURST).floor();
    (LEASED_FOR.as_secs_f64() * RATE).min(held)
}

/// Processes that are running.
struct Fleet(Vec<Child>);

impl Fleet {
    fn start(proxy: &Proxy, company: &str, time: Duration) -> Result<Self> {
        let address = format!("redis://127.0.0.1:{}/", proxy.port());
        let node = || {
            Command::new(std::env::current_exe()?)
                .args(["fleet-node", &address, company, &time.as_secs().to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .context("can't start a process of the fleet")
        };
        // Those that were started before one could not be end with this value.
        let mut fleet = Self(Vec::new());
        for _ in 0..NODES {
            fleet.0.push(node()?);
        }
        Ok(fleet)
    }

    /// Waits for their end, and takes what they saw.
    fn end(mut self) -> Result<Seen> {
        let reading: Vec<_> = self
            .0
            .iter_mut()
            .map(|node| {
                let (output, errors) = (node.stdout.take(), node.stderr.take());
                (read(output), read(errors))
            })
            .collect();
        let mut nodes = Vec::new();
        for (node, (output, errors)) in self.0.iter_mut().zip(reading) {
            let (output, errors) = (joined(output)?, joined(errors)?);
            let status = node.wait()?;
            ensure!(
                status.success() && !errors.contains("panicked"),
                "a process of the fleet ended with {status}: {errors}"
            );
            nodes.push(Tally::read(&output)?);
        }
        Ok(Seen(nodes))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for node in &mut self.0 {
            // Those that have ended already can't be killed.
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

type Reading = thread::JoinHandle<std::io::Result<String>>;

/// Reads to the end, so that the process never waits for its reader.
fn read(stream: Option<impl Read + Send + 'static>) -> Reading {
    thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut stream) = stream {
            stream.read_to_string(&mut text)?;
        }
        Ok(text)
    })
}

fn joined(reading: Reading) -> Result<String> {
    let text = reading.join().ok().context("a reader panicked")?;
    text.context("the output of a process")
}

/// What each process saw.
struct Seen(Vec<Tally>);

impl Seen {
    fn hold_quota(&self, time: Duration, excess: f64) -> Result<()> {
        let all = Tally::all(&self.0);
        let admitted = all.count(Kind::Admitted);
        let most = all.length() * RATE + BURST;
        println!(
            "      {admitted} of {} admitted in {:.2} s, at most {most:.0}; slowest {:.0} ms",
            all.calls.len(),
            all.length(),
            all.slowest() * 1e3
        );
        ensure!(
            admitted as f64 <= most,
            "the fleet admitted more than its quota"
        );
        let least = time.as_secs_f64() * RATE * 0.8;
        ensure!(
            admitted as f64 >= least,
            "the fleet admitted less than it may"
        );
        let strays = all.count(Kind::AdmittedHere) + all.count(Kind::RefusedHere);
        ensure!(
            strays == 0,
            "{strays} calls were decided without the server"
        );
        // A call was admitted at some time between its question and its answer.
        let busiest = all.busiest(Kind::Admitted, 1.0);
        let most = BURST + RATE * (1.0 + all.slowest()) + excess;
        println!("      busiest second: {busiest} admitted, at most {most:.0}");
        ensure!(busiest as f64 <= most, "one second saw more than the quota");
        Ok(())
    }

    fn hold_share(&self, time: Duration, knocks: usize, back: f64) -> Result<()> {
        let (away, mut late) = (time.as_secs_f64() / 3.0, 0_f64);
        for (number, node) in self.0.iter().enumerate() {
            let alone = node.only(&[Kind::AdmittedHere, Kind::RefusedHere]);
            let admitted = alone.count(Kind::AdmittedHere);
            let most = SHARE * (alone.length() * RATE + BURST);
            let first = node.first_answer(Kind::Admitted, back);
            let first = first.with_context(|| format!("process {number} did not come back"))?;
            println!(
                "      process {number}: {admitted} admitted alone in {:.2} s, at most {most:.0}; \
                 back after {:.0} ms",
                alone.length(),
                (first - back) * 1e3
            );
            ensure!(
                admitted as f64 <= most.ceil(),
                "a process admitted more than its share"
            );
            let least = SHARE * (away - 1.0) * RATE * 0.8;
            ensure!(
                admitted as f64 >= least,
                "a process admitted less than its share"
            );
            late = late.max(first - back);
        }
        // The longest pause is 2 s, and an attempt that is under way takes a moment.
        ensure!(late < 3.0, "a process came back late");
        let all = Tally::all(&self.0);
        let by_server = all.count(Kind::Admitted);
        // The server kept nothing, so that each quota began anew.
        let most = all.length() * RATE + 2.0 * BURST;
        println!("      {by_server} admitted by the server, at most {most:.0}");
        ensure!(
            by_server as f64 <= most,
            "the fleet admitted more than its quota"
        );
        let patient = (NODES as f64 * (10.0 + 3.0 * away)) as usize;
        println!("      {knocks} attempts to connect while it was gone, at most {patient}");
        ensure!(knocks <= patient, "a storm of attempts to connect");
        ensure!(all.count(Kind::Failed) == 0, "calls failed");
        let waited = all.slowest();
        ensure!(waited < 2.0, "a call waited {waited} s");
        Ok(())
    }
}

const NODES: usize = 4;
const RATE: f64 = 1000.0;
const BURST: f64 = 100.0;
/// What each of them may admit alone.
const SHARE: f64 = 0.25;
/// The leases of those that lease: a company called `leased`.
const LEASED_SHARE: f64 = 0.05;
const LEASED_FOR: Duration = Duration::from_millis(100);
/// Calls a second of one process.
const OFFERED: u32 = 1000;
