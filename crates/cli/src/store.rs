//! Where keys are kept.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use countersign::{KeyStore, StoreLocator};

use crate::error::CliError;
use crate::shape::shown_path;

/// Opens a store. `begin` says that the command may make one of a file that is absent or empty.
pub(crate) async fn open(store: &str, begin: bool) -> Result<Arc<dyn KeyStore>, CliError> {
    let locator: StoreLocator = store
        .parse()
        .map_err(|error| CliError::Failed(format!("--store: {error}")))?;
    if let Some(file) = store.strip_prefix("sqlite:") {
        check(Path::new(file), begin)?;
    }
    let opened = locator.open().await;
    opened.map_err(|error| CliError::store(&error))
}

/// A mistyped name must not become a new and empty store, and nothing that is no store may be
/// changed: opening one narrows the file's mode and brings its schema up to date.
fn check(file: &Path, begin: bool) -> Result<(), CliError> {
    let shown = shown_path(file);
    let kind = match fs::metadata(file) {
        Ok(kind) => kind,
        Err(_) if !begin && is_absent(file) => {
            return Err(CliError::Refused(format!(
                "there is no store {shown}; look at --store, or make it with `companies create`"
            )));
        }
        // The store says what is wrong.
        Err(_) => return Ok(()),
    };
    if !kind.is_file() {
        let problem = format!("--store: {shown} is no regular file, and a store is one");
        return Err(CliError::Failed(problem));
    }
    if begin || is_store(file).unwrap_or(true) {
        return Ok(());
    }
    Err(CliError::Failed(format!(
        "--store: {shown} is empty or of another program: it is not a key store; look at --store, \
         or make one with `companies create`"
    )))
}

/// A directory that is not there is left to the store to report.
fn is_absent(file: &Path) -> bool {
    let in_place = file
        .parent()
        .is_some_and(|dir| dir.as_os_str().is_empty() || dir.exists());
    in_place && !file.exists()
}

/// Whether the file says that it is a SQLite database with a schema. What it says may still stand
/// in its write-ahead log alone.
fn is_store(file: &Path) -> io::Result<bool> {
    let mut header = Vec::new();
    File::open(file)?.take(HEADER).read_to_end(&mut header)?;
    let database = header.starts_with(b"SQLite format 3\0");
    let versioned = header.get(USER_VERSION).is_some_and(|it| it != [0; 4]);
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let unfinished = || fs::metadata(log).is_ok_and(|log| log.len() > 0);
    Ok(database && (versioned || unfinished()))
}

/// The SQLite file format, section 1.3.
const HEADER: u64 = 100;
const USER_VERSION: std::ops::Range<usize> = 60..64;
