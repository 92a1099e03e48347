//! A key store of your own: keys beside the tables that a platform already has.
//!
//! Read in this order, ten minutes in all:
//!
//! 1. `src/schema.sql`: a `partners` table that was there before, and what is added to it,
//! 2. `src/store.rs`: the store, [`PartnerKeyStore`], a verb at a time,
//! 3. `tests/conformance.rs`: the suite that says whether it is right,
//! 4. `src/main.rs`: a service that uses it.
//!
//! The database is SQLite because it needs no server; nothing in the store's shape depends on it.
//! With another one, keep these four things and change the rest:
//!
//! - a change is **one transaction**: its writes, and the rows that tell the audit log of them,
//! - an insert fails by a **unique constraint**, not by a look before it,
//! - an update says **which version it replaces**, in its `WHERE`,
//! - a key and its owner's standing are read by **one statement**.
//!
//! What it does not do: it belongs to one process. It has no change feed, so a change made in
//! another process would be felt only after the staleness bound; and it hands the outbox to whoever
//! asks, so two processes would tell every event twice. Rather than hope, it locks its file.

mod store;

pub use store::PartnerKeyStore;
