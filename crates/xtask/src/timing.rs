//! `cargo xtask timing`: whether the time of a refusal tells which prefixes are known.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::Workspace;

/// Runs the measurement, which says by itself how it went.
///
/// # Errors
/// When cargo can't be started.
pub(crate) fn run(quick: bool) -> Result<ExitCode> {
    let mut command = Workspace::load()?.cargo();
    command.args(["bench", "--quiet", "--package", "countersign-workspace"]);
    command.args(["--bench", "timing", "--"]);
    let status = command.args(quick.then_some("--quick")).status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
