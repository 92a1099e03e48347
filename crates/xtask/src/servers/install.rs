//! Finds the programs that tests need, and on Debian as root installs what is missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::process;
use crate::step;

/// The directory of PostgreSQL's programs, the newest version where there are several.
///
/// # Errors
/// When there is none and it can't be installed.
pub(super) fn postgres() -> Result<PathBuf> {
    require_tool(
        "openssl",
        "openssl",
        "the certificate of a PostgreSQL server",
    )?;
    find_or_install("PostgreSQL", "postgresql", find_postgres)
}

/// Redis's or Valkey's server program.
///
/// # Errors
/// When there is none and it can't be installed.
pub(super) fn redis() -> Result<PathBuf> {
    find_or_install("Redis", "redis-server", find_redis)
}

/// Makes sure that `program` can be called.
///
/// # Errors
/// When it is missing and can't be installed; the message says what needs it.
pub(crate) fn require_tool(program: &str, package: &str, what_for: &str) -> Result<()> {
    let what = format!("{program}, for {what_for},");
    find_or_install(&what, package, || on_path(program)).map(drop)
}

/// Makes sure that Python can make environments of its own: Debian has that in a package apart.
///
/// # Errors
/// As [`require_tool`].
pub(crate) fn require_python(what_for: &str) -> Result<()> {
    let usable = |python: &PathBuf| {
        let mut probe = Command::new(python);
        let probe = probe.args(["-c", "import ensurepip, venv"]).output();
        probe.is_ok_and(|probe| probe.status.success())
    };
    let what = format!("python3 with venv, for {what_for},");
    let find = || on_path("python3").filter(usable);
    find_or_install(&what, "python3-venv", find).map(drop)
}

pub(super) fn find_postgres() -> Option<PathBuf> {
    let directory_of = |initdb: PathBuf| {
        // Debian's and other wrappers are links into the version's own directory.
        let initdb = initdb.canonicalize().ok()?;
        let directory = initdb.parent()?.to_owned();
        directory.join("postgres").exists().then_some(directory)
    };
    newest_debian_postgres().or_else(|| on_path("initdb").and_then(directory_of))
}

pub(super) fn find_redis() -> Option<PathBuf> {
    on_path("redis-server").or_else(|| on_path("valkey-server"))
}

fn newest_debian_postgres() -> Option<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql").read_dir().ok()?;
    versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs
                .join("initdb")
                .exists()
                .then_some((version, programs))
        })
        .max()
        .map(|(_, programs)| programs)
}

fn find_or_install(
    what: &str,
    package: &str,
    find: impl Fn() -> Option<PathBuf>,
) -> Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    if on_path("apt-get").is_none() || !process::is_root()? {
        bail!("{what} is missing: install it (on Debian: apt-get install {package})");
    }
    step::run(
        "package lists",
        Command::new("apt-get").args(["update", "--quiet"]),
    )?;
    step::run(
        &format!("installation of {package}"),
        Command::new("apt-get")
            .args(["install", "--yes", "--quiet", package])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    match find() {
        Some(found) => Ok(found),
        None => bail!("{what} is still missing after the installation of {package}"),
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
