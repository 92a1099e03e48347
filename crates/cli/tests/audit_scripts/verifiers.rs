//! All that verify: this program and the scripts of an export.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use super::log::{Log, Proof};

/// An exit code, and what was said.
pub(crate) type Verdict = (i32, String);

pub(crate) struct Verifiers {
    /// Has read the script once and answers many times: starting takes it longer than checking.
    python: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Verifiers {
    pub(crate) fn new() -> Self {
        let mut command = Command::new("python3");
        command.args(["-B", "-c", ASK]).arg(scripts());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut python = command.spawn().expect("this test needs python3");
        Self {
            questions: python.stdin.take().unwrap(),
            answers: BufReader::new(python.stdout.take().unwrap()),
            python,
        }
    }

    pub(crate) fn verify(&mut self, log: &Log) -> Vec<Verdict> {
        let log = log.path("");
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(["audit", "verify"]).arg(&log);
        vec![verdict(command), self.ask("log", &[log])]
    }

    pub(crate) fn check(&mut self, proof: &Proof) -> Vec<Verdict> {
        let files = ["vkey", "event", "proof"].map(|name| proof.path(name));
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(["audit", "check-proof"]);
        for (option, file) in ["--vkey", "--event", "--proof"].iter().zip(&files) {
            command.arg(option).arg(file);
        }
        let mut shell = Command::new("sh");
        shell.arg(scripts().join("verify.sh")).args(&files);
        let by_python = self.ask("proof", &files);
        vec![verdict(command), by_python, verdict(shell)]
    }

    fn ask(&mut self, command: &str, files: &[PathBuf]) -> Verdict {
        let files = files.iter().map(|file| file.to_str().unwrap());
        let question: Vec<_> = std::iter::once(command).chain(files).collect();
        writeln!(self.questions, "{}", question.join("\t")).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let (code, said) = answer.split_once(' ').expect("an exception ended it");
        (code.parse().unwrap(), said.to_owned())
    }
}

impl Drop for Verifiers {
    fn drop(&mut self) {
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}

pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audit")
}

fn verdict(mut command: Command) -> Verdict {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    (status.code().unwrap(), said)
}

const ASK: &str = "
import sys
sys.path.insert(0, sys.argv[1])
import verify
for line in sys.stdin:
    code, text = verify.main(line.rstrip('\\n').split('\\t'))
    print(code, ascii(text), flush=True)
";
