//! Where the log is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::StoreError;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::link::{Link, Signals};
use crate::options::PostgresOptions;
use crate::watch::Watched;

/// A server, and the schema of the log on it.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) options: PostgresOptions,
    tls: MakeRustlsConnect,
}

impl Server {
    pub(super) fn new(mut options: PostgresOptions) -> Result<Self, StoreError> {
        options.schema.push_str("_audit");
        let tls = crate::tls::connector(options.roots.as_deref())?;
        Ok(Self { options, tls })
    }

    pub(super) async fn connect(&self) -> Result<Link, StoreError> {
        let signals = Signals {
            ended: Arc::default(),
            alive: Arc::default(),
            notified: None,
        };
        Link::connect(&self.options, &self.tls, signals).await
    }

    /// A connection for a session that holds a lock.
    pub(super) async fn watched(&self) -> Result<Watched, StoreError> {
        Watched::new(self.connect().await?, &self.options).await
    }

    pub(super) fn patience(&self) -> Duration {
        self.options.patience()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}
