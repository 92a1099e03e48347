//! A transaction and whose rows it may touch.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};

use countersign_company_scope::CompanyScope;
use countersign_core::CompanyId;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Transaction};

use super::SETTING;

/// Binds a transaction to the company of a scope.
pub trait BindScope {
    /// Tells `transaction` whose rows it may touch, until it ends: `set_config(…, true)`, and a
    /// look whether it lasted. Both statements go out at once and are prepared for nobody, so this
    /// is one turn to the server and works behind a pooler in transaction mode. Binding it again
    /// to the same company does nothing.
    ///
    /// # Errors
    /// [`RlsError::NoTransaction`] when the transaction has ended, [`RlsError::BoundElsewhere`]
    /// when it, or the session, was bound to another company before, [`RlsError::Database`] when
    /// the server can't be asked. In each case the transaction should be dropped.
    fn bind<'a, 't>(
        &self,
        transaction: &'a mut Transaction<'t>,
    ) -> impl Future<Output = Result<Bound<'a, 't>, RlsError>> + Send;
}

impl BindScope for CompanyScope {
    async fn bind<'a, 't>(
        &self,
        transaction: &'a mut Transaction<'t>,
    ) -> Result<Bound<'a, 't>, RlsError> {
        let company = *self.company();
        bind(transaction, &company).await?;
        Ok(Bound {
            transaction,
            company,
        })
    }
}

/// A transaction that touches the rows of one company. Repositories take it as an argument: there
/// is no other way to get one than [`BindScope::bind`]. It is the transaction itself in all else;
/// when it is dropped, the transaction goes on as it is, bound.
pub struct Bound<'a, 't> {
    transaction: &'a mut Transaction<'t>,
    company: CompanyId,
}

impl Bound<'_, '_> {
    /// The company whose rows the transaction touches.
    #[must_use]
    pub const fn company(&self) -> &CompanyId {
        &self.company
    }
}

impl<'t> Deref for Bound<'_, 't> {
    type Target = Transaction<'t>;

    fn deref(&self) -> &Transaction<'t> {
        self.transaction
    }
}

impl DerefMut for Bound<'_, '_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.transaction
    }
}

impl fmt::Debug for Bound<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("company", &self.company)
            .finish_non_exhaustive()
    }
}

/// Why a transaction could not be bound. Nothing was made visible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RlsError {
    /// There is no transaction that the binding could last for.
    #[error("no transaction is under way: begin one and bind it before its first query")]
    NoTransaction,
    /// The transaction or its session holds another company already.
    #[error("the transaction is bound to another company: one transaction is for one company")]
    BoundElsewhere,
    /// The server could not be asked, or refused.
    #[error("the database could not bind the transaction")]
    Database(#[from] tokio_postgres::Error),
}

async fn bind(transaction: &Transaction<'_>, company: &CompanyId) -> Result<(), RlsError> {
    let company = company.as_str();
    let named: [Parameter<'_>; 2] = [(&SETTING, Type::TEXT), (&company, Type::TEXT)];
    // The second one is sent along with the first. Outside a transaction each statement is one of
    // its own, and what the first one set is gone by then.
    let set = transaction.query_typed(SET, &named);
    let look = transaction.query_typed(LOOK, &named[..1]);
    let (set, look) = tokio::try_join!(set, look)?;
    if set.is_empty() {
        return Err(RlsError::BoundElsewhere);
    }
    match look.first().map(value).transpose()?.flatten() {
        Some(bound) if bound == company => Ok(()),
        _ => Err(RlsError::NoTransaction),
    }
}

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

fn value(row: &Row) -> Result<Option<String>, tokio_postgres::Error> {
    row.try_get(0)
}

/// The empty text is what is left of the setting in a session that had it in an earlier transaction.
const SET: &str = "
    SELECT set_config($1, $2, true)
    WHERE coalesce(nullif(current_setting($1, true), ''), $2) = $2";
const LOOK: &str = "SELECT current_setting($1, true)";
