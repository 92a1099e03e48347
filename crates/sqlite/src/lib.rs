//! The embedded key store of countersign: one SQLite file, with the library bundled, so that no
//! system package is needed.
//!
//! - Write-ahead log with full synchronisation: a commit that was reported is there after a crash.
//! - Migrations run by themselves when the file is opened; a file of a newer version is refused and
//!   left as it is.
//! - Several processes may share the file on one machine. What one changes the others feel at once,
//!   through [`KeyCache::follow_changes`](countersign_key_verify::KeyCache::follow_changes), and one
//!   at a time brings the events of changes into an audit log.
//! - Keys and companies are never deleted: triggers keep everybody from it.
//! - On Unix the file is readable and writable by its owner alone, and a file that is put in its place is
//!   noticed: the store goes on with that one, caches that follow its changes forget every key, and no
//!   answer comes from the old one. Elsewhere it is not noticed: end every process before.
//!
//! | failure | kind |
//! |---|---|
//! | the file can't be opened, is gone, was replaced just now, is locked for longer than five seconds, the disk is full | `Unavailable` |
//! | the file is not a database, or a record can't be read | `Corrupt` |
//! | the file was written by a newer version | `UnsupportedVersion` |
//!
//! ```
//! use countersign_sqlite::SqliteKeyStore;
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("countersign.db");
//! let store = SqliteKeyStore::open(path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connections;
mod error;
mod feed;
mod file;
mod migrate;
mod read;
mod store;
mod uses;
mod write;

pub use store::SqliteKeyStore;
