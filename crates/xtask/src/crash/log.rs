//! The log of a process that is killed: started, left, opened and read.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use countersign_audit_sink::{FileLog, Finding, LogEvents, LogVerifier};
use countersign_core::StoreError;

/// What a process says while it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The event with this id is durable.
    Durable,
    /// The handler of the sensitive request with this id ran.
    Handler,
    /// The request or event was refused.
    Refused,
}

impl Said {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Handler => "handler",
            Self::Refused => "refused",
        }
    }

    fn parse(line: &str) -> Option<(Self, String)> {
        let (word, id) = line.split_once(' ')?;
        let all = [Self::Durable, Self::Handler, Self::Refused];
        let said = all.into_iter().find(|said| said.word() == word)?;
        Some((said, id.to_owned()))
    }
}

/// A log in a directory.
#[derive(Debug)]
pub(super) struct Log(PathBuf);

impl Log {
    pub(super) fn at(home: &Path) -> Self {
        Self(home.join("log"))
    }

    /// Starts a process that loads the log; `slowly` leaves the machine some air.
    pub(super) fn start(&self, slowly: bool) -> Result<Loaded> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("crash-child").arg(&self.0);
        command.args(slowly.then_some("slowly"));
        Self::load(command)
    }

    /// The same, as the last argument of another program.
    pub(super) fn start_under(&self, mut command: Command) -> Result<Loaded> {
        command.arg("crash-child").arg(&self.0);
        command.stderr(Stdio::null());
        Self::load(command)
    }

    fn load(mut command: Command) -> Result<Loaded> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("the process's output")?;
        let (sender, said) = channel();
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // The last line may be cut off by the kill; it says nothing then.
                if let Some(said) = Said::parse(&line)
                    && sender.send(said).is_err()
                {
                    return;
                }
            }
        });
        Ok(Loaded {
            child,
            said,
            heard: Vec::new(),
            reader: Some(reader),
        })
    }

    /// How many events it has.
    pub(super) fn length(&self) -> Result<u64> {
        if !self.0.exists() {
            return Ok(0);
        }
        let report = LogVerifier::new(&self.0).verify();
        Ok(report.map_err(|error| anyhow!("{error}"))?.events)
    }

    /// Verifies what a kill left; whether its tail is torn.
    pub(super) fn verify_as_left(&self) -> Result<bool> {
        match self.finding()? {
            Finding::Ok | Finding::UnsignedTail(_) | Finding::ListEndsEarly => Ok(false),
            Finding::TornTail(_) => Ok(true),
            finding => bail!("the log as it was left: {finding}"),
        }
    }

    pub(super) fn verify_as_opened(&self) -> Result<()> {
        let finding = self.finding()?;
        ensure!(finding == Finding::Ok, "the log once opened: {finding}");
        Ok(())
    }

    fn finding(&self) -> Result<Finding> {
        let report = LogVerifier::new(&self.0).verify();
        Ok(report.map_err(|error| anyhow!("{error}"))?.finding)
    }

    pub(super) fn open(&self) -> Result<()> {
        let told = |error: StoreError| anyhow!("{error}: {:?}", std::error::Error::source(&error));
        FileLog::open(&self.0).map(drop).map_err(told)
    }

    /// Kills the process and looks whether the log holds to all that it said since event `from`.
    pub(super) fn end(&self, child: Loaded, from: u64) -> Result<Vec<(Said, String)>> {
        let said = child.kill()?;
        self.verify_as_left()?;
        self.open()?;
        self.verify_as_opened()?;
        self.hold_to(from, &said)?;
        Ok(said)
    }

    /// Everything that was said is in the log from event `from` on, once.
    pub(super) fn hold_to(&self, from: u64, said: &[(Said, String)]) -> Result<()> {
        let (mut ids, mut intents) = (HashMap::new(), HashMap::new());
        let events = LogEvents::from_index(&self.0, from).map_err(|error| anyhow!("{error}"))?;
        for event in events {
            let event = event.map_err(|error| anyhow!("{error}"))?;
            if let Some(id) = event.text("id") {
                *ids.entry(id.to_owned()).or_insert(0) += 1;
            }
            if event.text("type") == Some("external_api.request.intent")
                && let Some(id) = event.text("request_id")
            {
                *intents.entry(id.to_owned()).or_insert(0) += 1;
            }
        }
        for (said, id) in said {
            let found = match said {
                Said::Durable => ids.get(id),
                Said::Handler => intents.get(id),
                Said::Refused => continue,
            };
            let found = found.copied().unwrap_or(0);
            ensure!(
                found == 1,
                "{} {id} is in the log {found} times",
                said.word()
            );
        }
        Ok(())
    }
}

/// A process that loads a log.
#[derive(Debug)]
pub(super) struct Loaded {
    child: Child,
    said: Receiver<(Said, String)>,
    heard: Vec<(Said, String)>,
    reader: Option<JoinHandle<()>>,
}

impl Loaded {
    /// Waits until it says something of this kind from now on.
    pub(super) fn wait_until(&mut self, wanted: Said) -> Result<()> {
        self.heard.extend(self.said.try_iter());
        loop {
            let said = self.said.recv_timeout(PATIENCE);
            let said = said.with_context(|| format!("it never says {}", wanted.word()))?;
            let found = said.0 == wanted;
            self.heard.push(said);
            if found {
                return Ok(());
            }
        }
    }

    /// Waits until events are durable and handlers run again.
    pub(super) fn go_on(&mut self) -> Result<()> {
        // Twice, for the first may have been on its way.
        for _ in 0..2 {
            self.wait_until(Said::Durable)?;
            self.wait_until(Said::Handler)?;
        }
        Ok(())
    }

    /// Listens until it has said so much or the time is over; whether it has ended by itself.
    pub(super) fn hear(&mut self, enough: usize, patience: Duration) -> Result<bool> {
        let end = Instant::now() + patience;
        while self.heard.len() < enough {
            let left = end.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(left) {
                Ok(said) => self.heard.push(said),
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Kills it; all that it ever said.
    pub(super) fn kill(mut self) -> Result<Vec<(Said, String)>> {
        self.child.kill()?;
        self.child.wait()?;
        if let Some(reader) = self.reader.take() {
            let ended = reader.join();
            ended.map_err(|_| anyhow!("reading the process's output panicked"))?;
        }
        self.heard.extend(self.said.try_iter());
        Ok(std::mem::take(&mut self.heard))
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
