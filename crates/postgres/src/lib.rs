//! The shared key store of countersign: PostgreSQL, for any number of processes on any number of
//! machines.
//!
//! - A change, its version test and its audit events are one transaction.
//! - Changes are told to every process at once, by `LISTEN` and `NOTIFY`; what a process did not
//!   hear while its connection was lost it reads afterwards. See
//!   [`KeyCache::follow_changes`](countersign_key_verify::KeyCache::follow_changes).
//! - Migrations run by themselves under an advisory lock; a schema of a newer version is refused and
//!   left as it is.
//! - Keys and companies are never deleted: triggers keep even their owner from it.
//! - A set number of connections, kept up by one task that knocks at a growing and random distance
//!   while the server is away; everybody else is told at once that it is.
//! - Statements, waits for locks and waits for a connection have bounds.
//! - TLS with the server's certificate verified, and demanded for servers on other machines unless
//!   the address says otherwise.
//!
//! | failure | kind |
//! |---|---|
//! | the server can't be reached, refuses the user, lacks a right, does not answer in time | `Unavailable` |
//! | a stored record can't be read | `Corrupt` |
//! | the schema was made by a newer version | `UnsupportedVersion` |
//!
//! The cause behind the kind is PostgreSQL's own error. No error and no debug output holds the
//! password. `LISTEN` and advisory locks need a session: connect to the server itself, or through
//! a pooler in session mode.
//!
//! With the feature `audit`, the audit log of all processes is one log in the same database: see `audit`.
//!
//! With the feature `rls`, the company scope of a request reaches down to the rows of the application's
//! own tables: see `rls`.
//!
//! ```no_run
//! use countersign_postgres::{PostgresKeyStore, PostgresOptions};
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let options: PostgresOptions = "postgres://countersign@db.example.com/platform".parse()?;
//! let store = PostgresKeyStore::connect(options.password("from your secrets")).await?;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "audit")]
pub mod audit;
mod claim;
mod error;
mod feed;
mod keeper;
mod lease;
mod link;
mod migrate;
mod options;
mod pool;
mod read;
#[cfg(feature = "rls")]
pub mod rls;
mod store;
mod tls;
mod uses;
mod watch;
mod write;

pub use options::PostgresOptions;
pub use store::PostgresKeyStore;
