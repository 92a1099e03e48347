//! The tables, and the policies for them.

use std::fmt::Write;

use countersign_core::{ConfigError, StoreError};
use tokio_postgres::Transaction;

use super::SETTING;
use crate::error::store_error;

/// A table whose rows belong to companies.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Table {
    schema: String,
    name: String,
    column: String,
}

impl Table {
    /// The table `name` in the schema `public`, whose column `company` says whose a row is: a
    /// `text` or `varchar` that holds company identifiers.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            schema: "public".to_owned(),
            name: name.into(),
            column: "company".to_owned(),
        }
    }

    /// The table is in this schema.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// This column says whose a row is.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = column.into();
        self
    }

    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }

    pub(super) fn column_name(&self) -> &str {
        &self.column
    }

    fn names(&self) -> [&str; 3] {
        [&self.schema, &self.name, &self.column]
    }
}

/// The tables that row-level security guards: writes their policies, and checks that they are in
/// force.
///
/// ```
/// use countersign_postgres::rls::{RowSecurity, Table};
///
/// let security = RowSecurity::new([
///     Table::new("payments").schema("bank"),
///     Table::new("Odd \"name\"").column("owner"),
/// ])?;
/// let sql = security.migration();
/// assert!(sql.contains(r#"ALTER TABLE "bank"."payments" FORCE ROW LEVEL SECURITY"#));
/// assert!(sql.contains(r#""public"."Odd ""name""""#));
/// # Ok::<(), countersign_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RowSecurity {
    pub(super) tables: Vec<Table>,
}

impl RowSecurity {
    /// Guards `tables`.
    ///
    /// # Errors
    /// When there is none, when one is named twice, or when a name is empty, holds a NUL or is
    /// longer than the 63 bytes that PostgreSQL keeps of it.
    pub fn new(tables: impl IntoIterator<Item = Table>) -> Result<Self, ConfigError> {
        let tables: Vec<Table> = tables.into_iter().collect();
        let refuse = |subject: String, problem: &str| Err(ConfigError::new(subject, problem));
        if tables.is_empty() {
            return refuse("row-level security".to_owned(), "name one table at least");
        }
        for (at, table) in tables.iter().enumerate() {
            let good = |name: &&str| (1..=63).contains(&name.len()) && !name.contains('\0');
            if !table.names().iter().all(good) {
                return refuse(table.quoted(), "names are 1 to 63 bytes without NUL");
            }
            let same = |other: &Table| other.quoted() == table.quoted();
            if tables[..at].iter().any(same) {
                return refuse(table.quoted(), "it is named twice");
            }
        }
        Ok(Self { tables })
    }

    /// The statements that put the policies in place, to be run in one transaction by the tables'
    /// owner. They can be run again. Per table: row-level security is enabled and forced on the
    /// owner too, and two policies hold the same condition. The permissive one shows a company its
    /// rows; the restrictive one keeps any other permissive policy from showing more.
    #[must_use]
    pub fn migration(&self) -> String {
        let mut sql = String::new();
        for table in &self.tables {
            let (name, column) = (table.quoted(), quote(&table.column));
            let condition =
                format!("({column} = (SELECT nullif(current_setting('{SETTING}', true), '')))");
            // Writing to a `String` never fails.
            let _ = writeln!(
                sql,
                "ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;\n\
                 ALTER TABLE {name} FORCE ROW LEVEL SECURITY;"
            );
            for (policy, kind) in POLICIES {
                let _ = writeln!(
                    sql,
                    "DROP POLICY IF EXISTS {policy} ON {name};\n\
                     CREATE POLICY {policy} ON {name} AS {kind} FOR ALL TO PUBLIC\n    \
                     USING {condition}\n    WITH CHECK {condition};"
                );
            }
        }
        sql
    }

    /// Runs [`RowSecurity::migration`] in `transaction`.
    ///
    /// # Errors
    /// When a table or its column is not there, or is not the role's own. PostgreSQL then refuses
    /// the transaction's later statements too: roll it back.
    pub async fn apply(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let done = transaction.batch_execute(&self.migration()).await;
        done.map_err(store_error)
    }
}

/// A name as PostgreSQL reads it, whatever is in it.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The check looks for these names.
const POLICIES: [(&str, &str); 2] = [
    ("countersign_company", "PERMISSIVE"),
    ("countersign_company_only", "RESTRICTIVE"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_whatever_is_in_them() {
        let odd = Table::new("a\"; DROP TABLE b; --")
            .schema("s.t")
            .column("c\"");
        let sql = RowSecurity::new([odd]).unwrap().migration();
        assert!(sql.contains(r#""s.t"."a""; DROP TABLE b; --""#), "{sql}");
        assert!(sql.contains(r#"("c""" = (SELECT"#), "{sql}");
    }

    #[test]
    fn names_that_postgresql_would_cut_or_misread_are_mistakes() {
        let long = "x".repeat(64);
        for bad in ["", "a\0b", &long] {
            assert!(RowSecurity::new([Table::new(bad)]).is_err(), "{bad:?}");
            assert!(RowSecurity::new([Table::new("t").schema(bad)]).is_err());
            assert!(RowSecurity::new([Table::new("t").column(bad)]).is_err());
        }
        assert!(RowSecurity::new([]).is_err());
        assert!(RowSecurity::new([Table::new("t"), Table::new("t")]).is_err());
        let elsewhere = Table::new("t").schema("s");
        assert!(RowSecurity::new([Table::new("t"), elsewhere]).is_ok());
    }
}
