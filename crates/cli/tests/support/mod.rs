//! The program, run on a store in a directory of its own.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Desk(TempDir);

impl Desk {
    /// An empty directory.
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A store with `company_12`.
    pub(crate) fn new() -> Self {
        let desk = Self::empty();
        desk.done("companies create company_12");
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("keys.db")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        command(&self.store(), arguments)
    }

    pub(crate) fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn done(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, arguments: &str) -> Value {
        let text = self.done(&format!("{arguments} --json"));
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{arguments}: {text}"))
    }

    /// What it says where it refuses; nothing is on standard output then.
    pub(crate) fn refused(&self, arguments: &str, code: i32) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(output.stdout.is_empty(), "{arguments}");
        said
    }

    /// How many keys `company_12` has.
    pub(crate) fn keys(&self) -> usize {
        let list = self.json("keys list --company company_12");
        list.as_array().unwrap().len()
    }
}

pub(crate) fn command(store: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .env_remove("COUNTERSIGN_CONTRACT")
        .env_remove("COUNTERSIGN_MAX_LIFETIME")
        .env_remove("COUNTERSIGN_PEPPERS")
        .env("COUNTERSIGN_STORE", format!("sqlite:{}", store.display()))
        .args(["--actor", "ada"])
        .args(arguments.split(' '));
    command
}

/// The log of the vectors, copied so that it can be changed: its events are 0 to 6.
pub(crate) struct Log(TempDir);

impl Log {
    pub(crate) const FIRST: &str = "segments/00000000000000000000.jsonl";
    pub(crate) const LAST: &str = "segments/00000000000000000004.jsonl";

    pub(crate) fn new() -> Self {
        let log = Self(tempfile::tempdir().unwrap());
        let good = Path::new(env!("CARGO_MANIFEST_DIR"));
        let good = good.join("../audit-sink/tests/vectors/audit/good");
        fs::create_dir_all(log.path("segments")).unwrap();
        let files = ["vkey", "checkpoint", "checkpoints.jsonl"];
        for name in [&files[..], &[Self::FIRST, Self::LAST]].concat() {
            fs::copy(good.join(name), log.path(name)).unwrap();
        }
        log
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("log").join(name)
    }

    /// A path outside of the log.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a line behind the last one, with these bytes in it, before its end.
    pub(crate) fn append(&self, seq: u64, rest: &str) {
        let log = "example.com/countersign/shared";
        let line = format!("{{\"seq\":{seq},\"log\":\"{log}\",{rest}}}\n");
        let mut lines = fs::read(self.path(Self::LAST)).unwrap();
        lines.extend(line.into_bytes());
        fs::write(self.path(Self::LAST), lines).unwrap();
    }

    /// `countersign audit VERB <log> …`.
    pub(crate) fn audit(&self, verb: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(["audit", verb]).arg(self.path(""));
        command.args(arguments).output().unwrap()
    }
}

/// Two endpoints: one reads, and one writes, by a scope that doesn't sound like it.
pub(crate) const CONTRACT: &str = "\
openapi: 3.1.0
info: {title: Test, version: '1'}
components: {securitySchemes: {key: {type: apiKey, in: header, name: X-Api-Key}}}
paths:
  /accounts:
    get: {security: [{key: ['accounts:read']}], responses: {'200': {description: All}}}
  /payments:
    post: {security: [{key: ['payments:create']}], responses: {'200': {description: One}}}
  /sync:
    post: {security: [{key: ['mail:read']}], responses: {'200': {description: Done}}}
";
