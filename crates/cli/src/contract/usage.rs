//! `contract usage`: who calls what is on its way out, and what is gone already.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use countersign::{LogEvents, LoggedEvent};
use serde::Serialize;

use crate::audit::{Filter, Unread};
use crate::error::CliError;
use crate::output::Output;

/// The calls of one endpoint by one company.
#[derive(Debug, Serialize)]
struct Usage {
    method: String,
    route: String,
    stage: String,
    /// Nobody is known where a call was refused before its key was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    company: Option<String>,
    calls: u64,
    allowed: u64,
    /// The time of the latest call.
    last: String,
}

type Key = (String, String, String, Option<String>);

pub(super) fn run(
    directory: &Path,
    filter: &Filter,
    output: &mut Output<'_>,
) -> Result<ExitCode, CliError> {
    let mut found: BTreeMap<Key, Usage> = BTreeMap::new();
    let mut unread = Unread::default();
    for event in LogEvents::open(directory)? {
        let event = event?;
        if unread.reads(&event) && filter.passes(&event) {
            count(&event, &mut found);
        }
    }
    unread.tell(output)?;
    let mut all: Vec<Usage> = found.into_values().collect();
    all.sort_by_key(|usage| std::cmp::Reverse(usage.calls));
    if output.is_json() {
        output.value(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    if all.is_empty() {
        output.say("nobody called a deprecated or retired endpoint")?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = [
        "METHOD", "ROUTE", "STAGE", "COMPANY", "CALLS", "ALLOWED", "LAST",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(row));
    output.table(&rows)?;
    Ok(ExitCode::SUCCESS)
}

fn row(usage: &Usage) -> Vec<String> {
    vec![
        usage.method.clone(),
        usage.route.clone(),
        usage.stage.clone(),
        usage.company.clone().unwrap_or_else(|| "-".to_owned()),
        usage.calls.to_string(),
        usage.allowed.to_string(),
        usage.last.clone(),
    ]
}

fn count(event: &LoggedEvent, found: &mut BTreeMap<Key, Usage>) {
    let metadata = event.fields.get("metadata");
    let stage = metadata.and_then(|all| all.get("stage")?.as_str());
    let Some(stage) = stage.filter(|stage| matches!(*stage, "deprecated" | "retired")) else {
        return;
    };
    // An intent is not an outcome: the same request has one of those too.
    let kind = event.text("type").unwrap_or_default();
    if kind.ends_with(".intent") {
        return;
    }
    let text = |name: &str| event.text(name).unwrap_or("-").to_owned();
    let company = event
        .text("effective_company")
        .or(event.text("owner_company"));
    let key = (
        text("method"),
        text("route"),
        stage.to_owned(),
        company.map(str::to_owned),
    );
    let usage = found.entry(key).or_insert_with_key(|key| Usage {
        method: key.0.clone(),
        route: key.1.clone(),
        stage: key.2.clone(),
        company: key.3.clone(),
        calls: 0,
        allowed: 0,
        last: String::new(),
    });
    usage.calls += 1;
    usage.allowed += u64::from(event.text("decision") == Some("allowed"));
    // Times of one form and zone stand in the order of their texts.
    usage.last = usage.last.clone().max(text("time"));
}
