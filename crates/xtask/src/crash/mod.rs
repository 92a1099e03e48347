//! `cargo xtask crash`: an audit log whose process is killed under load, again and again, and one
//! whose disk is full for a while or fails, or whose files somebody takes away.

mod child;
mod faults;
mod full;
mod hands;
mod log;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

pub(crate) use self::child::run as child;
use self::log::{Log, Said};

/// Kills a process under load `rounds` times at random moments. After each: every event that was
/// told to be durable is in the log, once, no sensitive handler ran without its intent there, the
/// log verifies before and after it is opened again, and opening is quick. Then the same for a
/// disk that is full for a while, for files that somebody takes away, and for every system call that
/// fails.
///
/// # Errors
/// When a promise is broken; the message says which.
pub(crate) fn run(rounds: u32) -> Result<ExitCode> {
    println!("==> {rounds} kills under load");
    let mut tally = Tally::default();
    let mut done = 0;
    while done < rounds {
        // A log of its own for every few, so that each is looked at as a whole in little time.
        let home = tempfile::tempdir()?;
        for _ in 0..ROUNDS_A_LOG.min(rounds - done) {
            kill_once(home.path(), &mut tally)?;
            done += 1;
        }
    }
    println!("    {tally}");
    full::run()?;
    hands::run()?;
    faults::run()?;
    Ok(ExitCode::SUCCESS)
}

fn kill_once(home: &Path, tally: &mut Tally) -> Result<()> {
    let log = Log::at(home);
    let before = log.length()?;
    let mut child = log.start(false)?;
    child.wait_until(Said::Durable)?;
    std::thread::sleep(Duration::from_micros(fastrand::u64(0..60_000)));
    let said = child.kill()?;
    let torn = log.verify_as_left()?;
    let started = Instant::now();
    log.open()?;
    let restart = started.elapsed();
    log.verify_as_opened()?;
    log.hold_to(before, &said)?;
    ensure!(restart < LONGEST_RESTART, "opening took {restart:?}");
    tally.add(&said, torn, restart);
    Ok(())
}

#[derive(Debug, Default)]
struct Tally {
    rounds: u32,
    durable: usize,
    handlers: usize,
    torn: u32,
    restart: Duration,
}

impl Tally {
    fn add(&mut self, said: &[(Said, String)], torn: bool, restart: Duration) {
        let count = |kind| said.iter().filter(|(said, _)| *said == kind).count();
        self.rounds += 1;
        self.durable += count(Said::Durable);
        self.handlers += count(Said::Handler);
        self.torn += u32::from(torn);
        self.restart = self.restart.max(restart);
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} kills: {} durable events and {} intents of handlers that ran are all there, \
             {} tails were torn, the longest restart took {} ms",
            self.rounds,
            self.durable,
            self.handlers,
            self.torn,
            self.restart.as_millis()
        )
    }
}

const ROUNDS_A_LOG: u32 = 10;
const LONGEST_RESTART: Duration = Duration::from_secs(1);
