//! What is done when keys got out: find them, and end them.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::LazyLock;

use countersign::{KeyPrefix, KeyRecord, ManageError, RawKey, RevocationReason};
use regex::bytes::Regex;
use serde::Serialize;
use serde_json::json;
use walkdir::WalkDir;

use crate::args::{Args, KeysCommand};
use crate::error::CliError;
use crate::keys;
use crate::output::Output;
use crate::session::Session;

/// A rule for secret scanners: the expression, and the checksum that tells a key from what only
/// looks like one.
pub(crate) fn rule(brand: Option<&str>, output: &mut Output<'_>) -> Result<(), CliError> {
    if brand.is_some_and(|brand| !KeyPrefix::is_brand(brand)) {
        let problem = "--brand: 2 to 10 characters of a-z 0-9";
        return Err(CliError::Failed(problem.to_owned()));
    }
    let brand = brand.unwrap_or("[a-z0-9]{2,10}");
    let expression = format!(r"\b{brand}_(?:live|test)_[0-9A-Za-z]{{12}}_[0-9A-Za-z]{{49}}\b");
    output.value(&json!({
        "id": "countersign-api-key",
        "description": "API key of a countersign platform",
        "regex": expression,
        "keywords": ["_live_", "_test_"],
        "checksum": {
            "algorithm": "CRC-32 (IEEE 802.3) of everything before the last 6 characters",
            "encoding": "base62 (0-9A-Za-z), 6 characters, most significant first, padded with 0",
        },
    }))
}

/// A key that was found where none should be. The secret is never shown.
#[derive(Debug, Serialize)]
struct Found {
    file: String,
    line: usize,
    prefix: KeyPrefix,
    /// The key's status in the store, `unknown` where it has no such key, `unchecked` without one.
    status: &'static str,
    /// Whether who has it can still use it.
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
    let mut found = Vec::new();
    let mut unread = 0;
    for entry in WalkDir::new(path).sort_by_file_name() {
        let entry = entry.map_err(|error| CliError::Failed(error.to_string()))?;
        if !entry.file_type().is_file() {
            continue;
        }
        let seen = scan_file(entry.path());
        match seen {
            Ok(keys) => {
                for (line, key) in keys {
                    found.push(judge(session.as_ref(), entry.path(), line, &key).await?);
                }
            }
            Err(error) => {
                unread += 1;
                output.say(format_args!("{}: {error}", entry.path().display()))?;
            }
        }
    }
    tell(&found, output)?;
    if unread > 0 {
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
    static SHAPE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"[a-z0-9]{2,10}_(?:live|test)_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")
            .expect("the expression is well-formed")
    });
    let mut file = BufReader::new(File::open(path)?);
    let (mut window, mut line, mut found) = (Vec::new(), 1, Vec::new());
    loop {
        let read = (&mut file).take(WINDOW).read_to_end(&mut window)?;
        let mut counted = 0;
        let mut end = 0;
        for shape in SHAPE.find_iter(&window) {
            line += newlines(&window[counted..shape.start()]);
            counted = shape.start();
            end = shape.end();
            if let Ok(key) = RawKey::parse(shape.as_bytes()) {
                found.push((line, key));
            }
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
        file: file.display().to_string(),
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
            let right = session.digester.matches(key, &record.digest);
            found.status = record.status_at(keys::now());
            found.works = Some(right && works(&record));
        }
        Err(ManageError::NotFound) => (found.status, found.works) = ("unknown", Some(false)),
        Err(error) => return Err(error.into()),
    }
    Ok(found)
}

/// Whether the key can be used now, or by a change that needs no new key.
fn works(record: &KeyRecord) -> bool {
    !matches!(record.status_at(keys::now()), "revoked" | "expired")
}

pub(crate) async fn revoke_all(
    session: &Session,
    command: &KeysCommand,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let KeysCommand::RevokeAll {
        company,
        prefixes,
        reason,
        yes,
    } = command
    else {
        return Ok(());
    };
    let records = match (company, prefixes) {
        (Some(company), _) => keys::list(session, company).await?,
        (None, Some(file)) => named_in(session, file).await?,
        (None, None) => Vec::new(),
    };
    let records: Vec<_> = records.into_iter().filter(works).collect();
    if !yes {
        return Err(CliError::Refused(format!(
            "{} keys would end for ever: look at them first, then add --yes",
            records.len()
        )));
    }
    end_all(session, &records, *reason, output).await
}

async fn end_all(
    session: &Session,
    records: &[KeyRecord],
    reason: RevocationReason,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let (mut ended, mut failed) = (Vec::new(), 0);
    for record in records {
        let (manager, actor) = (&session.manager, &session.actor);
        let revoked = manager.revoke(actor, &record.company, record.id, reason);
        match revoked.await {
            Ok(record) => ended.push(record),
            // In a leak the rest must end all the same.
            Err(error) => {
                failed += 1;
                output.say(format_args!("{}: {error}", record.prefix))?;
            }
        }
    }
    output.list(&ended, keys::now())?;
    output.say(format_args!("{} keys are revoked", ended.len()))?;
    match failed {
        0 => Ok(()),
        some => Err(CliError::Failed(format!(
            "{some} keys could not be revoked"
        ))),
    }
}

/// The keys whose prefixes stand in a file. One that can't be read or is not known ends the
/// command before anything is changed.
async fn named_in(session: &Session, file: &Path) -> Result<Vec<KeyRecord>, CliError> {
    let failed = |error: io::Error| CliError::Failed(format!("{}: {error}", file.display()));
    let lines: io::Result<Vec<String>> = if file == Path::new("-") {
        io::stdin().lock().lines().collect()
    } else {
        fs::read_to_string(file).map(|text| text.lines().map(str::to_owned).collect())
    };
    let mut records = Vec::new();
    for (number, line) in lines.map_err(failed)?.iter().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        // The text is not repeated: it may be a whole key.
        let problem = format!("{}, line {}: no key's prefix", file.display(), number + 1);
        let prefix: KeyPrefix = line.parse().map_err(|_| CliError::Refused(problem))?;
        let found = session.manager.find(&session.actor, &prefix).await;
        records.push(found.map_err(|error| match error {
            ManageError::NotFound => CliError::Refused(format!("there is no key {prefix}")),
            error => error.into(),
        })?);
    }
    Ok(records)
}

const WINDOW: u64 = 1 << 20;
/// More than the longest key.
const LONGEST_KEY: usize = 128;
