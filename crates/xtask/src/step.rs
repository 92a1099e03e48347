//! One step of a chore: a command that must succeed.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

/// Says what it does, runs `command` and says how long that took.
///
/// # Errors
/// When the command can't be started or does not succeed.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    println!("==> {what}");
    let started = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("{what}: can't start {}", name(command)))?;
    let seconds = started.elapsed().as_secs_f32();
    ensure!(status.success(), "{what}: {status} after {seconds:.1} s");
    println!("    {what}: ok, {seconds:.1} s");
    Ok(())
}

/// Runs `command` and gives what it wrote to its standard output.
///
/// # Errors
/// When the command can't be started or does not succeed; its error output is part of the message.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("can't start {}", name(command)))?;
    ensure!(
        output.status.success(),
        "{}: {}: {}",
        name(command),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", name(command)))
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
