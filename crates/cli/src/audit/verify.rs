//! `audit verify` and `audit check-proof`.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use countersign::{CannotVerify, LogReport, LogVerifier, check_proof};
use serde_json::json;

use super::args::Verify;
use crate::error::CliError;
use crate::output::{Output, printable};

pub(crate) fn log(verify: &Verify, output: &mut Output<'_>) -> Result<ExitCode, CliError> {
    let mut verifier = LogVerifier::new(&verify.directory);
    if let Some(vkey) = &verify.vkey {
        verifier = verifier.with_vkey(read(vkey)?);
    }
    for checkpoint in &verify.against {
        verifier = verifier.against(read(checkpoint)?);
    }
    match verifier.verify() {
        Ok(report) => {
            tell(&report, output)?;
            Ok(ExitCode::from(report.finding.exit_code()))
        }
        Err(error) => could_not(&error, output),
    }
}

fn tell(report: &LogReport, output: &mut Output<'_>) -> Result<(), CliError> {
    let answer = report.finding.to_string();
    if output.is_json() {
        return output.value(&json!({
            "answer": answer,
            "ok": report.finding.is_ok(),
            "exit_code": report.finding.exit_code(),
            "origin": report.origin,
            "events": report.events,
            "removed": report.removed,
            "first_time": report.first_time,
            "last_time": report.last_time,
            "checkpoints": report.checkpoints,
            "signed": report.signed,
        }));
    }
    let mut rows = vec![
        ("answer", answer),
        ("log", report.origin.clone()),
        ("events", report.events.to_string()),
        ("signed up to", report.signed.to_string()),
        ("checkpoints", report.checkpoints.to_string()),
    ];
    if report.removed > 0 {
        rows.push(("of them only hashes", report.removed.to_string()));
    }
    let times = [("first", report.first_time), ("last", report.last_time)];
    rows.extend(
        times
            .into_iter()
            .filter_map(|(name, time)| Some((name, time?.to_string()))),
    );
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(n, v)| vec![n.to_owned(), v])
        .collect();
    output.table(&rows)
}

fn could_not(error: &CannotVerify, output: &mut Output<'_>) -> Result<ExitCode, CliError> {
    if output.is_json() {
        output.value(&json!({
            "answer": format!("could not check: {error}"),
            "ok": false,
            "exit_code": CannotVerify::EXIT_CODE,
        }))?;
    }
    output.say(format_args!("could not check: {error}"))?;
    Ok(ExitCode::from(CannotVerify::EXIT_CODE))
}

pub(crate) fn proof(
    vkey: &Path,
    event: &Path,
    proof: &Path,
    output: &mut Output<'_>,
) -> Result<ExitCode, CliError> {
    let (vkey, proof) = (read(vkey)?, read(proof)?);
    let event = bounded(event)?;
    match check_proof(&vkey, &event, &proof) {
        Ok(proven) => {
            if output.is_json() {
                let (origin, index, size) = (proven.origin, proven.index, proven.size);
                output
                    .value(&json!({"ok": true, "origin": origin, "index": index, "size": size}))?;
            } else {
                let (index, size, origin) = (proven.index, proven.size, printable(&proven.origin));
                let line = format!("ok: event {index} of the first {size} of {origin}\n");
                output.raw(line.as_bytes())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(fault) => {
            if output.is_json() {
                output.value(&json!({"ok": false, "answer": fault.to_string()}))?;
            }
            output.say(format_args!("not proved: {fault}"))?;
            Ok(ExitCode::from(fault.exit_code()))
        }
    }
}

fn read(path: &Path) -> Result<String, CliError> {
    String::from_utf8(bounded(path)?)
        .map_err(|_| CliError::Failed(format!("{}: it is not UTF-8", path.display())))
}

/// A key, a checkpoint, a proof and an event are small; what is not is none of them.
fn bounded(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |problem: String| CliError::Failed(format!("{}: {problem}", path.display()));
    let is_directory = fs::metadata(path).is_ok_and(|found| found.is_dir());
    if is_directory {
        return Err(failed("it is a directory".to_owned()));
    }
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(LONGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > LONGEST {
        return Err(failed("it is too long to be what it should be".to_owned()));
    }
    Ok(bytes)
}

const LONGEST: u64 = 1_000_000;
