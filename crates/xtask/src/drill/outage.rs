//! A database that is away for a while, under load.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Scale;
use super::figures::millis;
use super::http::Caller;
use super::load::Load;
use super::processes::{Cli, Node, Programs};
use super::proxy::Proxy;
use crate::servers;

/// Cached keys go on for the bound, everything else is told to come back, nothing has to be
/// restarted, and nobody storms the server.
pub(super) fn run(programs: &Programs, scale: Scale) -> Result<()> {
    let away = scale.of(Duration::from_secs(30), Duration::from_secs(8));
    let home = tempfile::tempdir()?;
    let mut server = servers::postgres()?;
    let proxy = Proxy::start(server.port())?;
    let wire = server
        .url()
        .replace(&server.port().to_string(), &proxy.port().to_string());
    let url = server.url();
    let cli = Cli::new(programs, &url);
    let node = Node::start(programs, &wire, home.path())?;
    let (cached, fresh) = (cli.issue()?, cli.issue()?);
    let load = Load::start(&[node.address], &cached.raw);
    load.wait("the key is cached", Duration::from_secs(5), |log| {
        log.accepted > 100
    })?;
    let before = proxy.open();

    server.pause()?;
    let gone = Instant::now();
    let knocks = proxy.accepted();
    let mut caller = Caller::new(node.address);
    let (mut refused, mut slowest) = (0, Duration::ZERO);
    while gone.elapsed() < away {
        let asked = Instant::now();
        let answer = caller.accounts(&fresh.raw)?;
        slowest = slowest.max(asked.elapsed());
        ensure!(answer.status == 503, "a key that is not cached: {answer:?}");
        ensure!(
            answer.retry_after.is_some_and(|wait| wait > 0),
            "{answer:?}"
        );
        refused += 1;
        thread::sleep(Duration::from_millis(10));
    }
    let knocks = proxy.accepted() - knocks;
    let log = load.log();
    let worked = log
        .last_accepted
        .map(|last| last.saturating_duration_since(gone));
    let worked = worked.unwrap_or_default();
    println!(
        "    cached key went on for {:.0} ms of a bound of 5000 ms",
        millis(worked)
    );
    println!(
        "    {refused} calls with a key that was not cached: 503 with Retry-After, slowest {:.0} ms",
        millis(slowest)
    );
    println!(
        "    {knocks} attempts to connect in {:.0} s",
        away.as_secs_f32()
    );

    server.resume()?;
    let back = Instant::now();
    let again = |last: Instant| last > back;
    load.wait("the service recovers", Duration::from_secs(10), |log| {
        log.last_accepted.is_some_and(again)
    })?;
    println!(
        "    accepted again {:.0} ms after the server's return",
        millis(back.elapsed())
    );
    let answer = caller.accounts(&fresh.raw)?;
    ensure!(answer.status == 200, "after the return: {answer:?}");
    thread::sleep(Duration::from_secs(3));
    let after = proxy.open();
    println!("    {before} connections before, {after} after");
    let log = load.end();

    // An entry is asked for again at half its bound, so its age when the server went is 0 to 2.5 s.
    ensure!(
        worked <= BOUND + SLACK,
        "cached keys went on beyond the bound"
    );
    ensure!(
        worked >= BOUND / 2 - SLACK,
        "cached keys did not go on for the bound"
    );
    ensure!(
        log.without_retry_after == 0 && log.failed == 0 && log.refused == 0,
        "{log:?}"
    );
    ensure!(slowest < Duration::from_secs(3), "a refusal was slow");
    // From 50 ms, doubled up to 2 s, half of it at least, for one connection at a time.
    let most = 10 + usize::try_from(away.as_secs())?;
    ensure!(knocks <= most, "{knocks} attempts to connect are a storm");
    ensure!(after <= 6, "{after} connections are open");
    node.stop()
}

const BOUND: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_millis(100);
