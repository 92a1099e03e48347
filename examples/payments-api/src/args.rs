//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A payments API behind countersign.
#[derive(Debug, clap::Parser)]
#[command(name = "payments-api")]
pub(crate) struct Args {
    /// Where outside companies call.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Where only the platform's own services call.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub(crate) internal_listen: SocketAddr,
    /// The directory for keys, payments and the audit log; made if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "payments-data")]
    pub(crate) data: PathBuf,
    /// Writes the demo keys to FILE, readable by its owner alone, and prints none. A real service
    /// never writes a raw key anywhere.
    #[arg(long, value_name = "FILE")]
    pub(crate) demo_keys: Option<PathBuf>,
}
