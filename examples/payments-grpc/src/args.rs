//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use countersign::{ConfigError, StoreLocator};

/// A payments API over gRPC, behind countersign.
#[derive(Debug, clap::Parser)]
#[command(name = "payments-grpc")]
pub(crate) struct Args {
    /// Where outside companies call in production: gRPC, gRPC-Web and HTTP on one port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    pub(crate) listen: SocketAddr,
    /// Where they call with sandbox keys: gRPC.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8091")]
    pub(crate) sandbox_listen: SocketAddr,
    /// Where keys are kept: `sqlite:FILE`, or `postgres://user@host:5432/database` for a service of
    /// several processes. A file in the data directory unless given.
    #[arg(
        long,
        value_name = "STORE",
        env = "COUNTERSIGN_STORE",
        hide_env_values = true
    )]
    pub(crate) store: Option<String>,
    /// The directory for keys, payments and the audit log; made if it does not exist. The same as
    /// payments-api's unless given: both serve the same data.
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
