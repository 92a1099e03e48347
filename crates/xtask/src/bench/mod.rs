//! `cargo xtask bench`: the performance budget with today's figures.

mod budget;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use budget::{Budget, Figure};
use serde::Serialize;

use crate::servers::Servers;
use crate::workspace::Workspace;

/// Runs the benchmarks, prints the budget's table and writes `bench/summary.json` into the target
/// directory. A figure that misses its *must* makes the chore fail.
pub(crate) fn run(quick: bool) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut figures = Vec::new();
    for bench in BENCHES {
        figures.extend(measure(&workspace, bench, quick, &[])?);
    }
    // Nothing is installed for a measurement.
    for (bench, servers, missing) in [
        (
            "redis",
            Servers::installed_redis()?,
            "no Redis and no Valkey",
        ),
        ("postgres", Servers::installed_postgres()?, "no PostgreSQL"),
    ] {
        match servers {
            Some(it) => figures.extend(measure(&workspace, bench, quick, &it.environment())?),
            None => println!("==> benchmark {bench}: skipped, there is {missing} here"),
        }
    }
    let rows: Vec<Row<'_>> = figures.iter().map(Row::of).collect();
    print!("{}", table(&rows));
    write_summary(&workspace.target_directory, &rows)?;
    let missed: Vec<&str> = rows.iter().filter(|r| !r.ok).map(|r| r.name).collect();
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nmissed: {}", missed.join("; "));
    Ok(ExitCode::FAILURE)
}

/// Runs one benchmark. It prints a figure as one line of JSON; everything else is for people.
fn measure(
    workspace: &Workspace,
    bench: &str,
    quick: bool,
    environment: &[(&'static str, String)],
) -> Result<Vec<Figure>> {
    println!("==> benchmark {bench}");
    let started = Instant::now();
    let mut command = workspace.cargo();
    command.args(["bench", "--package", "countersign-workspace"]);
    command.args(["--bench", bench, "--"]);
    command.args(quick.then_some("--quick"));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("the benchmark's output")?;
    let mut figures = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        if line.starts_with('{') {
            figures.push(serde_json::from_str(&line).with_context(|| line.clone())?);
        } else {
            println!("    {line}");
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "benchmark {bench}: {status}");
    let seconds = started.elapsed().as_secs_f32();
    println!("    benchmark {bench}: ok, {seconds:.1} s");
    Ok(figures)
}

/// A figure beside what the budget asks of it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    value: f64,
    unit: &'a str,
    must: Option<f64>,
    aim: Option<f64>,
    ok: bool,
    #[serde(skip)]
    budget: Option<&'static Budget>,
}

impl<'a> Row<'a> {
    fn of(figure: &'a Figure) -> Self {
        let budget = budget::of(&figure.name);
        Self {
            name: &figure.name,
            value: figure.value,
            unit: &figure.unit,
            must: budget.map(|it| it.must),
            aim: budget.map(|it| it.aim),
            ok: budget.is_none_or(|it| it.allows(figure.value)),
            budget,
        }
    }
}

/// The figures that the budget names, then the others, for information.
fn table(rows: &[Row<'_>]) -> String {
    let mut text = String::from("\n| what | today | must | aim | |\n|---|---|---|---|---|\n");
    let (named, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.budget.is_some());
    for row in named.into_iter().chain(others) {
        let value = budget::number(row.value);
        let (must, aim, verdict) = match row.budget {
            Some(it) => (it.bound(it.must), it.bound(it.aim), it.verdict(row.value)),
            None => Default::default(),
        };
        let unit = row.unit;
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "| {} | {value} {unit} | {must} | {aim} | {verdict} |",
            row.name
        );
    }
    text
}

fn write_summary(target: &Path, rows: &[Row<'_>]) -> Result<()> {
    let directory = target.join("bench");
    fs::create_dir_all(&directory)?;
    let path = directory.join("summary.json");
    fs::write(&path, serde_json::to_string_pretty(rows)? + "\n")?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

const BENCHES: &[&str] = &[
    "allocations",
    "contract",
    "stack",
    "keys",
    "audit",
    "loopback",
    "grpc",
];
