//! System calls that fail under a log that is being written.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::log::{Log, Said};
use crate::servers::require_tool;

/// Makes each system call by which the log writes fail, with each error, early and late in its
/// life. After each: nothing that was told is missing, no sensitive handler ran without its intent,
/// and the log verifies. The calls are real ones; `strace` answers them in the kernel's place.
///
/// # Errors
/// When a promise is broken, or a call can't be made to fail; the message says which.
pub(super) fn run() -> Result<()> {
    println!("==> system calls that fail");
    require_tool("strace", "strace", "making system calls fail")?;
    for call in CALLS {
        let mut tally = Tally::default();
        for error in ERRORS {
            for time in 1..=call.times {
                fail(call.name, error, time, &mut tally)
                    .map_err(|broken| broken.context(format!("{} {time}: {error}", call.name)))?;
            }
        }
        println!("    {:<10} {tally}", call.name);
        ensure!(tally.failed > 0, "{} was never called", call.name);
    }
    Ok(())
}

/// One log whose `time`th `call` on each thread fails.
fn fail(call: &str, error: &str, time: u32, tally: &mut Tally) -> Result<()> {
    let home = tempfile::tempdir()?;
    let trace = home.path().join("trace");
    let log = Log::at(home.path());
    let mut child = log.start_under(strace(call, error, time, &trace)?)?;
    // It may well end by itself: a log that can't be opened says so.
    let ended = child.hear(ENOUGH, PATIENCE)?;
    let said = child.kill()?;
    let failed = fs::read_to_string(&trace)?.matches("(INJECTED)").count();
    if !said.is_empty() {
        // A log that never began may not even have its key yet.
        log.verify_as_left()?;
    }
    log.open()?;
    log.verify_as_opened()?;
    log.hold_to(0, &said)?;
    tally.add(&said, failed, ended);
    Ok(())
}

/// `-D` leaves the traced process where it can be killed; `-f` follows the writer's thread.
fn strace(call: &str, error: &str, time: u32, trace: &Path) -> Result<Command> {
    let mut command = Command::new("strace");
    command
        .args(["-D", "-f", "-qq", "-o"])
        .arg(trace)
        .arg("-e")
        .arg(format!("trace={call}"))
        .arg("-e")
        .arg(format!("inject={call}:error={error}:when={time}"))
        .arg(std::env::current_exe()?);
    Ok(command)
}

struct Call {
    name: &'static str,
    /// How often it is tried: once for each time that the writer's life has a new place for it.
    times: u32,
}

const CALLS: [Call; 9] = [
    Call::new("write", 24),
    Call::new("fdatasync", 16),
    Call::new("fsync", 6),
    Call::new("openat", 40),
    Call::new("rename", 8),
    Call::new("statx", 24),
    Call::new("ftruncate", 1),
    Call::new("mkdir", 2),
    Call::new("flock", 1),
];

impl Call {
    const fn new(name: &'static str, times: u32) -> Self {
        Self { name, times }
    }
}

#[derive(Debug, Default)]
struct Tally {
    failed: usize,
    durable: usize,
    handlers: usize,
    refused: usize,
    ended: u32,
}

impl Tally {
    fn add(&mut self, said: &[(Said, String)], failed: usize, ended: bool) {
        let count = |kind| said.iter().filter(|(said, _)| *said == kind).count();
        self.failed += failed;
        self.durable += count(Said::Durable);
        self.handlers += count(Said::Handler);
        self.refused += count(Said::Refused);
        self.ended += u32::from(ended);
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "failed {} times: {} durable events and {} intents are all there, {} were refused, \
             {} logs did not open",
            self.failed, self.durable, self.handlers, self.refused, self.ended
        )
    }
}

const ERRORS: [&str; 3] = ["EIO", "ENOSPC", "EINTR"];

/// So many things said are a life long enough for every fault that is planned.
const ENOUGH: usize = 400;
const PATIENCE: Duration = Duration::from_millis(1500);
