//! Processes that are killed in the middle of a change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Scale;
use super::audit::told;
use super::http::{Answer, Caller};
use super::processes::{Cli, ISSUE, Key, Node, Programs, revoke};
use crate::{servers, step};

/// After each kill the store is in a state of the machine, one that the change could have left; what
/// was confirmed is there; and at the end every change has its events in the audit log, each once.
pub(super) fn run(programs: &Programs, scale: Scale) -> Result<()> {
    let home = tempfile::tempdir()?;
    let rounds = scale.of(200, 12);
    let file = home.path().join("keys.db");
    let store = format!("sqlite:{}", file.display());
    Drill::start(programs, &store, &home.path().join("sqlite"))?.run("SQLite", rounds)?;
    let server = servers::postgres()?;
    let home = home.path().join("postgres");
    Drill::start(programs, &server.url(), &home)?.run("PostgreSQL", rounds)
}

struct Drill<'a> {
    programs: &'a Programs,
    cli: Cli<'a>,
    store: &'a str,
    home: &'a Path,
    node: Node,
    model: BTreeMap<String, Known>,
    tally: BTreeMap<&'static str, u32>,
    /// How long a command and a call take when nobody kills them.
    command: Duration,
    call: Duration,
}

/// What is known of one key.
struct Known {
    prefix: String,
    status: String,
    /// Changes that were seen: each has its event.
    events: BTreeSet<&'static str>,
}

#[derive(Debug, Clone)]
enum Change {
    Issue,
    Rotate(String),
    Revoke(String),
}

impl<'a> Drill<'a> {
    fn start(programs: &'a Programs, store: &'a str, home: &'a Path) -> Result<Self> {
        let cli = Cli::new(programs, store);
        let mut drill = Self {
            programs,
            cli,
            store,
            home,
            node: Node::start(programs, store, home)?,
            model: BTreeMap::new(),
            tally: BTreeMap::new(),
            command: Duration::ZERO,
            call: Duration::ZERO,
        };
        drill.measure()?;
        Ok(drill)
    }

    fn run(mut self, name: &str, rounds: usize) -> Result<()> {
        for round in 0..rounds {
            let done = match round % 4 {
                0 | 1 => self.kill_the_command(),
                2 => self.kill_the_service(),
                _ => self.kill_the_service_at_its_log(),
            };
            done.with_context(|| format!("{name}, round {round}"))?;
        }
        println!("    {name}, {rounds} kills: {}", self.outcomes());
        self.check_the_log()?;
        let keys = self.model.len();
        println!("    {name}: {keys} keys, every change in the audit log, nothing told twice");
        Ok(())
    }

    /// Kills are spread over the life of a command and of a call, and a little beyond.
    fn measure(&mut self) -> Result<()> {
        let started = Instant::now();
        let key = self.cli.issue()?;
        self.command = started.elapsed();
        let stored = self.stored()?;
        self.learn(&Change::Issue, stored, true);
        let started = Instant::now();
        let answer = self.revocation(&key.id)?.join().ok();
        self.call = started.elapsed();
        let confirmed = answer.context("a caller ends")??;
        ensure!(confirmed.status == 200, "{confirmed:?}");
        self.observe(&Change::Revoke(key.id), None)
    }

    /// A company revokes its key.
    fn revocation(&self, id: &str) -> Result<thread::JoinHandle<Result<Answer>>> {
        let target = format!("/external/v1/tokens/{id}/revoke");
        let full = self.node.keys["company_12"]["full"].as_str();
        let full = full.context("the example's own key")?.to_owned();
        let mut caller = Caller::new(self.node.address);
        Ok(thread::spawn(move || {
            caller.call("POST", &target, &full, "{}")
        }))
    }

    /// The command line is killed somewhere between its start and its end.
    fn kill_the_command(&mut self) -> Result<()> {
        let change = self.choose();
        let arguments: Vec<&str> = match &change {
            Change::Issue => ISSUE.to_vec(),
            Change::Rotate(id) => vec!["keys", "rotate", id, "--overlap", "1h"],
            Change::Revoke(id) => revoke(id).to_vec(),
        };
        let mut child = self
            .cli
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        some_time(self.command);
        // One that has ended already can't be killed, and was not.
        let _ = child.kill();
        let confirmed = child.wait()?.success();
        let mut out = String::new();
        child
            .stdout
            .take()
            .context("its output")?
            .read_to_string(&mut out)?;
        let shown = confirmed
            .then(|| serde_json::from_str(out.trim()))
            .transpose()?;
        self.observe(&change, shown.as_ref())
    }

    /// The service is killed while it revokes a key for its company, and started again.
    fn kill_the_service(&mut self) -> Result<()> {
        let change = match self.choose() {
            Change::Issue | Change::Rotate(_) => Change::Revoke(self.issue()?),
            revoke @ Change::Revoke(_) => revoke,
        };
        let Change::Revoke(id) = &change else {
            bail!("only revocations are asked of the service");
        };
        let calling = self.revocation(id)?;
        some_time(self.call);
        self.node.kill()?;
        let answer = calling.join().ok().context("a caller ends")?;
        let confirmed = answer.is_ok_and(|answer| answer.status == 200);
        self.node = Node::start(self.programs, self.store, self.home)?;
        let shown = confirmed.then_some(Value::Null);
        self.observe(&change, shown.as_ref())
    }

    /// The service is killed while it brings the events of a change into its log: about when they
    /// are on disk and the store was not told yet.
    fn kill_the_service_at_its_log(&mut self) -> Result<()> {
        let before = self.log_size()?;
        let change = Change::Issue;
        let key = step::output(&mut self.cli.command(ISSUE))?;
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.log_size()? == before {
            ensure!(Instant::now() < deadline, "the events of a key do not come");
        }
        thread::sleep(Duration::from_micros(fastrand::u64(0..2000)));
        self.node.kill()?;
        self.node = Node::start(self.programs, self.store, self.home)?;
        self.observe(&change, Some(&serde_json::from_str(&key)?))
    }

    fn log_size(&self) -> Result<u64> {
        let mut size = 0;
        for segment in fs::read_dir(self.home.join(SEGMENTS))? {
            size += segment?.metadata()?.len();
        }
        Ok(size)
    }

    /// A change that the machine allows.
    fn choose(&self) -> Change {
        let with = |statuses: &[&str]| {
            let keys = self.model.iter();
            let keys = keys.filter(|(_, known)| statuses.contains(&known.status.as_str()));
            let keys: Vec<_> = keys.map(|(id, _)| id.clone()).collect();
            fastrand::choice(keys)
        };
        match fastrand::u8(0..3) {
            0 => with(&["active"]).map(Change::Rotate),
            1 => with(&["active", "rotated"]).map(Change::Revoke),
            _ => None,
        }
        .unwrap_or(Change::Issue)
    }

    /// Looks at the store with a process of its own. `shown` is what the change was confirmed with.
    fn observe(&mut self, change: &Change, shown: Option<&Value>) -> Result<()> {
        let stored = self.stored()?;
        let new: Vec<_> = stored
            .keys()
            .filter(|id| !self.model.contains_key(*id))
            .collect();
        let new_keys = usize::from(!matches!(change, Change::Revoke(_)));
        ensure!(new.len() <= new_keys, "keys that nobody asked for: {new:?}");
        let made = match change {
            Change::Issue => !new.is_empty(),
            Change::Rotate(id) => self.moved(id, &stored, "rotated")?,
            Change::Revoke(id) => self.moved(id, &stored, "revoked")?,
        };
        ensure!(
            new.len() == if made { new_keys } else { 0 },
            "half a change: {change:?}"
        );
        ensure!(
            made || shown.is_none(),
            "confirmed and not there: {change:?}"
        );
        if let (Some(shown), [id]) = (shown, &new[..]) {
            ensure!(Key::read(shown)?.id == **id, "another key was confirmed");
        }
        for id in self.model.keys() {
            ensure!(stored.contains_key(id), "a key is gone: {id}");
        }
        let touched = match change {
            Change::Rotate(id) | Change::Revoke(id) => Some(id),
            Change::Issue => None,
        };
        for (id, known) in self.model.iter().filter(|(id, _)| touched != Some(id)) {
            ensure!(stored[id].0 == known.status, "another key changed: {id}");
        }
        self.count(made, shown.is_some());
        self.learn(change, stored, made);
        Ok(())
    }

    /// Whether a key has come to its new state; it is in its old one otherwise.
    fn moved(&self, id: &str, stored: &Stored, to: &str) -> Result<bool> {
        let (status, _) = stored.get(id).context("a key is gone")?;
        let before = &self.model[id].status;
        ensure!(
            status == to || status == before,
            "{id} went from {before} to {status}"
        );
        Ok(status == to)
    }

    fn learn(&mut self, change: &Change, stored: Stored, made: bool) {
        let touched = match change {
            Change::Rotate(id) => Some((id, "rotated")),
            Change::Revoke(id) => Some((id, "revoked")),
            Change::Issue => None,
        };
        if let (Some((id, event)), true) = (touched, made) {
            let known = self
                .model
                .get_mut(id)
                .expect("a key is changed that is known");
            event.clone_into(&mut known.status);
            known.events.insert(event);
        }
        for (id, (status, prefix)) in stored {
            self.model.entry(id).or_insert_with(|| Known {
                prefix,
                status,
                events: BTreeSet::from(["created", "displayed_once", "activated"]),
            });
        }
    }

    fn issue(&mut self) -> Result<String> {
        let key = self.cli.issue()?;
        let stored = self.stored()?;
        self.learn(&Change::Issue, stored, true);
        Ok(key.id)
    }

    /// The drill's own keys by id: their status and prefix.
    fn stored(&self) -> Result<Stored> {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let rows = self.cli.list()?;
        let own = rows.iter().filter(|row| row["label"] != "demo");
        Ok(own
            .map(|row| (text(row, "id"), (text(row, "status"), text(row, "prefix"))))
            .collect())
    }

    /// Every change that was seen has its event in the service's audit log, once, and no event
    /// tells of a change that was not.
    fn check_the_log(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let told = told(&self.home.join(SEGMENTS))?;
            let wrong = self.model.iter().find_map(|(id, known)| {
                let kinds = told.get(id).cloned().unwrap_or_default();
                let right = known
                    .events
                    .iter()
                    .map(|kind| ((*kind).to_owned(), 1))
                    .collect();
                (kinds != right).then(|| format!("{id} {}: {kinds:?}, not {right:?}", known.prefix))
            });
            match wrong {
                None => return Ok(()),
                Some(wrong) if Instant::now() > deadline => bail!("the audit log: {wrong}"),
                Some(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn count(&mut self, made: bool, confirmed: bool) {
        let outcome = match (made, confirmed) {
            (true, true) => "made and confirmed",
            (true, false) => "made, killed before it was confirmed",
            (false, _) => "killed before it was made",
        };
        *self.tally.entry(outcome).or_default() += 1;
    }

    fn outcomes(&self) -> String {
        let outcomes = self.tally.iter();
        let outcomes: Vec<_> = outcomes
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        outcomes.join(", ")
    }
}

type Stored = BTreeMap<String, (String, String)>;

/// Where the example's audit log has its lines.
const SEGMENTS: &str = "data/audit/segments";

/// Waits for some part of `life`, or a little longer; more often for the later part, where changes
/// are made.
fn some_time(life: Duration) {
    thread::sleep(life.mul_f64(1.2 * fastrand::f64().sqrt()));
}
