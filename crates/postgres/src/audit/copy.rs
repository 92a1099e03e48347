//! A log written out as the directory that every verifier reads.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use countersign_core::{StoreError, StoreErrorKind};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use super::append::number;
use super::open::identity;
use super::reads::require_log;
use super::remove::Removed;
use super::server::Server;
use super::signer::PAGE;
use crate::error::{corrupt, store_error, unavailable};
use crate::options::PostgresOptions;

/// Writes the log on this server, as it is at one moment, into `directory`, in the layout of a
/// [`FileLog`](countersign_audit_sink::FileLog): what verifies, proves, exports and asks a log in a
/// directory does so with the copy. Nothing is checked on the way, and what stands in the tables is
/// written as it stands there, so that verifying the copy is verifying the log. Resolves to the
/// number of lines.
///
/// `directory` is made, and must be empty if it is there. Its files are readable by their owner
/// alone. Writing files blocks the thread, for the time of a page at a time.
///
/// # Errors
/// `NotFound` when there is no log, `AlreadyExists` when the directory is not empty, `Unavailable`
/// when the server or the file system fails.
pub async fn copy_log(
    options: PostgresOptions,
    directory: impl AsRef<Path>,
) -> Result<u64, StoreError> {
    let directory = directory.as_ref();
    let server = Server::new(options)?;
    let mut link = server.connect().await?;
    let version = require_log(&link.client, &server).await?;
    make(directory)?;
    // All of it as it is at one moment: a checkpoint never signs lines that the copy lacks.
    let snapshot = snapshot(&mut link.client).await?;
    if let Some((_, vkey)) = identity(snapshot.client()).await? {
        write(&directory.join("vkey"), format!("{vkey}\n").as_bytes()).map_err(unavailable)?;
    }
    copy_checkpoints(&snapshot, directory).await?;
    if version >= REMOVES {
        copy_hashes(&snapshot, directory).await?;
    }
    copy_lines(&snapshot, directory).await
}

async fn snapshot(client: &mut Client) -> Result<Transaction<'_>, StoreError> {
    let transaction = client.build_transaction().read_only(true);
    let transaction = transaction.isolation_level(IsolationLevel::RepeatableRead);
    transaction.start().await.map_err(store_error)
}

fn make(directory: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .recursive(true)
        .create(directory)
        .map_err(unavailable)?;
    if fs::read_dir(directory)
        .map_err(unavailable)?
        .next()
        .is_some()
    {
        let problem = format!("{} is not empty", directory.display());
        return Err(StoreError::with_source(
            StoreErrorKind::AlreadyExists,
            problem,
        ));
    }
    let segments = directory.join("segments");
    builder.create(&segments).map_err(unavailable)
}

async fn copy_checkpoints(snapshot: &Transaction<'_>, directory: &Path) -> Result<(), StoreError> {
    let path = directory.join("checkpoints.jsonl");
    let mut list = BufWriter::new(create(&path).map_err(unavailable)?);
    let mut newest = None;
    let sql = "SELECT size, time, note FROM checkpoints WHERE size > $1 ORDER BY size LIMIT $2";
    let mut after = -1;
    loop {
        let rows = page(snapshot, sql, after).await?;
        for row in &rows {
            after = row.try_get(0).map_err(corrupt)?;
            let time: &str = row.try_get(1).map_err(corrupt)?;
            let note: &str = row.try_get(2).map_err(corrupt)?;
            let line = serde_json::json!({"size": after, "time": time, "note": note});
            writeln!(list, "{line}").map_err(unavailable)?;
            newest = Some(note.to_owned());
        }
        if (rows.len() as i64) < PAGE {
            break;
        }
    }
    finish(list).map_err(unavailable)?;
    match newest {
        Some(note) => write(&directory.join("checkpoint"), note.as_bytes()).map_err(unavailable),
        None => Ok(()),
    }
}

/// What is left of the lines before the first one that is there.
async fn copy_hashes(snapshot: &Transaction<'_>, directory: &Path) -> Result<(), StoreError> {
    let sql = "SELECT first, hashes FROM removed WHERE first > $1
               AND first < (SELECT coalesce(min(seq), 9223372036854775807) FROM events)
               ORDER BY first LIMIT least($2, 16)";
    let mut after = -1;
    loop {
        let rows = page(snapshot, sql, after).await?;
        for row in &rows {
            let removed = Removed::of(row)?;
            after = number(removed.first)?;
            let path = directory.join(format!("segments/{after:020}.hashes"));
            write(&path, &removed.hashes).map_err(unavailable)?;
        }
        if rows.is_empty() {
            return Ok(());
        }
    }
}

async fn copy_lines(snapshot: &Transaction<'_>, directory: &Path) -> Result<u64, StoreError> {
    let sql = "SELECT seq, line FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
    let (mut count, mut after, mut bytes) = (0, -1, 0);
    let mut segment: Option<BufWriter<File>> = None;
    loop {
        let rows = page(snapshot, sql, after).await?;
        for row in &rows {
            after = row.try_get(0).map_err(corrupt)?;
            if bytes >= SEGMENT
                && let Some(full) = segment.take()
            {
                finish(full).map_err(unavailable)?;
            }
            let file = match &mut segment {
                Some(file) => file,
                None => {
                    bytes = 0;
                    let path = directory.join(format!("segments/{after:020}.jsonl"));
                    segment.insert(BufWriter::new(create(&path).map_err(unavailable)?))
                }
            };
            let line: &[u8] = row.try_get(1).map_err(corrupt)?;
            let written = file.write_all(line).and_then(|()| file.write_all(b"\n"));
            written.map_err(unavailable)?;
            bytes += line.len() as u64 + 1;
            count += 1;
        }
        if (rows.len() as i64) < PAGE {
            break;
        }
    }
    segment.map_or(Ok(()), finish).map_err(unavailable)?;
    Ok(count)
}

async fn page(snapshot: &Transaction<'_>, sql: &str, after: i64) -> Result<Vec<Row>, StoreError> {
    let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&after, Type::INT8), (&PAGE, Type::INT8)];
    let rows = snapshot.client().query_typed(sql, &parameters).await;
    rows.map_err(store_error)
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn finish(file: BufWriter<File>) -> io::Result<()> {
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
}

/// The version of the schema that lets lines go.
const REMOVES: usize = 2;
/// After how many bytes another file of lines begins.
const SEGMENT: u64 = 64 * 1024 * 1024;
