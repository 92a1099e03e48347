//! Signing checkpoints, by one process of all that could.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_audit_sink::LogTree;
use countersign_core::{Clock, StoreError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::append::number;
use super::remove::Removed;
use super::server::Server;
use crate::error::{corrupt, store_error, unavailable, within};

/// What a process that may sign has.
pub(super) struct Signing {
    empty: LogTree,
    interval: Duration,
    clock: Arc<dyn Clock>,
    elected: Arc<AtomicBool>,
    asks: mpsc::Sender<Ask>,
    /// Given to the task when it is started.
    asked: Option<mpsc::Receiver<Ask>>,
    task: Option<JoinHandle<()>>,
}

type Ask = Option<oneshot::Sender<()>>;

impl Signing {
    pub(super) fn new(empty: LogTree, interval: Duration, clock: Arc<dyn Clock>) -> Self {
        let (asks, asked) = mpsc::channel(1);
        Self {
            empty,
            interval,
            clock,
            elected: Arc::default(),
            asks,
            asked: Some(asked),
            task: None,
        }
    }

    /// Stands for election, on the runtime of the caller, from the first call on.
    pub(super) fn start(&mut self, server: &Server) {
        let Some(asked) = self.asked.take() else {
            return;
        };
        let candidate = Candidate {
            server: server.clone(),
            empty: self.empty.clone(),
            interval: self.interval,
            clock: Arc::clone(&self.clock),
            elected: Arc::clone(&self.elected),
            asked,
            turn: Arc::new(Semaphore::new(1)),
        };
        self.task = Some(tokio::spawn(candidate.live()));
    }

    pub(super) fn is_elected(&self) -> bool {
        self.elected.load(Ordering::Relaxed)
    }

    /// There is nothing to wait for any longer.
    pub(super) fn hurry(&self) {
        // A full channel has told already.
        let _ = self.asks.try_send(None);
    }

    /// Resolves once everything that is in the log now is signed.
    pub(super) async fn sign_now(&self) -> Result<(), StoreError> {
        let (ask, done) = oneshot::channel();
        self.asks.send(Some(ask)).await.map_err(unavailable)?;
        done.await.map_err(unavailable)
    }
}

impl Drop for Signing {
    /// With the task its connection ends, and with that the lock: another process signs.
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing")
            .field("elected", &self.is_elected())
            .finish_non_exhaustive()
    }
}

struct Candidate {
    server: Server,
    empty: LogTree,
    interval: Duration,
    clock: Arc<dyn Clock>,
    elected: Arc<AtomicBool>,
    asked: mpsc::Receiver<Ask>,
    /// One thread signs at a time.
    turn: Arc<Semaphore>,
}

impl Candidate {
    async fn live(mut self) {
        let mut failing = false;
        loop {
            let Err(error) = self.term(&mut failing).await else {
                return;
            };
            self.elected.store(false, Ordering::Relaxed);
            if !std::mem::replace(&mut failing, true) {
                tracing::error!(
                    target: "countersign",
                    error = &error as &dyn std::error::Error,
                    "checkpoints of the audit log can't be signed by this process"
                );
            }
            sleep(ELECTION).await;
            // While its signer hangs, it is another's turn.
            drop(self.turn.acquire().await);
        }
    }

    /// Waits for election, goes on where the last signer ended, and signs until that fails; `Ok`
    /// when the log is closed.
    async fn term(&mut self, failing: &mut bool) -> Result<(), StoreError> {
        let link = self.server.watched().await?;
        let client = &link.client;
        while !elect(client, &self.server.options.schema).await? {
            sleep(ELECTION).await;
        }
        let mut tree = self.take_over(client).await?;
        self.elected.store(true, Ordering::Relaxed);
        let mut signed = tree.size();
        let mut answers = Vec::new();
        loop {
            read_on(client, &mut tree, None).await?;
            if tree.size() > signed {
                self.sign(client, &tree).await?;
                signed = tree.size();
            }
            *failing = false;
            for answer in answers.drain(..) {
                let _: Result<(), ()> = oneshot::Sender::send(answer, ());
            }
            match timeout(self.interval, self.asked.recv()).await {
                Ok(Some(ask)) => answers.extend(ask),
                Ok(None) => return Ok(()),
                Err(_) => {}
            }
        }
    }

    /// The tree that the newest checkpoint signs.
    async fn take_over(&self, client: &Client) -> Result<LogTree, StoreError> {
        let sql = "SELECT note, edge FROM checkpoints ORDER BY size DESC LIMIT 1";
        let rows = client.query_typed(sql, &[]).await.map_err(store_error)?;
        let mut tree = self.empty.clone();
        let Some(row) = rows.first() else {
            return Ok(tree);
        };
        let note: &str = row.try_get(0).map_err(corrupt)?;
        let edge: &[u8] = row.try_get(1).map_err(corrupt)?;
        if tree.resume(note, edge)? {
            return Ok(tree);
        }
        let size = tree.size_signed_by(note)?;
        read_removed(client, &mut tree).await?;
        read_on(client, &mut tree, Some(size)).await?;
        if tree.is_signed_by(note)? {
            return Ok(tree);
        }
        Err(corrupt(
            "the lines are not what the newest checkpoint signs",
        ))
    }

    async fn sign(&self, client: &Client, tree: &LogTree) -> Result<(), StoreError> {
        let (size, edge) = (number(tree.size())?, tree.edge());
        let note = within(self.server.patience(), self.note(tree.clone())).await?;
        let time = self.clock.now().wall.to_string();
        // One that is there was signed with the same key over the same lines.
        let sql = "INSERT INTO checkpoints (size, time, note, edge) VALUES ($1, $2, $3, $4)
                   ON CONFLICT DO NOTHING";
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&size, Type::INT8),
            (&time, Type::TEXT),
            (&note, Type::TEXT),
            (&edge, Type::BYTEA),
        ];
        let written = client.execute_typed(sql, &parameters).await;
        written.map(drop).map_err(store_error)
    }

    /// Signs on a thread of its own.
    async fn note(&self, tree: LogTree) -> Result<String, StoreError> {
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let turn = turn.map_err(unavailable)?;
        let signing = spawn_blocking(move || {
            let _turn = turn;
            tree.sign()
        });
        signing.await.map_err(unavailable)?
    }
}

/// Whether this session is the one that signs. The server frees the lock when the session ends.
async fn elect(client: &Client, schema: &str) -> Result<bool, StoreError> {
    let sql = "SELECT pg_try_advisory_lock(hashtextextended('countersign audit signer ' || $1, 0))";
    let row = client
        .query_typed_one(sql, &[(&schema, Type::TEXT)])
        .await
        .map_err(store_error)?;
    row.try_get(0).map_err(corrupt)
}

/// Takes up the hashes of the lines that were removed.
async fn read_removed(client: &Client, tree: &mut LogTree) -> Result<(), StoreError> {
    let sql = "SELECT first, hashes FROM removed
               WHERE first = $1 AND NOT EXISTS (SELECT FROM events WHERE seq = $1)";
    loop {
        let at = number(tree.size())?;
        let rows = client.query_typed(sql, &[(&at, Type::INT8)]).await;
        let rows = rows.map_err(store_error)?;
        let Some(row) = rows.first() else {
            return Ok(());
        };
        for hash in Removed::of(row)?.hashes.as_chunks::<32>().0 {
            tree.push_hash(*hash);
        }
    }
}

/// Takes up the lines that the tree does not have yet, up to number `until`.
async fn read_on(
    client: &Client,
    tree: &mut LogTree,
    until: Option<u64>,
) -> Result<(), StoreError> {
    let until = number(until.unwrap_or(i64::MAX as u64))?;
    let sql = "SELECT seq, line FROM events WHERE seq >= $1 AND seq < $2 ORDER BY seq LIMIT $3";
    loop {
        let from = number(tree.size())?;
        let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
            (&from, Type::INT8),
            (&until, Type::INT8),
            (&PAGE, Type::INT8),
        ];
        let rows = client.query_typed(sql, &parameters).await;
        let rows = rows.map_err(store_error)?;
        for row in &rows {
            let seq: i64 = row.try_get(0).map_err(corrupt)?;
            if seq != number(tree.size())? {
                return Err(corrupt(format!("line missing at {}", tree.size())));
            }
            tree.push(row.try_get(1).map_err(corrupt)?);
        }
        if (rows.len() as i64) < PAGE {
            return Ok(());
        }
    }
}

/// How long until a process stands for election again.
const ELECTION: Duration = Duration::from_millis(500);
pub(super) const PAGE: i64 = 2000;
