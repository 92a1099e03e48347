//! Somebody who takes away what a log writes, while it does.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::log::{Loaded, Log, Said};

/// Removes the segment that is written, moves it away, and moves the whole directory away and back,
/// under load. The log goes on without a restart, and nothing that was told is missing.
///
/// # Errors
/// When a promise is broken; the message says which.
pub(super) fn run() -> Result<()> {
    println!("==> other hands in the log");
    for (name, hand) in [
        ("a segment is removed", remove as Hand),
        ("a segment is moved away", move_away),
        ("the directory is away", move_directory),
    ] {
        let home = tempfile::tempdir()?;
        let log = Log::at(home.path());
        let mut told = 0;
        for _ in 0..TIMES {
            told += meddle(home.path(), &log, hand).context(name)?;
        }
        println!("    {name:<23} {TIMES} times: {told} durable events and intents are all there");
    }
    Ok(())
}

type Hand = fn(&Path, &mut Loaded) -> Result<()>;

fn meddle(home: &Path, log: &Log, hand: Hand) -> Result<usize> {
    let before = log.length()?;
    let mut child = log.start(true)?;
    child.wait_until(Said::Durable)?;
    hand(home, &mut child)?;
    child.go_on()?;
    let said = log.end(child, before)?;
    Ok(said.iter().filter(|(it, _)| *it != Said::Refused).count())
}

fn remove(home: &Path, child: &mut Loaded) -> Result<()> {
    fs::remove_file(young_segment(home)?)?;
    child.wait_until(Said::Refused)
}

fn move_away(home: &Path, child: &mut Loaded) -> Result<()> {
    fs::rename(young_segment(home)?, home.join("moved"))?;
    child.wait_until(Said::Refused)
}

fn move_directory(home: &Path, child: &mut Loaded) -> Result<()> {
    let (log, away) = (home.join("log"), home.join("away"));
    fs::rename(&log, &away)?;
    child.wait_until(Said::Refused)?;
    fs::rename(&away, &log)?;
    Ok(())
}

/// The segment that is written, far from its end: one that is finished meanwhile is nobody's to put
/// back.
fn young_segment(home: &Path) -> Result<PathBuf> {
    let segments = home.join("log/segments");
    let started = Instant::now();
    loop {
        let names = fs::read_dir(&segments)?.map(|entry| Ok(entry?.path()));
        let mut names: Vec<PathBuf> = names.collect::<Result<_>>()?;
        names.retain(|name| name.extension().is_some_and(|it| it == "jsonl"));
        let newest = names.into_iter().max().context("a segment")?;
        if fs::metadata(&newest)?.len() < YOUNG {
            return Ok(newest);
        }
        ensure!(started.elapsed() < PATIENCE, "no segment ever begins");
        thread::sleep(Duration::from_millis(1));
    }
}

const TIMES: u32 = 5;
const YOUNG: u64 = 32 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);
