//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use countersign::{ConfigError, StoreLocator};

/// A payments API behind countersign.
#[derive(Debug, clap::Parser)]
#[command(name = "payments-api")]
pub(crate) struct Args {
    /// Where outside companies call.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Where they call with sandbox keys; a free port unless given.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) sandbox_listen: SocketAddr,
    /// Where only the platform's own services call.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub(crate) internal_listen: SocketAddr,
    /// Where keys are kept: `sqlite:FILE`, or `postgres://user@host:5432/database` for a service of
    /// several processes. A file in the data directory unless given.
    #[arg(
        long,
        value_name = "STORE",
        env = "COUNTERSIGN_STORE",
        hide_env_values = true
    )]
    pub(crate) store: Option<String>,
    /// The directory for keys, payments and the audit log; made if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "payments-data")]
    pub(crate) data: PathBuf,
    /// Writes the demo keys to FILE, readable by its owner alone, and prints none. A real service
    /// never writes a raw key anywhere.
    #[arg(long, value_name = "FILE")]
    pub(crate) demo_keys: Option<PathBuf>,
}

impl Args {
    /// Read here and not by the command line's parser, whose messages repeat what they were given.
    pub(crate) fn locator(&self) -> Result<StoreLocator, ConfigError> {
        match &self.store {
            Some(store) => store.parse(),
            None => Ok(StoreLocator::sqlite(self.data.join("countersign.db"))),
        }
    }
}
