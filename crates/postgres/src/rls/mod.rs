//! Row-level security: the database itself shows a transaction the rows of one company and no
//! others, also to a query that forgot the company.
//!
//! 1. [`RowSecurity`] names the tables and writes the policies, as SQL for a migration.
//! 2. [`BindScope::bind`] tells a transaction whose rows it may touch. It lasts until the
//!    transaction ends and no longer, so it works behind a pooler in transaction mode.
//! 3. [`RowSecurity::check`] looks, at start and as the role that the service runs as, whether all
//!    of that is in force: no superuser, no `BYPASSRLS`, no way to become one, policies forced and
//!    whole, and nothing visible to a transaction that was not bound.
//!
//! | what goes wrong | what happens |
//! |---|---|
//! | nobody bound the transaction | it sees no row and writes none |
//! | it is bound to another company already | [`RlsError::BoundElsewhere`], and nothing changes |
//! | it has ended, or there never was one | [`RlsError::NoTransaction`] |
//! | a row of another company is written | PostgreSQL refuses it, SQLSTATE 42501 |
//!
//! ```no_run
//! use countersign_company_scope::CompanyScope;
//! use countersign_postgres::rls::{BindScope, Bound, RlsError};
//! use tokio_postgres::Client;
//!
//! // A repository that takes the bound transaction can't be asked without a company.
//! async fn payments(rows: &Bound<'_, '_>) -> Result<usize, tokio_postgres::Error> {
//!     Ok(rows.query("SELECT id FROM bank.payments", &[]).await?.len())
//! }
//!
//! # async fn f(client: &mut Client, scope: &CompanyScope) -> Result<(), RlsError> {
//! let mut tx = client.transaction().await?;
//! let rows = scope.bind(&mut tx).await?;
//! payments(&rows).await?;
//! tx.commit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! It is a second lock and not the first: whoever can make the service run SQL of their own can
//! bind the transaction to another company as the service does. And it guards rows, not what a
//! query tells by other ways: foreign keys and unique indexes are checked over all rows.

mod bind;
mod check;
mod migration;

pub use bind::{BindScope, Bound, RlsError};
pub use check::Problem;
pub use migration::{RowSecurity, Table};

/// The setting that holds the company of a transaction.
pub const SETTING: &str = "countersign.company";
