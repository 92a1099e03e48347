//! `request_targets.json`: which request targets are clear enough to decide on.

use anyhow::Result;
use countersign_scope_guard::target;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use serde::Deserialize;

use super::report::Report;

#[derive(Deserialize)]
struct File {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    method: String,
    target: String,
    strict_policy: Policy,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Policy {
    Pass,
    Reject,
}

pub(super) fn replay(text: &[u8]) -> Result<Report> {
    let file: File = serde_json::from_slice(text)?;
    let mut report = Report::default();
    for row in file.rows {
        let found = decide(&row)?;
        let name = format!("{} {}", row.method, row.target);
        report.case(&name, &row.strict_policy, &found);
    }
    Ok(report)
}

fn decide(row: &Row) -> Result<Policy> {
    let method: Method = row.method.parse()?;
    // A server never sees a target that can't even be parsed: HTTP itself refuses it.
    let Ok(uri) = row.target.parse::<Uri>() else {
        return Ok(Policy::Reject);
    };
    let host = HeaderValue::from_static("127.0.0.1");
    let headers = HeaderMap::from_iter([(HOST, host)]);
    let verdict = target::check(&method, &uri, &headers, Version::HTTP_11);
    Ok(verdict.map_or(Policy::Reject, |()| Policy::Pass))
}
