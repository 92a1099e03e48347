//! `client_address.json`: which address a request comes from, behind which proxies.

use std::net::IpAddr;

use anyhow::Result;
use countersign_core::source::TrustedProxies;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use serde::Deserialize;

use super::report::Report;

#[derive(Deserialize)]
struct File {
    trusted: Vec<IpNet>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    peer: IpAddr,
    x_forwarded_for: Vec<String>,
    why: String,
    client: IpAddr,
    status: Status,
    bucket: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Unresolved,
}

pub(super) fn replay(text: &[u8]) -> Result<Report> {
    let file: File = serde_json::from_slice(text)?;
    let proxies = TrustedProxies::new(file.trusted);
    let mut report = Report::default();
    for case in file.cases {
        let mut headers = HeaderMap::new();
        for line in &case.x_forwarded_for {
            headers.append("x-forwarded-for", HeaderValue::from_str(line)?);
        }
        let source = proxies.resolve(case.peer, &headers);
        let status = match source.is_resolved() {
            true => Status::Ok,
            false => Status::Unresolved,
        };
        let found = (source.address(), status, source.bucket().to_string());
        let expected = (case.client, case.status, case.bucket);
        report.case(&case.why, &expected, &found);
    }
    Ok(report)
}
