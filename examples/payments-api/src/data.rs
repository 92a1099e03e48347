//! The platform's own data. Every query takes the company scope: there is no way to ask without
//! saying for whom.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use countersign::{CompanyId, CompanyScope, Denial, Reason};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

/// The database of the example.
#[derive(Debug, Clone)]
pub(crate) struct Data(Arc<Mutex<Connection>>);

#[derive(Debug, Serialize)]
pub(crate) struct Bank {
    id: String,
    name: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) bank_id: String,
    pub(crate) name: String,
    pub(crate) currency: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Amount {
    pub(crate) currency: String,
    pub(crate) value: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Payment {
    pub(crate) id: String,
    pub(crate) source_account_id: String,
    pub(crate) amount: Amount,
    pub(crate) reference: String,
    pub(crate) status: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Notification {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) resource_id: String,
}

impl Data {
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    pub(crate) async fn banks(&self, scope: &CompanyScope) -> Result<Vec<Bank>, Denial> {
        let bank = |row: &Row<'_>| {
            Ok(Bank {
                id: row.get(0)?,
                name: row.get(1)?,
            })
        };
        self.list(
            scope,
            "SELECT id, name FROM banks WHERE company = ?1 ORDER BY id",
            bank,
        )
        .await
    }

    pub(crate) async fn accounts(&self, scope: &CompanyScope) -> Result<Vec<Account>, Denial> {
        let account = |row: &Row<'_>| {
            Ok(Account {
                id: row.get(0)?,
                bank_id: row.get(1)?,
                name: row.get(2)?,
                currency: row.get(3)?,
            })
        };
        let sql = "SELECT id, bank_id, name, currency FROM accounts WHERE company = ?1 ORDER BY id";
        self.list(scope, sql, account).await
    }

    pub(crate) async fn notifications(
        &self,
        scope: &CompanyScope,
    ) -> Result<Vec<Notification>, Denial> {
        let notification = |row: &Row<'_>| {
            Ok(Notification {
                id: row.get(0)?,
                kind: row.get(1)?,
                resource_id: row.get(2)?,
            })
        };
        let sql = "SELECT id, kind, resource_id FROM notifications WHERE company = ?1 ORDER BY id";
        self.list(scope, sql, notification).await
    }

    pub(crate) async fn payment(
        &self,
        scope: &CompanyScope,
        id: String,
    ) -> Result<Option<Payment>, Denial> {
        self.run(scope, move |connection, company| {
            let sql = "SELECT id, source_account_id, currency, value, reference, status
                       FROM payments WHERE company = ?1 AND id = ?2";
            let payment = |row: &Row<'_>| {
                Ok(Payment {
                    id: row.get(0)?,
                    source_account_id: row.get(1)?,
                    amount: Amount {
                        currency: row.get(2)?,
                        value: row.get(3)?,
                    },
                    reference: row.get(4)?,
                    status: row.get(5)?,
                })
            };
            connection
                .query_row(sql, params![company.as_str(), id], payment)
                .optional()
        })
        .await
    }

    /// Stores a payment and its notification; `None` when the source account is not the company's.
    pub(crate) async fn create_payment(
        &self,
        scope: &CompanyScope,
        payment: Payment,
    ) -> Result<Option<Payment>, Denial> {
        self.run(scope, move |connection, company| {
            let transaction = connection.transaction()?;
            let stored = transaction.execute(
                "INSERT INTO payments
                 SELECT ?1, company, id, ?2, ?3, ?4, ?5 FROM accounts
                 WHERE company = ?6 AND id = ?7",
                params![
                    payment.id,
                    payment.amount.currency,
                    payment.amount.value,
                    payment.reference,
                    payment.status,
                    company.as_str(),
                    payment.source_account_id,
                ],
            )?;
            if stored == 0 {
                return Ok(None);
            }
            transaction.execute(
                "INSERT INTO notifications VALUES (?1, ?2, 'payment_created', ?3)",
                params![new_id("note"), company.as_str(), payment.id],
            )?;
            transaction.commit()?;
            Ok(Some(payment))
        })
        .await
    }

    pub(crate) async fn add_webhook(
        &self,
        scope: &CompanyScope,
        id: String,
        url: String,
    ) -> Result<(), Denial> {
        self.run(scope, move |connection, company| {
            connection.execute(
                "INSERT INTO webhooks VALUES (?1, ?2, ?3)",
                params![id, company.as_str(), url],
            )
        })
        .await
        .map(drop)
    }

    /// Whether there was such a webhook of this company.
    pub(crate) async fn delete_webhook(
        &self,
        scope: &CompanyScope,
        id: String,
    ) -> Result<bool, Denial> {
        self.run(scope, move |connection, company| {
            let sql = "DELETE FROM webhooks WHERE company = ?1 AND id = ?2";
            connection.execute(sql, params![company.as_str(), id])
        })
        .await
        .map(|deleted| deleted > 0)
    }

    /// Puts a company's demo data in place; what is there already stays.
    pub(crate) fn seed(&self, company: &CompanyId, number: u32) -> rusqlite::Result<()> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let company = company.as_str();
        let (bank, account) = (format!("bank_{number}01"), format!("acct_{number}01"));
        connection.execute(
            "INSERT OR IGNORE INTO banks VALUES (?1, ?2, ?3)",
            params![bank, company, format!("Bank of {company}")],
        )?;
        connection.execute(
            "INSERT OR IGNORE INTO accounts VALUES (?1, ?2, ?3, 'Current account', 'GBP')",
            params![account, company, bank],
        )?;
        connection.execute(
            "INSERT OR IGNORE INTO payments VALUES (?1, ?2, ?3, 'GBP', '12.50', 'Rent', 'settled')",
            params![format!("pay_{number}01"), company, account],
        )?;
        connection.execute(
            "INSERT OR IGNORE INTO notifications VALUES (?1, ?2, 'payment_settled', ?3)",
            params![
                format!("note_{number}01"),
                company,
                format!("pay_{number}01")
            ],
        )?;
        connection.execute(
            "INSERT OR IGNORE INTO webhooks VALUES (?1, ?2, 'https://hooks.example.com/demo')",
            params![format!("wh_{number}01"), company],
        )?;
        Ok(())
    }

    async fn list<T: Send + 'static>(
        &self,
        scope: &CompanyScope,
        sql: &'static str,
        row: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Denial> {
        self.run(scope, move |connection, company| {
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map([company.as_str()], row)?.collect()
        })
        .await
    }

    /// The one way to the database. It takes the scope and hands the company to the query: a method
    /// that forgets either doesn't compile, or leaves a parameter that nobody uses.
    async fn run<T, F>(&self, scope: &CompanyScope, work: F) -> Result<T, Denial>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection, &CompanyId) -> rusqlite::Result<T> + Send + 'static,
    {
        let (connection, company) = (Arc::clone(&self.0), *scope.company());
        let work = move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection, &company)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                tracing::error!(%error, "the payments database failed");
                Err(Reason::HandlerFailed.into())
            }
            Err(error) => {
                tracing::error!(%error, "a database task did not end");
                Err(Reason::HandlerFailed.into())
            }
        }
    }
}

/// A new id of this kind: `pay_` and 20 random characters.
pub(crate) fn new_id(kind: &str) -> String {
    let random = std::iter::repeat_with(fastrand::alphanumeric).take(20);
    format!("{kind}_{}", random.collect::<String>())
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS banks (id TEXT PRIMARY KEY, company TEXT NOT NULL, name TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY, company TEXT NOT NULL, bank_id TEXT NOT NULL, name TEXT NOT NULL,
    currency TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS payments (
    id TEXT PRIMARY KEY, company TEXT NOT NULL, source_account_id TEXT NOT NULL,
    currency TEXT NOT NULL, value TEXT NOT NULL, reference TEXT NOT NULL, status TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS notifications (
    id TEXT PRIMARY KEY, company TEXT NOT NULL, kind TEXT NOT NULL, resource_id TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS webhooks (id TEXT PRIMARY KEY, company TEXT NOT NULL, url TEXT NOT NULL) STRICT;
";
