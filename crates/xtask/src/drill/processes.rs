//! The processes of a drill: services, and the operators' command line.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::step;
use crate::workspace::Workspace;

/// The programs under test.
#[derive(Debug)]
pub(super) struct Programs {
    service: PathBuf,
    cli: PathBuf,
}

impl Programs {
    /// Builds them.
    pub(super) fn build(workspace: &Workspace) -> Result<Self> {
        let packages = ["--package", "payments-api", "--package", "countersign-cli"];
        step::run(
            "programs",
            workspace.cargo().args(["build", "--bins"]).args(packages),
        )?;
        let directory = workspace.target_directory.join("debug");
        Ok(Self {
            service: directory.join("payments-api"),
            cli: directory.join("countersign"),
        })
    }
}

/// The command line, on one store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cli<'a> {
    programs: &'a Programs,
    store: &'a str,
}

/// A key as the command line gave it out.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) prefix: String,
    pub(super) raw: String,
}

impl<'a> Cli<'a> {
    pub(super) const fn new(programs: &'a Programs, store: &'a str) -> Self {
        Self { programs, store }
    }

    /// The command, ready to be started.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.cli);
        command
            .env("COUNTERSIGN_STORE", self.store)
            .args(["--actor", "drill", "--json"])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Issues a key of the company that the services know.
    pub(super) fn issue(&self) -> Result<Key> {
        let issued: Value = serde_json::from_str(&step::output(&mut self.command(ISSUE))?)?;
        Key::read(&issued)
    }

    /// Revokes a key, and says when the command had ended.
    pub(super) fn revoke(&self, key: &Key) -> Result<Instant> {
        step::output(&mut self.command(&revoke(&key.prefix)))?;
        Ok(Instant::now())
    }

    /// All keys of the company.
    pub(super) fn list(&self) -> Result<Vec<Value>> {
        let list = ["keys", "list", "--company", COMPANY];
        let text = step::output(&mut self.command(&list))?;
        serde_json::from_str(&text).context("a list of keys")
    }
}

impl Key {
    /// Reads what `issue` or `rotate` printed.
    pub(super) fn read(issued: &Value) -> Result<Self> {
        let text = |name: &str| {
            let text = issued[name].as_str().map(str::to_owned);
            text.with_context(|| format!("{name} of an issued key"))
        };
        Ok(Self {
            id: text("id")?,
            prefix: text("prefix")?,
            raw: text("key")?,
        })
    }
}

/// The arguments that revoke a key.
pub(super) const fn revoke(name: &str) -> [&str; 6] {
    let reason = "suspected_leakage";
    ["keys", "revoke", name, "--reason", reason, "--yes"]
}

/// A service process.
#[derive(Debug)]
pub(super) struct Node {
    child: Child,
    pub(super) address: SocketAddr,
    /// The example's own keys.
    pub(super) keys: Value,
    log: PathBuf,
}

impl Node {
    /// Starts a service on `store` with its own data in `home`.
    pub(super) fn start(programs: &Programs, store: &str, home: &Path) -> Result<Self> {
        fs::create_dir_all(home)?;
        let (keys, log) = (home.join("keys.json"), home.join("log"));
        let mut child = Command::new(&programs.service)
            .env("COUNTERSIGN_STORE", store)
            .args([
                "--listen",
                "127.0.0.1:0",
                "--internal-listen",
                "127.0.0.1:0",
            ])
            .arg("--data")
            .arg(home.join("data"))
            .arg("--demo-keys")
            .arg(&keys)
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()
            .context("can't start the service")?;
        let output = child.stdout.take().context("the service's output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ");
        let said = || format!("the service did not start: {:?}", fs::read_to_string(&log));
        Ok(Self {
            child,
            address: address.with_context(said)?.parse()?,
            keys: serde_json::from_str(&fs::read_to_string(keys)?)?,
            log,
        })
    }

    /// What the service has logged.
    pub(super) fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Ends the service as a crash would.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends the service in good order.
    pub(super) fn stop(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        step::output(Command::new("kill").args(["-TERM", &id]))?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the service ended with {status}");
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It has ended already where the drill got so far.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A company that the example makes known.
pub(super) const COMPANY: &str = "company_12";

/// The arguments that issue a key of it.
pub(super) const ISSUE: &[&str] = &[
    "keys",
    "issue",
    "--company",
    COMPANY,
    "--scope",
    "accounts:read",
    "--expires",
    "12h",
    "--brand",
    "acme",
];
