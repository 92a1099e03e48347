//! A disk that is full for a while.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::log::{Log, Said};

/// Fills the disk under a log that is being written, frees it again, and kills the process after:
/// requests are refused meanwhile, let in again without a restart, and nothing that was told is
/// missing. Needs a file system of a fixed size; where none can be mounted it says so.
///
/// # Errors
/// When a promise is broken; the message says which.
pub(super) fn run() -> Result<()> {
    println!("==> a disk that is full for {} s", FULL.as_secs());
    let home = tempfile::tempdir()?;
    let Some(disk) = Disk::mount(home.path())? else {
        println!("    skipped: only an administrator can mount a file system of a fixed size");
        return Ok(());
    };
    let log = Log::at(&disk.0);
    let mut child = log.start(true)?;
    child.wait_until(Said::Durable)?;
    child.wait_until(Said::Handler)?;
    let ballast = disk.fill()?;
    child.wait_until(Said::Refused)?;
    thread::sleep(FULL);
    fs::remove_file(ballast)?;
    child.go_on()?;
    let said = log.end(child, 0)?;
    let count = |kind| said.iter().filter(|(said, _)| *said == kind).count();
    println!(
        "    {} durable events and {} intents of handlers that ran are all there, {} were refused",
        count(Said::Durable),
        count(Said::Handler),
        count(Said::Refused)
    );
    ensure!(count(Said::Refused) > 0, "nothing was refused");
    Ok(())
}

/// A file system in memory.
struct Disk(PathBuf);

impl Disk {
    fn mount(home: &Path) -> Result<Option<Self>> {
        let path = home.join("disk");
        fs::create_dir(&path)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=32m", "countersign-crash"])
            .arg(&path)
            .output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        Ok(mounted.then_some(Self(path)))
    }

    /// Takes all the room there is, also what becomes free shortly after.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.0.join("ballast");
        let mut file = File::create(&path)?;
        let mut size = 1024 * 1024;
        while size > 0 {
            if file.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if let Err(error) = unmounted.context("umount") {
            println!("    {error:#}");
        }
    }
}

const FULL: Duration = Duration::from_secs(10);
