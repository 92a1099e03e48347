//! One connection.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign_core::StoreError;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{store_error, within};
use crate::options::PostgresOptions;

/// A connection, its session set up. Dropping it closes it: with a good-bye, or without where an
/// answer is outstanding for longer than [`SILENCE`].
pub(crate) struct Link {
    pub(crate) client: Client,
    /// The look-up by prefix, prepared where the connection is for look-ups.
    pub(crate) find: Option<Statement>,
    task: AbortHandle,
}

/// What a connection tells about itself.
pub(crate) struct Signals {
    /// Told when the connection has ended.
    pub(crate) ended: Arc<Notify>,
    /// Counts the connections that live.
    pub(crate) alive: Arc<AtomicUsize>,
    /// Told of every notification; closed when the connection has ended.
    pub(crate) notified: Option<mpsc::Sender<()>>,
}

impl Link {
    /// Connects within the connect timeout.
    pub(crate) async fn connect(
        options: &PostgresOptions,
        tls: &MakeRustlsConnect,
        signals: Signals,
    ) -> Result<Self, StoreError> {
        // The timeout of the address is for the socket alone; a server that accepts and then says
        // nothing must not hold anybody either.
        let patience = options.config.get_connect_timeout().copied();
        let patience = patience.unwrap_or(Duration::from_secs(5)) + options.statement;
        let connecting = Self::open(options, tls, signals);
        within(patience, connecting).await
    }

    async fn open(
        options: &PostgresOptions,
        tls: &MakeRustlsConnect,
        signals: Signals,
    ) -> Result<Self, StoreError> {
        let connected = options.config.connect(tls.clone()).await;
        let (client, mut connection) = connected.map_err(store_error)?;
        let living = Living::new(signals.ended, signals.alive);
        let notified = signals.notified;
        let task = tokio::spawn(async move {
            let _living = living;
            // An error ends the connection like a good-bye: whoever waits for an answer gets it.
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let (AsyncMessage::Notification(_), Some(notified)) = (message, &notified) {
                    // A full channel has told already.
                    let _ = notified.try_send(());
                }
            }
        });
        let link = Self {
            client,
            find: None,
            task: task.abort_handle(),
        };
        let session = session(options);
        link.client
            .batch_execute(&session)
            .await
            .map_err(store_error)?;
        Ok(link)
    }

    /// Whether the server answers, and has answered everything that was asked before, within
    /// `patience`.
    pub(crate) async fn answers(&self, patience: Duration) -> bool {
        let answer = timeout(patience, self.client.simple_query("")).await;
        matches!(answer, Ok(Ok(_)))
    }

    /// Closes a connection that does not answer.
    pub(crate) fn cut(&self) {
        self.task.abort();
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.client.is_closed() && !self.task.is_finished()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let task = self.task.clone();
        // The task waits for answers that are outstanding, however long, before it says good-bye.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                sleep(SILENCE).await;
                task.abort();
            })),
            Err(_) => task.abort(),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

/// Every session's settings. A transaction whose client is gone holds its locks no longer than one
/// statement may take, and the server gives up a client that does not acknowledge. Servers before
/// version 12 do not know all of these bounds.
fn session(options: &PostgresOptions) -> String {
    let (schema, millis) = (&options.schema, options.statement.as_millis());
    format!(
        "SET search_path TO {schema}, pg_temp;
         SET statement_timeout TO {millis};
         SET lock_timeout TO {millis};
         SET idle_in_transaction_session_timeout TO {millis};
         SET synchronous_commit TO on;
         SET client_min_messages TO warning;
         SELECT set_config(name, value, false)
         FROM (VALUES ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '5'),
                      ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '10000'))
              AS bound (name, value)
         WHERE current_setting(name, true) IS NOT NULL"
    )
}

struct Living(Arc<Notify>, Arc<AtomicUsize>);

impl Living {
    fn new(ended: Arc<Notify>, alive: Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(ended, alive)
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
        self.0.notify_one();
    }
}

/// How long a connection that has nothing else to do may take to answer.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);
