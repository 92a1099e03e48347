//! `cargo xtask vectors DIR`: replays test vectors, by the name of their file.

mod api_keys;
mod audit;
mod client_address;
mod gcra;
mod report;
mod request_targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use report::Report;

/// Replays every vector file in `directory` and below it.
///
/// # Errors
/// When a file can't be read or is not what its name promises, or when there is none.
pub(crate) fn run(directory: &Path) -> Result<ExitCode> {
    let mut files = Vec::new();
    collect(directory, &mut files)?;
    ensure!(
        !files.is_empty(),
        "no vector file in {}",
        directory.display()
    );
    let mut total = Report::default();
    for (path, replay) in files {
        let report = replay
            .of(&path)
            .with_context(|| path.display().to_string())?;
        println!("{}: {report}", path.display());
        total.add(&report);
    }
    println!("{total}");
    Ok(if total.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn collect(directory: &Path, files: &mut Vec<(PathBuf, Replay)>) -> Result<()> {
    let entries = directory
        .read_dir()
        .with_context(|| directory.display().to_string())?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, files)?;
        } else if let Some(replay) = replay_of(&path) {
            files.push((path, replay));
        }
    }
    Ok(())
}

fn replay_of(path: &Path) -> Option<Replay> {
    let name = path.file_name()?.to_str()?;
    KINDS
        .iter()
        .find(|(kind, _)| *kind == name)
        .map(|(_, replay)| *replay)
}

/// Replays one file.
#[derive(Clone, Copy)]
enum Replay {
    Content(fn(&[u8]) -> Result<Report>),
    /// One that names what lies beside it.
    Place(fn(&Path) -> Result<Report>),
}

impl Replay {
    fn of(self, path: &Path) -> Result<Report> {
        match self {
            Self::Content(replay) => replay(&fs::read(path)?),
            Self::Place(replay) => replay(path),
        }
    }
}

const KINDS: &[(&str, Replay)] = &[
    ("api_keys.json", Replay::Content(api_keys::replay)),
    (
        "client_address.json",
        Replay::Content(client_address::replay),
    ),
    ("expected.json", Replay::Place(audit::replay)),
    ("gcra.json", Replay::Content(gcra::replay)),
    (
        "request_targets.json",
        Replay::Content(request_targets::replay),
    ),
];
