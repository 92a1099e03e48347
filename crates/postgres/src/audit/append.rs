//! Appending a batch: once and at the end, whoever else appends and whatever breaks.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use countersign_audit_sink::{EventType, Record};
use countersign_core::StoreError;
use tokio::time::Instant;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::holder::nobody_signs;
use super::server::Server;
use crate::error::{corrupt, store_error, unavailable};

/// How far this process's records have come. Their numbers are the writer's own.
#[derive(Debug)]
pub(super) struct Progress {
    /// The number of the first record that was not acknowledged.
    next: u64,
    /// The number of the first record that is not known to be in the log.
    unwritten: u64,
    /// A batch of which nobody knows whether it was committed.
    doubt: Option<Doubt>,
    /// The size that the newest checkpoint had when it was last looked at.
    signed: u64,
    /// Since when it has not grown although there are lines to sign.
    unsigned_since: Option<Instant>,
    signed_within: Duration,
}

#[derive(Debug, Clone)]
struct Doubt {
    /// The number of its first record, and of the one after its last.
    first: u64,
    end: u64,
    /// Where its first line stands, if it was committed.
    at: u64,
}

impl Progress {
    pub(super) const fn new(end: u64, signed_within: Duration) -> Self {
        Self {
            next: end,
            unwritten: end,
            doubt: None,
            signed: 0,
            unsigned_since: None,
            signed_within,
        }
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Appends `batch`, which begins with the first record that was not acknowledged. What stands
    /// in the log already is passed over.
    pub(super) async fn write(
        &mut self,
        client: &Client,
        server: &Server,
        batch: &[Record],
    ) -> Result<(), StoreError> {
        let (end, signed) = begin(client, &server.options.schema).await?;
        self.check_signing(client, server, end, signed).await?;
        self.resolve_doubt(client, batch).await?;
        let is_written = |record: &Record| record.seq() < self.unwritten;
        let new = absent(client, &batch[batch.partition_point(is_written)..]).await?;
        if let (Some(first), Some(last)) = (new.first(), new.last()) {
            self.doubt = Some(Doubt {
                first: first.seq(),
                end: last.seq() + 1,
                at: end,
            });
            insert(client, end, &new).await?;
        }
        client.batch_execute("COMMIT").await.map_err(store_error)?;
        self.doubt = None;
        if let Some(last) = batch.last() {
            self.next = last.seq() + 1;
            self.unwritten = self.next;
        }
        Ok(())
    }

    /// Whether the batch that was in doubt is there. It held the lock when its lines were sent, and
    /// now the lock is ours: what became of it is decided.
    async fn resolve_doubt(&mut self, client: &Client, batch: &[Record]) -> Result<(), StoreError> {
        let Some(doubt) = self.doubt.clone() else {
            return Ok(());
        };
        let record = batch.iter().find(|record| record.seq() == doubt.first);
        let record =
            record.ok_or_else(|| unavailable("a record that failed did not come again"))?;
        let sql = "SELECT line FROM events WHERE seq = $1";
        let at = number(doubt.at)?;
        let rows = client
            .query_typed(sql, &[(&at, Type::INT8)])
            .await
            .map_err(store_error)?;
        if let Some(row) = rows.first() {
            let line: &[u8] = row.try_get(0).map_err(corrupt)?;
            if line == &*record.line_as(doubt.at) {
                self.unwritten = doubt.end;
            }
        }
        self.doubt = None;
        Ok(())
    }

    /// Lines that nobody signs could be changed without a trace.
    async fn check_signing(
        &mut self,
        client: &Client,
        server: &Server,
        end: u64,
        signed: u64,
    ) -> Result<(), StoreError> {
        if signed >= end {
            self.unsigned_since = None;
        } else if signed > self.signed || self.unsigned_since.is_none() {
            self.unsigned_since = Some(Instant::now());
        }
        self.signed = signed;
        let late = |since: Instant| since.elapsed() >= self.signed_within;
        if self.unsigned_since.is_some_and(late) {
            return Err(nobody_signs(client, &server.options.schema).await);
        }
        Ok(())
    }
}

/// Whether the role may append, as far as that can be told without doing so.
pub(super) async fn may_append(client: &Client) -> Result<(), StoreError> {
    let sql = "SELECT has_table_privilege('events', 'INSERT')";
    let row = client
        .query_typed_one(sql, &[])
        .await
        .map_err(store_error)?;
    if row.try_get(0).map_err(corrupt)? {
        return Ok(());
    }
    Err(unavailable("the role may not insert into `events`"))
}

/// Begins a transaction that appends, once no other does; how many lines there are then, and how
/// many are signed.
async fn begin(client: &Client, schema: &str) -> Result<(u64, u64), StoreError> {
    // One round trip. Each statement sees what was committed before it began, the last one
    // therefore everything that others appended before they let go of the lock.
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
         SELECT pg_advisory_xact_lock(hashtextextended('countersign audit {schema}', 0));
         SELECT (SELECT coalesce(max(seq) + 1, 0) FROM events),
                (SELECT coalesce(max(size), 0) FROM checkpoints)"
    );
    let answers = client.simple_query(&sql).await.map_err(store_error)?;
    let rows = answers.iter().filter_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0).zip(row.try_get(1).ok().flatten()),
        _ => None,
    });
    let numbers = rows.last().and_then(|(end, signed)| {
        let parse = |text: &str| text.parse::<u64>().ok();
        parse(end).zip(parse(signed))
    });
    numbers.ok_or_else(|| corrupt("the end of the log can't be read"))
}

/// Those of `records` whose event is not in the log yet. An event of a key change brings its id
/// along, and a process that lost the outbox while it wrote keeps events that its successor writes
/// too. Asked under the log's lock, so that nobody adds one in between.
async fn absent<'a>(client: &Client, records: &'a [Record]) -> Result<Vec<&'a Record>, StoreError> {
    let is_shared = |record: &Record| matches!(record.event().kind(), EventType::Lifecycle(_));
    let shared = records.iter().filter(|record| is_shared(record));
    let mut there = written(client, shared.map(|record| record.id().to_string())).await?;
    // One that comes twice in a batch is there after the first time.
    let is_absent = |record: &&Record| !is_shared(record) || there.insert(record.id().to_string());
    Ok(records.iter().filter(is_absent).collect())
}

/// Those of `ids` that are in the log.
async fn written(
    client: &Client,
    ids: impl Iterator<Item = String>,
) -> Result<HashSet<String>, StoreError> {
    let ids: Vec<String> = ids.collect();
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let sql = "SELECT id FROM events WHERE id = ANY ($1)";
    let rows = client.query_typed(sql, &[(&ids, Type::TEXT_ARRAY)]).await;
    let rows = rows.map_err(store_error)?;
    rows.iter()
        .map(|row| row.try_get(0).map_err(corrupt))
        .collect()
}

/// Sends the lines, of which the first becomes number `at`, in statements of a bounded size.
async fn insert(client: &Client, mut at: u64, records: &[&Record]) -> Result<(), StoreError> {
    let (mut ids, mut lines, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (number, record) in (at..).zip(records) {
        let line = record.line_as(number);
        bytes += line.len();
        ids.push(record.id().to_string());
        lines.push(line);
        if bytes >= LARGEST_STATEMENT {
            at += send(client, at, &ids, &lines).await?;
            ids.clear();
            lines.clear();
            bytes = 0;
        }
    }
    send(client, at, &ids, &lines).await.map(drop)
}

async fn send(
    client: &Client,
    at: u64,
    ids: &[String],
    lines: &[Cow<'_, [u8]>],
) -> Result<u64, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let lines: Vec<&[u8]> = lines.iter().map(|line| &**line).collect();
    let at = number(at)?;
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&at, Type::INT8),
        (&ids, Type::TEXT_ARRAY),
        (&lines, Type::BYTEA_ARRAY),
    ];
    let sent = client.execute_typed(INSERT, &parameters).await;
    let sent = sent.map_err(store_error)?;
    if sent != ids.len() as u64 {
        return Err(unavailable("the server took another number of lines"));
    }
    Ok(sent)
}

pub(super) fn number(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(corrupt)
}

const INSERT: &str = "
    INSERT INTO events (seq, id, line)
    SELECT $1 + added.n - 1, added.id, added.line
    FROM unnest($2, $3) WITH ORDINALITY AS added (id, line, n)";
const LARGEST_STATEMENT: usize = 8 * 1024 * 1024;
