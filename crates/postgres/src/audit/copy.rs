//! A log written out as the directory that every verifier reads.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use countersign_core::{StoreError, StoreErrorKind};
use tokio::time::sleep;
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
/// Every line that is there when it is called is in the copy. It waits up to five seconds for a
/// checkpoint that signs them, and ends the copy at the newest one: nobody signs a copy any further,
/// so that lines behind would be unsigned for too long when it is verified later. Where no such
/// checkpoint comes, nobody signs the log either, and the copy has all of its lines.
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
    let is_signed = wait_for_signer(&link.client).await?;
    // All of it as it is at one moment: a checkpoint never signs lines that the copy lacks.
    let snapshot = snapshot(&mut link.client).await?;
    if let Some((_, vkey)) = identity(snapshot.client()).await? {
        write(&directory.join("vkey"), format!("{vkey}\n").as_bytes()).map_err(unavailable)?;
    }
    let signed = copy_checkpoints(&snapshot, directory).await?;
    if version >= REMOVES {
        copy_hashes(&snapshot, directory).await?;
    }
    let end = signed.filter(|_| is_signed).unwrap_or(i64::MAX);
    copy_lines(&snapshot, directory, end).await
}

/// Whether a checkpoint signs all lines that are there now, or comes to while it is waited for.
async fn wait_for_signer(client: &Client) -> Result<bool, StoreError> {
    let end = ask(client, "SELECT coalesce(max(seq) + 1, 0) FROM events").await?;
    let signed = "SELECT coalesce(max(size), 0) FROM checkpoints";
    for _ in 0..LOOKS {
        if ask(client, signed).await? >= end {
            return Ok(true);
        }
        sleep(PAUSE).await;
    }
    Ok(ask(client, signed).await? >= end)
}

async fn ask(client: &Client, sql: &str) -> Result<i64, StoreError> {
    let row = client
        .query_typed_one(sql, &[])
        .await
        .map_err(store_error)?;
    row.try_get(0).map_err(corrupt)
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

/// Resolves to the size that the newest one signs.
async fn copy_checkpoints(
    snapshot: &Transaction<'_>,
    directory: &Path,
) -> Result<Option<i64>, StoreError> {
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
    let Some(note) = newest else { return Ok(None) };
    write(&directory.join("checkpoint"), note.as_bytes()).map_err(unavailable)?;
    Ok(Some(after))
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

/// Those before number `end`.
async fn copy_lines(
    snapshot: &Transaction<'_>,
    directory: &Path,
    end: i64,
) -> Result<u64, StoreError> {
    let sql = "SELECT seq, line FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
    let mut segments = Segments::new(directory);
    let (mut count, mut after) = (0, -1);
    loop {
        let rows = page(snapshot, sql, after).await?;
        for row in &rows {
            after = row.try_get(0).map_err(corrupt)?;
            if after >= end {
                break;
            }
            let line = row.try_get(1).map_err(corrupt)?;
            segments.add(after, line).map_err(unavailable)?;
            count += 1;
        }
        if (rows.len() as i64) < PAGE || after >= end {
            break;
        }
    }
    segments.finish().map_err(unavailable)?;
    Ok(count)
}

/// The files of lines of a copy.
struct Segments<'a> {
    directory: &'a Path,
    /// The one that is written, and how many bytes it has.
    open: Option<(BufWriter<File>, u64)>,
}

impl<'a> Segments<'a> {
    const fn new(directory: &'a Path) -> Self {
        let open = None;
        Self { directory, open }
    }

    fn add(&mut self, seq: i64, line: &[u8]) -> io::Result<()> {
        if self
            .open
            .as_ref()
            .is_some_and(|(_, bytes)| *bytes >= SEGMENT)
        {
            self.finish()?;
        }
        let (file, bytes) = match &mut self.open {
            Some(open) => open,
            None => {
                let path = self.directory.join(format!("segments/{seq:020}.jsonl"));
                self.open.insert((BufWriter::new(create(&path)?), 0))
            }
        };
        file.write_all(line)?;
        file.write_all(b"\n")?;
        *bytes += line.len() as u64 + 1;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.open.take().map_or(Ok(()), |(file, _)| finish(file))
    }
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
/// How often, and with which pause, it is looked for a checkpoint.
const LOOKS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// After how many bytes another file of lines begins.
const SEGMENT: u64 = 64 * 1024 * 1024;
