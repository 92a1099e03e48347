//! What throw-away servers have in common: a port, a user, a wait until they answer.

use std::io;
use std::net::TcpListener;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::step;

/// A port of the loopback interface that nobody listens on.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Whether this process runs as root.
pub(super) fn is_root() -> Result<bool> {
    Ok(id(&["-u"])? == 0)
}

/// The user and the group by their numbers.
pub(super) fn user(name: &str) -> Result<(u32, u32)> {
    Ok((id(&["-u", name])?, id(&["-g", name])?))
}

/// Waits until `answers`.
///
/// # Errors
/// When the server ends, or does not answer within half a minute.
pub(super) fn wait_until(server: &mut Child, answers: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !answers() {
        if let Some(status) = server.try_wait()? {
            bail!("the server ended: {status}");
        }
        if Instant::now() > deadline {
            bail!("the server does not answer");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn id(arguments: &[&str]) -> Result<u32> {
    let text = step::output(Command::new("id").args(arguments))?;
    text.trim().parse().context("output of id")
}
