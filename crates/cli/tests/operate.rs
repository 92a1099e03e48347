//! The session in `docs/operate.md`, run as it stands there: every command's answer is the one that
//! the page shows, but for ids, times and keys. Those must be the same wherever the page says so.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use countersign::{
    AuditSink, Contract, Countersign, Dimension, Endpoint, FileLog, KeyStore, Policies, Policy,
    Quota, StoreLocator,
};
use regex::{Captures, Regex};
use tempfile::TempDir;

#[tokio::test]
async fn the_page_shows_what_an_operator_sees() {
    let page = include_str!("../../../docs/operate.md");
    let mut terminal = Terminal::new();
    let steps = session(page);
    assert!(steps.len() > 25, "{} commands were found", steps.len());
    for step in steps {
        if step.command.contains("countersign audit") && !terminal.log().exists() {
            bring_events_over(&terminal).await;
        }
        let seen = terminal.run(&step.command);
        let same = terminal.names.agree(&step.answer, &seen);
        let Step { command, answer } = step;
        same.unwrap_or_else(|problem| {
            panic!("$ {command}\n{problem}\nthe page shows:\n{answer}\nthe program:\n{seen}")
        });
    }
}

/// One command of the page, and what it shows as its answer.
struct Step {
    command: String,
    answer: String,
}

fn session(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command: command.to_owned(),
                    answer: String::new(),
                }),
                (None, Some(step)) => step.answer += &format!("{line}\n"),
                (None, None) => panic!("an answer without a command: {line}"),
            },
        }
    }
    steps
}

/// A shell in a directory of its own.
struct Terminal {
    directory: TempDir,
    exported: HashMap<String, String>,
    names: Names,
}

impl Terminal {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            exported: HashMap::new(),
            names: Names::default(),
        }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("audit")
    }

    /// What is seen of a command: both outputs, and its exit code where that is not 0.
    fn run(&mut self, command: &str) -> String {
        if let Some((name, value)) = command
            .strip_prefix("export ")
            .and_then(|c| c.split_once('='))
        {
            self.exported.insert(name.to_owned(), value.to_owned());
            return String::new();
        }
        let program = Path::new(env!("CARGO_BIN_EXE_countersign"));
        let programs = program.parent().unwrap().display();
        let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args([
                "-c",
                &format!("exec 2>&1; {}", self.names.in_command(command)),
            ])
            .current_dir(self.directory.path())
            .env_remove("COUNTERSIGN_STORE")
            .env_remove("COUNTERSIGN_PEPPERS")
            .env("PATH", path)
            .envs(&self.exported)
            .output()
            .unwrap();
        let seen = String::from_utf8(output.stdout).unwrap();
        match output.status.code() {
            Some(0) => seen,
            code => format!("{seen}[exit code {}]\n", code.unwrap()),
        }
    }
}

/// What the page calls a key or an event, and what it is called in this run.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    /// The command with this run's names.
    fn in_command(&self, command: &str) -> String {
        let this_run = |found: &Captures<'_>| {
            let name = self.0.get(&found[0]);
            name.unwrap_or_else(|| panic!("the page did not show {}", &found[0]))
                .clone()
        };
        NAME.replace_all(command, this_run).into_owned()
    }

    /// Whether the answers are the same but for names and times, and the names for the same things.
    fn agree(&mut self, page: &str, seen: &str) -> Result<(), String> {
        let plain = |text: &str| {
            TIME.replace_all(&NAME.replace_all(text, "NAME"), "TIME")
                .into_owned()
        };
        let (shown, saw) = (plain(page), plain(seen));
        for (shown, saw) in shown.lines().zip(saw.lines()) {
            // A page may leave out what is not the same each time.
            let left_out = shown.split_once('…');
            let same = match left_out {
                Some((before, after)) => saw.starts_with(before) && saw.ends_with(after),
                None => saw == shown,
            };
            if !same {
                return Err(format!("{saw:?} where the page shows {shown:?}"));
            }
        }
        if shown.lines().count() != saw.lines().count() {
            return Err("more lines, or fewer".to_owned());
        }
        for (shown, saw) in NAME.find_iter(page).zip(NAME.find_iter(seen)) {
            self.call(shown.as_str(), saw.as_str())?;
            if let (Some(shown), Some(saw)) = (prefix(shown.as_str()), prefix(saw.as_str())) {
                self.call(shown, saw)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, shown: &str, saw: &str) -> Result<(), String> {
        let known = self
            .0
            .entry(shown.to_owned())
            .or_insert_with(|| saw.to_owned());
        if known != saw {
            return Err(format!("{saw} where {known} was {shown} before"));
        }
        Ok(())
    }
}

/// The prefix of a whole key.
fn prefix(name: &str) -> Option<&str> {
    let (prefix, secret) = name.rsplit_once('_')?;
    (secret.len() == 49).then_some(prefix)
}

/// Whole keys, their prefixes, and ids.
static NAME: LazyLock<Regex> = LazyLock::new(|| {
    let key = "[a-z0-9]{2,10}_(?:live|test)_[0-9A-Za-z]{12}(?:_[0-9A-Za-z]{49})?";
    Regex::new(&format!(r"\b(?:{key}|key_[0-9A-Z]{{26}})\b")).unwrap()
});

static TIME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z").unwrap());

/// What the service of the page does: it brings the events of changes into its log.
async fn bring_events_over(terminal: &Terminal) {
    let file = terminal.directory.path().join("keys.db");
    let locator: StoreLocator = format!("sqlite:{}", file.display()).parse().unwrap();
    let store: Arc<dyn KeyStore> = locator.open().await.unwrap();
    let log = FileLog::options(terminal.log()).origin("example.com/payments/audit/node-1");
    let (sink, writer) = AuditSink::builder(log.open().unwrap()).spawn().unwrap();
    let endpoint = Endpoint::get("/accounts").scope("accounts:read".parse().unwrap());
    let quota = Quota::per_second(100, 100).unwrap();
    let stack = Countersign::builder()
        .contract(Contract::builder().endpoint(endpoint).build().unwrap())
        .key_store(Arc::clone(&store))
        .limits(Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap())
        .audit(sink.clone())
        .build()
        .unwrap();
    let drain = stack.drain_outbox(Arc::clone(&store));
    drain.shutdown().await;
    assert_eq!(
        store.pending_events(1).await.unwrap(),
        [],
        "all were brought over"
    );
    let report = writer.shutdown(Duration::from_secs(10)).await;
    assert_eq!(report.lost, 0);
}
