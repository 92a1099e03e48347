//! `cargo xtask fuzz TARGET SECONDS`: coverage-guided fuzzing with libFuzzer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::step;
use crate::workspace::Workspace;

/// # Errors
/// When there is no such target, it can't be built, or it found something.
pub(crate) fn run(target: &str, seconds: &str) -> Result<ExitCode> {
    let seconds: u32 = seconds.parse().context("SECONDS is a whole number")?;
    let workspace = Workspace::load()?;
    let package = workspace.workspace_root.join("tests/fuzz");
    let targets = targets(&package)?;
    if !targets.iter().any(|known| known == target) {
        bail!(
            "there is no target {target}; there are {}",
            targets.join(", ")
        );
    }
    let output = workspace.target_directory.join("fuzz");
    // With a target named, build scripts are built without the instrumentation.
    let host = host()?;
    let mut build = workspace.cargo();
    build
        .args(["build", "--release", "--bin", target, "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&output)
        .args(["--target", &host])
        .env("RUSTFLAGS", INSTRUMENTATION)
        // Some of the flags are not for stable compilers; the code is.
        .env("RUSTC_BOOTSTRAP", "1");
    step::run("building the target", &mut build)?;
    let corpus = output.join("corpus").join(target);
    fs::create_dir_all(&corpus)?;
    seed(&workspace, &corpus)?;
    let mut fuzz = Command::new(output.join(&host).join("release").join(target));
    fuzz.arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", corpus.display()))
        .args(["-max_len=8192", "-timeout=10", "-print_final_stats=1"]);
    step::run(&format!("{target} for {seconds} s"), &mut fuzz)?;
    Ok(ExitCode::SUCCESS)
}

fn host() -> Result<String> {
    let version = step::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

fn targets(package: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(package.join("src/bin")).context("tests/fuzz/src/bin")? {
        let name = entry?.path();
        names.extend(
            name.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

/// The vectors are what a parser accepts: mutations of them go deep.
fn seed(workspace: &Workspace, corpus: &Path) -> Result<()> {
    let vectors = "crates/audit-sink/tests/vectors/audit";
    let vectors = workspace.workspace_root.join(vectors);
    let mut found: Vec<PathBuf> = vec![vectors];
    let mut number = 0;
    while let Some(path) = found.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                found.push(entry?.path());
            }
        } else {
            fs::copy(&path, corpus.join(format!("seed-{number}")))?;
            number += 1;
        }
    }
    ensure!(number > 0, "no vectors to begin with");
    for (number, seed) in SEEDS.iter().enumerate() {
        fs::write(corpus.join(format!("text-{number}")), seed)?;
    }
    Ok(())
}

const SEEDS: [&str; 3] = [
    "/external/v1/accounts/%C3%A9?x=1",
    "https://api.example.com/a/../b//c;d",
    "acme_live_pBakQVyk6bW4_0000000000000000000000000000000000000000000000000",
];

/// What cargo-fuzz asks of the compiler, without the sanitizer: there is no unsafe code of ours.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Clink-dead-code -Ccodegen-units=1 \
    --cfg fuzzing";
