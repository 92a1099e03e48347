//! `keys scan`: keys in files, and whether they still work.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use countersign::{KeyPrefix, KeyRecord, ManageError, RawKey};
use serde::Serialize;
use walkdir::WalkDir;

use crate::args::Args;
use crate::error::CliError;
use crate::keys;
use crate::output::Output;
use crate::session::Session;
use crate::shape::{KEY, shown_path};

/// A key that was found where none should be. The secret is never shown.
#[derive(Debug, Serialize)]
struct Found {
    file: String,
    line: usize,
    prefix: KeyPrefix,
    /// The key's status in the store, `unknown` where it has no such key, `unchecked` without one.
    status: &'static str,
    /// Whether who has it can still use it, where that can be told.
    works: Option<bool>,
}

pub(crate) async fn scan(
    args: &Args,
    path: &Path,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let session = match args.store {
        Some(_) => Some(Session::open(args).await?),
        None => None,
    };
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    for file in files(path)? {
        match scan_file(&file) {
            Ok(keys) => {
                for (line, key) in keys {
                    found.push(judge(session.as_ref(), &file, line, &key).await?);
                }
            }
            Err(error) => unread.push(format!("{}: {error}", shown_path(&file))),
        }
    }
    tell(&found, output)?;
    for problem in &unread {
        output.say(problem)?;
    }
    if !unread.is_empty() {
        let unread = unread.len();
        return Err(CliError::Failed(format!(
            "{unread} files could not be read"
        )));
    }
    match found.iter().filter(|key| key.works != Some(false)).count() {
        0 => Ok(()),
        some => Err(CliError::Refused(format!(
            "keys that may still work: {some}; end them with `keys revoke`, or `keys revoke-all`"
        ))),
    }
}

/// What is named is read, whatever kind of file it is and through whichever links. In a tree it is
/// the regular files: a pipe there would never end.
fn files(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed =
        |at: &Path, error: &io::Error| CliError::Failed(format!("{}: {error}", shown_path(at)));
    let kind = fs::metadata(path).map_err(|error| failed(path, &error))?;
    if !kind.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in WalkDir::new(path).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            let at = error.path().unwrap_or(path).to_owned();
            failed(&at, &io::Error::from(error))
        })?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

fn tell(found: &[Found], output: &mut Output<'_>) -> Result<(), CliError> {
    if output.is_json() {
        return output.value(&found);
    }
    if found.is_empty() {
        return output.say("no key found");
    }
    let head = ["PREFIX", "STATUS", "WORKS", "WHERE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(found.iter().map(|key| {
        let works = match key.works {
            Some(true) => "yes",
            Some(false) => "no",
            None => "?",
        };
        vec![
            key.prefix.to_string(),
            key.status.to_owned(),
            works.to_owned(),
            format!("{}:{}", key.file, key.line),
        ]
    }));
    output.table(&rows)
}

/// The keys in a file, each with its line.
fn scan_file(path: &Path) -> io::Result<Vec<(usize, RawKey)>> {
    let mut file = BufReader::new(File::open(path)?);
    let (mut window, mut line, mut found) = (Vec::new(), 1, Vec::new());
    loop {
        let read = (&mut file).take(WINDOW).read_to_end(&mut window)?;
        let (mut counted, mut end) = (0, 0);
        while let Some(shape) = KEY.find_at(&window, end) {
            line += newlines(&window[counted..shape.start()]);
            counted = shape.start();
            end = match key_in(shape.as_bytes()) {
                Some(key) => {
                    found.push((line, key));
                    shape.end()
                }
                // What looked like a secret may be where a key begins.
                None => shape.end() - SECRET,
            };
        }
        if read == 0 {
            return Ok(found);
        }
        // A key that is cut in two is whole in the next window.
        let keep = end.max(window.len().saturating_sub(LONGEST_KEY));
        line += newlines(&window[counted..keep]);
        window.drain(..keep);
    }
}

/// The key in what has a key's shape. What stands before a key, the `n` of an escape for example,
/// looks like a part of its brand: the checksum tells where the key begins.
fn key_in(shape: &[u8]) -> Option<RawKey> {
    let brand = shape.iter().position(|byte| *byte == b'_')?;
    let starts = 0..=brand.saturating_sub(SHORTEST_BRAND);
    starts
        .into_iter()
        .find_map(|start| RawKey::parse(&shape[start..]).ok())
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

async fn judge(
    session: Option<&Session>,
    file: &Path,
    line: usize,
    key: &RawKey,
) -> Result<Found, CliError> {
    let mut found = Found {
        file: shown_path(file),
        line,
        prefix: *key.prefix(),
        status: "unchecked",
        works: None,
    };
    let Some(session) = session else {
        return Ok(found);
    };
    match session.manager.find(&session.actor, key.prefix()).await {
        Ok(record) => {
            found.status = record.status_at(keys::now());
            found.works = works(session, key, &record);
        }
        Err(ManageError::NotFound) => (found.status, found.works) = ("unknown", Some(false)),
        Err(error) => return Err(error.into()),
    }
    Ok(found)
}

/// Whether it is this key that can be used; nobody can tell without the pepper of its digest.
fn works(session: &Session, key: &RawKey, record: &KeyRecord) -> Option<bool> {
    if !may_be_used(record) {
        return Some(false);
    }
    let known = session.peppers.knows(&record.digest);
    known.then(|| session.peppers.digester.matches(key, &record.digest))
}

/// Whether the key can be used now, or by a change that needs no new key.
pub(super) fn may_be_used(record: &KeyRecord) -> bool {
    !matches!(record.status_at(keys::now()), "revoked" | "expired")
}

const WINDOW: u64 = 1 << 20;
/// More than the longest key.
const LONGEST_KEY: usize = 128;
const SHORTEST_BRAND: usize = 2;
/// The length of the secret and the checksum behind it.
const SECRET: usize = 49;
