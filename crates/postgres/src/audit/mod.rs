//! The audit log in PostgreSQL: one log for any number of processes.
//!
//! The lines are the same bytes that a log in a directory has, they are leaves of the same tree, and
//! the checkpoints are the same signed notes. [`copy_log`] writes a log out in the layout of a
//! directory, and whatever verifies that one verifies this one.
//!
//! - **One sequence.** A batch takes its numbers under an advisory lock that ends with its
//!   transaction, so that the log has no holes and no two lines of a number, whoever appends.
//! - **Durable when acknowledged.** A batch is one transaction with `synchronous_commit` on. When
//!   the connection is lost before the server's answer, the next attempt looks first whether the
//!   batch is there: it stands in the log once. So does an event of a key change, though several
//!   processes may take it out of one outbox: its id is looked for under the lock.
//! - **Append-only by role and by trigger.** Services need `SELECT` and `INSERT`; triggers refuse
//!   `UPDATE` and `TRUNCATE` even to the owner, and lines anywhere but at the end. Of a line whose
//!   time is over ([`remove_lines`]) the hash stays, or it is not let go.
//! - **One signer.** Of the processes that have the signing key, one holds an advisory lock and
//!   signs; when it ends or its connection is closed, another goes on from the newest checkpoint within
//!   a second, and within five where its machine, its network or the process itself stands still. A
//!   server before version 14 takes up to half a minute for a machine or a network that is gone, and
//!   waits for a process that is stopped. While nobody signs for longer than [`PostgresLogOptions::signed_within`], nothing is
//!   appended: no audit, no access.
//!
//! A superuser can switch triggers off. What they change below a checkpoint is found by verifying,
//! and what they write anew together with the checkpoints by a checkpoint that was kept elsewhere.
//!
//! ```no_run
//! use countersign_audit_sink::{AuditSink, FileSigner};
//! use countersign_postgres::PostgresOptions;
//! use countersign_postgres::audit::PostgresLog;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let options: PostgresOptions = "postgres://auditor@db.example.com/platform".parse()?;
//! let log = PostgresLog::options(options)
//!     .origin("example.com/payments/audit")
//!     .signer(FileSigner::open("/etc/payments/audit.key")?)
//!     .open()
//!     .await?;
//! let (sink, writer) = AuditSink::builder(log).spawn()?;
//! # Ok(())
//! # }
//! ```

mod append;
mod copy;
mod history;
mod holder;
mod open;
mod reads;
mod remove;
mod server;
mod signer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use countersign_audit_sink::{
    AuditBackend, CheckpointSigner, EventHistory, Notice, Record, Recovery,
};
use countersign_core::{Clock, StoreError, StoreErrorKind, SystemClock};
use tokio::time::timeout;

use self::append::Progress;
use self::history::PostgresHistory;
use self::reads::Reads;
use self::server::Server;
use self::signer::Signing;
use crate::error::unavailable;
use crate::link::Link;
use crate::options::PostgresOptions;

pub use self::copy::copy_log;
pub use self::reads::record_read;
pub use self::remove::remove_lines;

/// An audit log in PostgreSQL, to which any number of processes append.
///
/// Its tables are in the schema that [`PostgresOptions`] names with `_audit` behind it. It connects
/// on the thread of the audit writer, and again after each failure.
pub struct PostgresLog {
    server: Server,
    origin: Arc<str>,
    /// Absent before the first use, while a write is under way, and after a failure.
    link: Option<Link>,
    progress: Progress,
    signing: Option<Signing>,
    reads: Reads,
}

/// How a [`PostgresLog`] is opened.
#[derive(Clone)]
#[must_use]
pub struct PostgresLogOptions {
    postgres: PostgresOptions,
    origin: Option<String>,
    signer: Option<Arc<dyn CheckpointSigner>>,
    interval: Duration,
    signed_within: Duration,
    clock: Arc<dyn Clock>,
}

impl PostgresLog {
    /// The log on this server, to be opened.
    pub fn options(postgres: PostgresOptions) -> PostgresLogOptions {
        PostgresLogOptions {
            postgres,
            origin: None,
            signer: None,
            interval: Duration::from_secs(1),
            signed_within: Duration::from_secs(60),
            clock: Arc::new(SystemClock),
        }
    }

    async fn take_link(&mut self) -> Result<Link, StoreError> {
        match self.link.take().filter(Link::is_alive) {
            Some(link) => Ok(link),
            None => self.server.connect().await,
        }
    }

    fn start_signing(&mut self) {
        if let Some(signing) = &mut self.signing {
            signing.start(&self.server);
        }
    }
}

impl PostgresLogOptions {
    /// The log's name: the first line of its checkpoints and the `log` of its lines. A URL without
    /// its scheme that nobody else uses. Drawn at random for a new log unless set, and fixed from
    /// then on.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Makes this process one of those that may sign checkpoints. All of them sign with one key. A
    /// process without it appends, and others sign; the first process of a new log must have it. One
    /// whose signer takes longer for an answer than two statements may leaves signing to others, until
    /// it has answered.
    pub fn signer(mut self, signer: impl CheckpointSigner) -> Self {
        self.signer = Some(Arc::new(signer));
        self
    }

    /// How long after a line its checkpoint is signed at the latest; 1 s unless set. When the
    /// process that signs has nothing more to write, it signs at once.
    pub const fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// For how long lines may be appended while nobody signs; 60 s unless set. After that every
    /// request is refused until somebody does.
    pub const fn signed_within(mut self, time: Duration) -> Self {
        self.signed_within = time;
        self
    }

    /// Dates checkpoints by `clock`.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Connects, brings the schema up to date unless the options say otherwise, and checks that the
    /// log is whole and the key its own.
    ///
    /// # Errors
    /// `Unavailable` when the server can't be reached, refuses the user, or the role may not do what
    /// must be done; `Conflict` when the log has another name or key, or there is none and no
    /// signer; `Corrupt` when the log is shorter than its newest checkpoint, or that is not signed
    /// with the log's key; `UnsupportedVersion` when a newer version of this crate made the schema.
    pub async fn open(self) -> Result<PostgresLog, StoreError> {
        open::open(self).await
    }
}

#[async_trait]
impl AuditBackend for PostgresLog {
    /// The writer's own count. Lines get theirs as they are appended.
    fn next_seq(&self) -> u64 {
        self.progress.next()
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        None
    }

    fn origin(&self) -> Option<Arc<str>> {
        Some(Arc::clone(&self.origin))
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        self.reads.take_notices()
    }

    fn history(&self) -> Option<Arc<dyn EventHistory>> {
        Some(Arc::new(PostgresHistory(self.server.clone())))
    }

    async fn append(&mut self, batch: &[Record]) -> Result<(), StoreError> {
        let Some(first) = batch.first() else {
            return Ok(());
        };
        if first.seq() != self.next_seq() {
            let cause = format!(
                "record {} where {} was expected",
                first.seq(),
                self.next_seq()
            );
            return Err(StoreError::with_source(StoreErrorKind::Conflict, cause));
        }
        self.start_signing();
        let link = self.take_link().await?;
        let writing = self.progress.write(&link.client, &self.server, batch);
        match timeout(self.server.patience(), writing).await {
            Ok(written) => written?,
            Err(late) => return Err(unavailable(late)),
        }
        // After an error the connection is dropped, and with it whatever it was about to do.
        self.link = Some(link);
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), StoreError> {
        let Some(signing) = self.signing.as_ref().filter(|it| it.is_elected()) else {
            return Ok(());
        };
        signing.hurry();
        let link = self.take_link().await?;
        let collecting = self.reads.collect(&link.client);
        match timeout(self.server.patience(), collecting).await {
            Ok(collected) => collected?,
            Err(late) => return Err(unavailable(late)),
        }
        self.link = Some(link);
        Ok(())
    }

    /// Lines are durable when they are acknowledged; what is left is the last checkpoint, if it is
    /// this process that signs.
    async fn flush(&mut self) -> Result<(), StoreError> {
        let Some(signing) = self.signing.as_ref().filter(|it| it.is_elected()) else {
            return Ok(());
        };
        match timeout(self.server.patience(), signing.sign_now()).await {
            Ok(signed) => signed,
            Err(late) => Err(unavailable(late)),
        }
    }

    async fn health(&mut self) -> Result<(), StoreError> {
        self.start_signing();
        let link = self.take_link().await?;
        match timeout(self.server.patience(), append::may_append(&link.client)).await {
            Ok(may) => may?,
            Err(late) => return Err(unavailable(late)),
        }
        self.link = Some(link);
        Ok(())
    }
}

impl fmt::Debug for PostgresLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLog")
            .field("origin", &self.origin)
            .field("server", &self.server)
            .field("signs", &self.signing.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PostgresLogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLogOptions")
            .field("postgres", &self.postgres)
            .field("origin", &self.origin)
            .field("signs", &self.signer.is_some())
            .field("interval", &self.interval)
            .field("signed_within", &self.signed_within)
            .finish_non_exhaustive()
    }
}
