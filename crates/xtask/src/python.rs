//! A Python with the clients that tests call services with.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::servers::require_python;
use crate::step;
use crate::workspace::Workspace;

/// The variable by which tests find the interpreter.
pub(crate) const VARIABLE: &str = "COUNTERSIGN_TEST_PYTHON";

/// The interpreter of an environment of its own in the target directory, with the clients in it.
/// Made once; one that the caller named in the environment is used instead.
///
/// # Errors
/// When Python is missing and can't be installed, or the clients can't.
pub(crate) fn with_clients(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(VARIABLE).filter(|given| !given.is_empty()) {
        return Ok(given.into());
    }
    require_python("clients that call the services")?;
    let directory = workspace.target_directory.join("python");
    let python = directory.join("bin/python");
    if !python.exists() {
        let mut venv = Command::new("python3");
        step::run(
            "a Python environment",
            venv.args(["-m", "venv"]).arg(&directory),
        )?;
    }
    step::run(
        "Python clients",
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .arg("--disable-pip-version-check")
            .args(CLIENTS),
    )?;
    Ok(python)
}

const CLIENTS: [&str; 3] = [
    "grpcio==1.85.1",
    "grpcio-status==1.85.1",
    "schemathesis==4.32.5",
];
