//! Logs that were left whole or damaged, and the proof of one event.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use countersign_audit_sink::{LogVerifier, check_proof};
use serde_json::{Map, Value};

use super::report::Report;

/// `expected.json` names directories beside it and the word that each answer holds.
pub(super) fn replay(expected: &Path) -> Result<Report> {
    let directory = expected.parent().context("a file in a directory")?;
    let answers: Map<String, Value> = serde_json::from_slice(&fs::read(expected)?)?;
    let mut report = Report::default();
    for (name, answer) in &answers {
        let answer = answer.as_str().context("an answer is text")?;
        let word = answer.split(" (").next().unwrap_or(answer);
        let found = match LogVerifier::new(directory.join(name)).verify() {
            Ok(found) => found.finding.to_string(),
            Err(error) => format!("could not check: {error}"),
        };
        let holds = if word == "ok" {
            found.starts_with("ok")
        } else {
            found.contains(word)
        };
        let shown = if holds { answer.to_owned() } else { found };
        report.case(name, &answer.to_owned(), &shown);
    }
    for entry in fs::read_dir(directory)? {
        let proof = entry?.path();
        if proof.extension().is_some_and(|kind| kind == "tlog-proof") {
            let read = |path: &Path| fs::read_to_string(path).context("a proof and its event");
            let vkey = read(&directory.join("good/vkey"))?;
            let event = read(&proof.with_extension("jsonl"))?;
            let proven = check_proof(&vkey, event.as_bytes(), &read(&proof)?).is_ok();
            report.case("proof", &true, &proven);
            let changed = event.replacen("company_", "c0mpany_", 1);
            let proven = check_proof(&vkey, changed.as_bytes(), &read(&proof)?).is_ok();
            report.case("proof of a changed event", &false, &proven);
        }
    }
    Ok(report)
}
