//! `api_keys.json`: what is a key, and what its public part says.

use anyhow::Result;
use countersign_core::Environment;
use countersign_key_verify::RawKey;
use serde::Deserialize;

use super::report::Report;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    key: String,
    valid: bool,
    #[serde(flatten)]
    parts: Option<Parts>,
    #[serde(default)]
    why: String,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Parts {
    prefix: String,
    brand: String,
    environment: Environment,
}

pub(super) fn replay(text: &[u8]) -> Result<Report> {
    let file: File = serde_json::from_slice(text)?;
    let mut report = Report::default();
    for case in file.cases {
        let expected = (case.valid, case.parts);
        let found = read(&case.key);
        let found = (found.is_some(), found);
        // The vectors' keys are public; what is printed is still not a whole key.
        let start: String = case.key.chars().take(20).collect();
        report.case(&format!("{start}… {}", case.why), &expected, &found);
    }
    Ok(report)
}

fn read(key: &str) -> Option<Parts> {
    let key = RawKey::parse(key.as_bytes()).ok()?;
    let prefix = key.prefix();
    Some(Parts {
        prefix: prefix.to_string(),
        brand: prefix.brand().to_owned(),
        environment: prefix.environment(),
    })
}
