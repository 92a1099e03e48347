//! `gcra.json`: what the rate limit's algorithm decides, step by step.

use std::time::Duration;

use anyhow::Result;
use countersign_core::{Denial, Quota, Reason};
use countersign_rate_limit::gcra;
use serde::Deserialize;

use super::report::Report;

#[derive(Deserialize)]
struct File {
    redis_cell_published_table: Vec<CellRow>,
    sequences: Vec<Sequence>,
}

/// A row of the table that redis-cell publishes, for a limit of five and one unit a second.
#[derive(Deserialize)]
struct CellRow {
    t_ms: u64,
    quantity: u32,
    remaining: u32,
    reset_after_ms: u64,
    retry_after_ms: i64,
    limited: bool,
}

#[derive(Deserialize)]
struct Sequence {
    name: String,
    #[serde(rename = "T_ns")]
    interval: u64,
    burst: u32,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    t_ns: u64,
    cost: u32,
    #[serde(flatten)]
    answer: Answer,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Answer {
    allowed: bool,
    limit: u32,
    remaining: u32,
    retry_after_ns: u64,
    reset_after_ns: u64,
    retry_after_header: Option<u64>,
}

pub(super) fn replay(text: &[u8]) -> Result<Report> {
    let file: File = serde_json::from_slice(text)?;
    let mut report = Report::default();
    replay_cell_table(&file.redis_cell_published_table, &mut report)?;
    for sequence in &file.sequences {
        replay_sequence(sequence, &mut report)?;
    }
    Ok(report)
}

fn replay_cell_table(rows: &[CellRow], report: &mut Report) -> Result<()> {
    let quota = Quota::per_second(5, 1)?;
    let mut tat = 0;
    for (number, row) in rows.iter().enumerate() {
        let now = START + row.t_ms * NANOS_PER_MILLI;
        let verdict = gcra::decide(tat, now, quota, row.quantity);
        tat = verdict.new_tat;
        // The table says -1 where there is nothing to wait for, or where waiting is no use.
        let retry_after_ms = match verdict.retry_after_ns {
            0 | u64::MAX => -1,
            nanos => i64::try_from(nanos / NANOS_PER_MILLI)?,
        };
        let found = (
            verdict.remaining,
            verdict.reset_after_ns / NANOS_PER_MILLI,
            retry_after_ms,
            !verdict.allowed,
        );
        let expected = (
            row.remaining,
            row.reset_after_ms,
            row.retry_after_ms,
            row.limited,
        );
        report.case(&format!("redis-cell, row {number}"), &expected, &found);
    }
    Ok(())
}

fn replay_sequence(sequence: &Sequence, report: &mut Report) -> Result<()> {
    let quota = Quota::new(sequence.burst, Duration::from_nanos(sequence.interval))?;
    let mut tat = 0;
    for (number, row) in sequence.rows.iter().enumerate() {
        let verdict = gcra::decide(tat, START + row.t_ns, quota, row.cost);
        tat = verdict.new_tat;
        let after = Duration::from_nanos(verdict.retry_after_ns);
        let denial = Denial::new(Reason::LimitKey).with_retry_after(after);
        let refused = (!verdict.allowed).then(|| denial.retry_after_seconds());
        let found = Answer {
            allowed: verdict.allowed,
            limit: quota.burst(),
            remaining: verdict.remaining,
            retry_after_ns: verdict.retry_after_ns,
            reset_after_ns: verdict.reset_after_ns,
            retry_after_header: refused.flatten(),
        };
        let name = format!("{}, row {number}", sequence.name);
        report.case(&name, &row.answer, &found);
    }
    Ok(())
}

/// The vectors begin at zero and a clock does not.
const START: u64 = 3_600_000_000_000;
const NANOS_PER_MILLI: u64 = 1_000_000;
