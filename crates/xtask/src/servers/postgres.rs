//! A PostgreSQL server of our own.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;

use super::process;
use crate::step;

/// A running server; it stops and its data go when this is dropped.
#[derive(Debug)]
pub(crate) struct Postgres {
    programs: Programs,
    home: TempDir,
    port: u16,
    server: Child,
}

impl Postgres {
    /// Makes an empty database and starts its server with the programs in `directory`. The
    /// server refuses to run as root, so root starts it as `postgres` or `nobody`.
    ///
    /// # Errors
    /// When that fails; the end of the server's log is part of the message.
    pub(super) fn start(directory: &Path, disk: Disk) -> Result<Self> {
        let programs = Programs::new(directory, disk)?;
        let home = tempfile::Builder::new()
            .prefix("countersign-postgres-")
            .tempdir()?;
        if let Some((user, group)) = programs.user {
            chown(home.path(), Some(user), Some(group))?;
        }
        step::output(programs.command("initdb").arg("-D").arg(data(&home)).args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
        ]))?;
        programs.certify(&home)?;
        let port = process::free_port()?;
        let server = programs.serve(&home, port)?;
        let mut postgres = Self {
            programs,
            home,
            port,
            server,
        };
        postgres.wait()?;
        Ok(postgres)
    }

    /// The address of the server's only database.
    pub(crate) fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The certificate of the authority that vouches for the server, under the name `localhost`.
    pub(crate) fn authority(&self) -> String {
        self.home.path().join("ca.pem").display().to_string()
    }

    /// The port that the server listens on, while it does.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server as if its machine were gone. Its data stay.
    ///
    /// # Errors
    /// When it can't be stopped.
    pub(crate) fn pause(&mut self) -> Result<()> {
        self.stop()
    }

    /// Starts the server again, on the same data and port.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn resume(&mut self) -> Result<()> {
        self.server = self.programs.serve(&self.home, self.port)?;
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        let (programs, port) = (&self.programs, self.port);
        process::wait_until(&mut self.server, || programs.ping(port)).map_err(|error| {
            let log = fs::read_to_string(log(&self.home)).unwrap_or_else(|e| e.to_string());
            anyhow!("{error}; its log:\n{log}")
        })
    }

    fn stop(&mut self) -> Result<()> {
        // A server that is killed instead would leave its shared memory behind.
        let stop = ["stop", "--silent", "--wait", "--mode=immediate"];
        let mut command = self.programs.command("pg_ctl");
        let stopped = step::output(command.args(stop).arg("-D").arg(data(&self.home)));
        if stopped.is_err() {
            self.server.kill()?;
        }
        self.server.wait()?;
        stopped.map(drop)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("PostgreSQL did not stop in good order: {error:#}");
        }
    }
}

/// Whether what the server acknowledges would outlive a crash of the machine.
#[derive(Debug, Clone, Copy)]
pub(super) enum Disk {
    /// For measurements.
    Synced,
    /// For tests: nothing in there outlives the server anyway.
    Unsynced,
}

/// Where PostgreSQL's programs are, and how they run.
#[derive(Debug)]
struct Programs {
    directory: PathBuf,
    disk: Disk,
    user: Option<(u32, u32)>,
}

impl Disk {
    const fn setting(self) -> &'static str {
        match self {
            Self::Synced => "fsync=on",
            Self::Unsynced => "fsync=off",
        }
    }
}

impl Programs {
    fn new(directory: &Path, disk: Disk) -> Result<Self> {
        let unprivileged = || process::user("postgres").or_else(|_| process::user("nobody"));
        let user = process::is_root()?.then(unprivileged).transpose()?;
        Ok(Self {
            directory: directory.to_owned(),
            disk,
            user,
        })
    }

    fn command(&self, program: &str) -> Command {
        self.command_at(&self.directory.join(program))
    }

    fn command_at(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // The caller's directory may be closed to the user that the program runs as.
        command.current_dir("/").stdin(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// Makes an authority of the server's own, and has it vouch for `localhost`.
    fn certify(&self, home: &TempDir) -> Result<()> {
        fs::write(home.path().join("san"), "subjectAltName=DNS:localhost\n")?;
        for line in CERTIFICATES {
            let mut command = self.command_at(Path::new("openssl"));
            command.args(line.split(' ')).current_dir(home.path());
            step::output(&mut command).context("the server's certificate")?;
        }
        Ok(())
    }

    fn serve(&self, home: &TempDir, port: u16) -> Result<Child> {
        let log = File::create(log(home))?;
        let setting = |name, file| format!("{name}={}", home.path().join(file).display());
        self.command("postgres")
            .arg("-D")
            .arg(data(home))
            .arg("-k")
            .arg(home.path())
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "max_connections=200"])
            .args(["-c", "ssl=on"])
            .args(["-c", &setting("ssl_cert_file", "server.pem")])
            .args(["-c", &setting("ssl_key_file", "server.key")])
            .args(["-c", self.disk.setting()])
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("can't start postgres")
    }

    fn ping(&self, port: u16) -> bool {
        let mut command = self.command("pg_isready");
        command.args(["--quiet", "--host=127.0.0.1", "--port", &port.to_string()]);
        command.status().is_ok_and(|status| status.success())
    }
}

const CERTIFICATES: [&str; 3] = [
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
     -subj /CN=countersign-test -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.pem",
    "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
     -keyout server.key -out server.csr",
    "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 2 -extfile san -out server.pem",
];

fn data(home: &TempDir) -> PathBuf {
    home.path().join("data")
}

fn log(home: &TempDir) -> PathBuf {
    home.path().join("log")
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::servers::install;

    /// Does nothing where PostgreSQL is not installed.
    #[test]
    fn starts_answers_and_stops() {
        let Some(directory) = install::find_postgres() else {
            return;
        };
        let postgres = Postgres::start(&directory, Disk::Unsynced).unwrap();
        let (port, home) = (postgres.port, postgres.home.path().to_owned());
        let address = postgres.url();
        let mut query = postgres.programs.command("psql");
        let answer = step::output(query.args([&address, "-Atc", "select 6 * 7"])).unwrap();
        assert_eq!(answer.trim(), "42");
        drop(postgres);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(!home.exists());
    }

    /// Does nothing where PostgreSQL is not installed.
    #[test]
    fn a_server_that_cannot_start_shows_its_log() {
        let Some(directory) = install::find_postgres() else {
            return;
        };
        let mut postgres = Postgres::start(&directory, Disk::Unsynced).unwrap();
        // A second server on the same data ends at once.
        let second = postgres.programs.serve(&postgres.home, postgres.port);
        let first = std::mem::replace(&mut postgres.server, second.unwrap());
        postgres.server.wait().unwrap();
        postgres.port = process::free_port().unwrap();
        let error = postgres.wait().unwrap_err().to_string();
        assert!(error.contains("postmaster.pid"), "{error}");
        postgres.server = first;
    }
}
