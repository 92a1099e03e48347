//! What cargo knows of this workspace.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::step;

/// The part of `cargo metadata` that the chores use.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    pub(crate) workspace_root: PathBuf,
    pub(crate) target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// When cargo fails, for example because a manifest is broken.
    pub(crate) fn load() -> Result<Self> {
        let metadata = step::output(cargo().args([
            "metadata",
            "--no-deps",
            "--format-version=1",
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ]))?;
        serde_json::from_str(&metadata).context("output of cargo metadata")
    }

    /// Whether the workspace has a member of this name.
    pub(crate) fn has_member(&self, name: &str) -> bool {
        self.packages.iter().any(|package| package.name == name)
    }

    /// A cargo command that works on this workspace from wherever the chore was called.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.workspace_root);
        command
    }
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
