//! Finds the programs that tests need, and on Debian as root installs what is missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};

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

/// NATS's server program, of a version with JetStream: the example makes its streams with it.
///
/// # Errors
/// When there is none and it can't be installed, or it is too old.
pub(super) fn nats() -> Result<PathBuf> {
    let program = find_or_install("NATS", "nats-server", find_nats)?;
    let version = step::output(Command::new(&program).arg("--version"))?;
    ensure!(
        has_jetstream(&version),
        "{}: it has no JetStream",
        version.trim()
    );
    Ok(program)
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

fn find_nats() -> Option<PathBuf> {
    // Debian puts it where only root looks.
    let debian = || Some(PathBuf::from("/usr/sbin/nats-server")).filter(|path| path.is_file());
    on_path("nats-server").or_else(debian)
}

/// Since version 2.2, as in `nats-server: v2.9.10`.
fn has_jetstream(version: &str) -> bool {
    let numbers = version.rsplit('v').next().unwrap_or_default().trim();
    let mut numbers = numbers
        .split('.')
        .map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(2), Some(2))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jetstream_came_with_a_version() {
        for (version, has) in [
            ("nats-server: v2.9.10\n", true),
            ("nats-server: v2.10.0-RC.1", true),
            ("nats-server: v3.0", true),
            ("nats-server: v2.1.9", false),
            ("nats-server: v1.4", false),
            ("", false),
        ] {
            assert_eq!(has_jetstream(version), has, "{version}");
        }
    }
}
