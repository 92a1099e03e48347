//! Every `curl` line of the README answers as it is printed there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const README: &str = include_str!("../../../README.md");

#[test]
#[ignore = "needs curl"]
fn every_curl_line_answers_as_printed() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys.json");
    let mut service = Stopped(
        Command::new(env!("CARGO_BIN_EXE_payments-api"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--internal-listen",
                "127.0.0.1:0",
            ])
            .arg("--data")
            .arg(directory.path().join("data"))
            .arg("--demo-keys")
            .arg(&keys)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(service.0.stdout.take().unwrap()).lines();
    let mut address = |name: &str| {
        let line = lines.next().unwrap().unwrap();
        format!("http://{}", line.strip_prefix(name).expect(&line))
    };
    let (api, sandbox) = (address("listening on "), address("sandbox on "));
    let keys: Value = serde_json::from_str(&std::fs::read_to_string(keys).unwrap()).unwrap();

    let examples = examples();
    assert!(examples.len() >= 8, "the README shows its calls");
    for (command, printed) in examples {
        let key = |company: &str, kind: &str| keys[company][kind].as_str().unwrap().to_owned();
        let output = Command::new("sh")
            .args(["-c", &command.replace("curl -i", "curl -si")])
            .env("API", &api)
            .env("FULL", key("company_12", "full"))
            .env("READ_ONLY", key("company_12", "read_only"))
            .env("REVOKED", key("company_12", "revoked"))
            .env("OTHER_COMPANY", key("company_34", "full"))
            .env("SANDBOX", &sandbox)
            .env("SANDBOX_KEY", key("sandbox", "full"))
            .output()
            .unwrap();
        let answer = String::from_utf8(output.stdout).unwrap().replace('\r', "");
        compare(&command, &answer, &printed);
    }
}

/// The status line, the fields and the body that are printed are those of the answer; `…` stands
/// for what differs from call to call, and fields may be left out.
fn compare(command: &str, answer: &str, printed: &str) {
    let (head, body) = answer.split_once("\n\n").unwrap_or((answer, ""));
    let (printed_head, printed_body) = printed.split_once("\n\n").expect(command);
    for line in printed_head.lines() {
        let found = head.lines().any(|real| alike(real, line));
        assert!(found, "{command}\nprints {line}\nbut answers\n{head}");
    }
    let body = body.trim();
    assert!(
        alike(body, printed_body.trim()),
        "{command}\nanswers\n{body}\nnot\n{printed_body}"
    );
}

fn alike(real: &str, printed: &str) -> bool {
    let mut parts = printed.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = real.strip_prefix(first) else {
        return false;
    };
    for part in parts {
        let Some(at) = (if part.is_empty() {
            Some(rest.len())
        } else {
            rest.find(part)
        }) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

/// The `curl` calls of the README with what stands below each.
fn examples() -> Vec<(String, String)> {
    let blocks = README.split("```console\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    blocks
        .filter_map(|block| {
            let (command, printed) = block.strip_prefix("$ ")?.split_once('\n')?;
            let call = command.starts_with("curl ");
            call.then(|| (command.to_owned(), printed.to_owned()))
        })
        .collect()
}

struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        // It is there until the test ends.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn ellipses_stand_for_anything() {
    assert!(alike("a 1 b", "a … b"));
    assert!(alike("x-request-id: req_1", "x-request-id: req_…"));
    assert!(!alike("a 1 c", "a … b"));
    assert!(!alike("a b more", "a b"));
}
