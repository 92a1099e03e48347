//! `cargo xtask timing`: whether the time of a refusal tells which prefixes are known.

use std::process::ExitCode;

use anyhow::Result;

use crate::servers::Servers;
use crate::workspace::Workspace;

/// Runs the measurement, which says by itself how it went, also against PostgreSQL where that is
/// installed or the caller names one.
///
/// # Errors
/// When cargo or the server can't be started.
pub(crate) fn run(quick: bool) -> Result<ExitCode> {
    let mut command = Workspace::load()?.cargo();
    command.args(["bench", "--quiet", "--package", "countersign-workspace"]);
    command.args(["--bench", "timing", "--"]);
    let server = Servers::installed_postgres()?;
    let environment = server.iter().flat_map(Servers::environment);
    command.envs(environment);
    let status = command.args(quick.then_some("--quick")).status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
