//! `cargo xtask test`: everything that must hold before a change is accepted.

use std::process::ExitCode;

use anyhow::Result;

use crate::drill::{self, Scale};
use crate::python;
use crate::servers::{self, Servers};
use crate::step;
use crate::workspace::Workspace;

/// Runs the checks, the fast ones first, and stops at the first that fails.
pub(crate) fn run() -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    step::run(
        "formatting",
        workspace.cargo().args(["fmt", "--all", "--check"]),
    )?;
    step::run(
        "lints",
        workspace
            .cargo()
            .args(["clippy", "--workspace", "--all-targets", "--all-features"])
            .args(["--", "-D", "warnings"]),
    )?;
    step::run(
        "documentation",
        workspace.cargo().env("RUSTDOCFLAGS", "-D warnings").args([
            "doc",
            "--workspace",
            "--no-deps",
            "--all-features",
        ]),
    )?;
    servers::require_tool("curl", "curl", "the README's commands")?;
    let python = python::with_clients(&workspace)?;
    let servers = Servers::for_members(&workspace)?;
    step::run(
        "tests",
        workspace
            .cargo()
            .envs(servers.environment())
            .env(python::VARIABLE, python)
            .args(["test", "--workspace", "--all-features"])
            .args(["--", "--include-ignored"]),
    )?;
    drill::run("all", Scale::Short)
}
