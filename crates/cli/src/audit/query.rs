//! `audit query`: a table of events, or their lines as they stand in the log.

use std::path::Path;

use countersign::{LogEvents, LoggedEvent};

use super::Unread;
use super::args::Filter;
use crate::error::CliError;
use crate::output::Output;

pub(crate) fn run(
    directory: &Path,
    filter: &Filter,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    let mut unread = Unread::default();
    for event in LogEvents::open(directory)? {
        let event = event?;
        if !unread.reads(&event) || !filter.passes(&event) {
            continue;
        }
        if output.is_json() {
            line(&event, output)?;
        } else {
            rows.push(row(&event));
        }
    }
    if !output.is_json() {
        output.table(&rows)?;
    }
    unread.tell(output)
}

/// The event's own line: what a proof is about.
pub(super) fn line(event: &LoggedEvent, output: &mut Output<'_>) -> Result<(), CliError> {
    output.raw(&[&event.line[..], b"\n"].concat())
}

pub(super) fn row(event: &LoggedEvent) -> Vec<String> {
    let text = |name: &str| event.text(name).unwrap_or("-").to_owned();
    let number = |name: &str| {
        let value = event.fields.get(name).and_then(serde_json::Value::as_u64);
        value.map_or_else(|| "-".to_owned(), |value| value.to_string())
    };
    let kind = text("type").replacen("external_api.", "", 1);
    let company = event
        .text("effective_company")
        .or(event.text("owner_company"));
    vec![
        event.seq().to_string(),
        text("time"),
        kind,
        text("reason"),
        number("status"),
        text("key_prefix"),
        company.unwrap_or("-").to_owned(),
        text("method"),
        text("route"),
        text("request_id"),
    ]
}

pub(super) const HEAD: [&str; 10] = [
    "SEQ", "TIME", "TYPE", "REASON", "STATUS", "KEY", "COMPANY", "METHOD", "ROUTE", "REQUEST",
];
