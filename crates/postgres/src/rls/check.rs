//! Whether all of it is in force, seen with the eyes of the role that the service runs as.

use std::fmt;

use countersign_core::StoreError;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use super::SETTING;
use super::migration::{RowSecurity, Table};
use crate::error::{corrupt, store_error};

/// A way around row-level security, or a part of it that is not in place. It prints as one line
/// that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The role is a superuser, or can become this one: policies don't hold for it.
    Superuser(String),
    /// The role has `BYPASSRLS`, or can become this one that has it.
    BypassesRls(String),
    /// Something binds sessions before anybody asked: a default of the role, of the database or of
    /// the server.
    BoundFromTheStart,
    /// There is no such table.
    NoTable(String),
    /// The table has no column of this name for the company, or it is no text, or its collation
    /// takes different texts for equal.
    BadColumn(String),
    /// Row-level security is not enabled for the table.
    NotEnabled(String),
    /// Row-level security is not forced on the table's owner.
    NotForced(String),
    /// A policy of the table is missing or is not what the migration wrote.
    BadPolicy(String),
    /// The role owns the table, or can become its owner: it could take the policies away.
    Owner(String),
    /// The role may truncate the table, which no policy hinders.
    MayTruncate(String),
    /// The role may reach this partition of a table directly, or columns of it, past the policies.
    OpenPartition(String),
    /// The role may read this view, or columns of it, which shows a table with the rights of somebody whom policies
    /// don't hold, or this materialised view, which no policy guards.
    OpenView(String),
    /// A transaction that was not bound sees rows of the table.
    VisibleUnbound(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superuser(role) => {
                write!(f, "{role} is a superuser: run the service as another role")
            }
            Self::BypassesRls(role) => write!(f, "{role} has BYPASSRLS: ALTER ROLE … NOBYPASSRLS"),
            Self::BoundFromTheStart => write!(f, "{SETTING} has a default: reset it"),
            Self::NoTable(table) => write!(f, "{table} does not exist"),
            Self::BadColumn(table) => write!(
                f,
                "{table}: the company's column must be text or varchar, with a deterministic collation"
            ),
            Self::NotEnabled(table) => write!(f, "{table}: ENABLE ROW LEVEL SECURITY"),
            Self::NotForced(table) => write!(f, "{table}: FORCE ROW LEVEL SECURITY"),
            Self::BadPolicy(table) => write!(f, "{table}: run the migration of its policies"),
            Self::Owner(table) => write!(f, "{table} is the role's own: let another role own it"),
            Self::MayTruncate(table) => write!(f, "{table}: REVOKE TRUNCATE"),
            Self::OpenPartition(table) => {
                write!(
                    f,
                    "{table}: guard the partition too, or revoke its privileges"
                )
            }
            Self::OpenView(view) => {
                write!(
                    f,
                    "{view}: give it security_invoker, or revoke its privileges"
                )
            }
            Self::VisibleUnbound(table) => {
                write!(f, "{table} shows rows to a transaction that was not bound")
            }
        }
    }
}

impl RowSecurity {
    /// Looks for ways around the policies, in a transaction of the role that the service runs as;
    /// nothing is changed but the transaction's binding, which is taken away. A service calls it
    /// when it starts, and refuses to if anything is found.
    ///
    /// Not found are functions that run with the rights of somebody else (`SECURITY DEFINER`), and
    /// views of views.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub async fn check(&self, transaction: &Transaction<'_>) -> Result<Vec<Problem>, StoreError> {
        let mut problems = roles(transaction).await?;
        if is_preset(transaction).await? {
            problems.push(Problem::BoundFromTheStart);
        }
        for table in &self.tables {
            check_table(transaction, table, &mut problems).await?;
        }
        Ok(problems)
    }
}

async fn roles(transaction: &Transaction<'_>) -> Result<Vec<Problem>, StoreError> {
    let mut problems = Vec::new();
    for row in rows(transaction, ROLES, &[]).await? {
        let role: String = get(&row, 0)?;
        if get(&row, 1)? {
            problems.push(Problem::Superuser(role));
        } else {
            problems.push(Problem::BypassesRls(role));
        }
    }
    Ok(problems)
}

/// Whether a session begins with a company; afterwards the transaction has none.
async fn is_preset(transaction: &Transaction<'_>) -> Result<bool, StoreError> {
    let row = rows(transaction, PRESET, &[SETTING]).await?.pop();
    let preset = row.as_ref().map(|row| get(row, 0)).transpose()?;
    rows(transaction, "SELECT set_config($1, '', true)", &[SETTING]).await?;
    Ok(preset.unwrap_or(true))
}

async fn check_table(
    transaction: &Transaction<'_>,
    table: &Table,
    problems: &mut Vec<Problem>,
) -> Result<(), StoreError> {
    let name = table.quoted();
    let found = rows(transaction, TABLE, &[&name, table.column_name()]).await?;
    let Some(row) = found.first() else {
        problems.push(Problem::NoTable(name));
        return Ok(());
    };
    let columns: [fn(String) -> Problem; 6] = [
        Problem::BadColumn,
        Problem::NotEnabled,
        Problem::NotForced,
        Problem::Owner,
        Problem::MayTruncate,
        Problem::BadPolicy,
    ];
    for (at, problem) in columns.into_iter().enumerate() {
        if get(row, at)? {
            problems.push(problem(name.clone()));
        }
    }
    for row in rows(transaction, PARTITIONS, &[&name]).await? {
        problems.push(Problem::OpenPartition(get(&row, 0)?));
    }
    for row in rows(transaction, VIEWS, &[&name]).await? {
        problems.push(Problem::OpenView(get(&row, 0)?));
    }
    let may_read: bool = get(row, 6)?;
    let look = format!("SELECT FROM {name} LIMIT 1");
    if may_read && !rows(transaction, &look, &[]).await?.is_empty() {
        problems.push(Problem::VisibleUnbound(name));
    }
    Ok(())
}

async fn rows(
    transaction: &Transaction<'_>,
    sql: &str,
    texts: &[&str],
) -> Result<Vec<Row>, StoreError> {
    let parameters: Vec<_> = texts
        .iter()
        .map(|text| {
            (
                text as &(dyn tokio_postgres::types::ToSql + Sync),
                Type::TEXT,
            )
        })
        .collect();
    let rows = transaction.query_typed(sql, &parameters).await;
    rows.map_err(store_error)
}

fn get<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r Row,
    at: usize,
) -> Result<T, StoreError> {
    row.try_get(at).map_err(corrupt)
}

/// A superuser is a member of every role: then itself is enough to name.
const ROLES: &str = "
    SELECT r.rolname::text, r.rolsuper FROM pg_catalog.pg_roles r
    JOIN pg_catalog.pg_roles own ON own.rolname = current_user
    WHERE (r.rolsuper OR r.rolbypassrls)
      AND (r.rolname IN (current_user, session_user)
           OR (NOT own.rolsuper AND pg_catalog.pg_has_role(own.oid, r.oid, 'MEMBER')))
    ORDER BY r.rolname";

/// Of the defaults those that a session of this role begins with in this database: `SET ROLE` brings
/// along none of the other role's.
const PRESET: &str = "
    SELECT coalesce(pg_catalog.current_setting($1, true), '') <> '' OR EXISTS (
        SELECT FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) setting
        WHERE starts_with(lower(setting), $1 || '=')
          AND (s.setrole = 0 OR s.setrole IN (
              SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname IN (current_user, session_user)))
          AND (s.setdatabase = 0 OR s.setdatabase = (
              SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())))";

/// One column for each problem, in the order in which they are read, and whether the table may be
/// read. The policies are compared with what the server makes of the migration's text.
const TABLE: &str = r#"
    WITH guarded AS (
        SELECT c.*, a.attname, t.typname, l.collisdeterministic FROM pg_catalog.pg_class c
        LEFT JOIN pg_catalog.pg_attribute a
            ON a.attrelid = c.oid AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
        WHERE c.oid = to_regclass($1)),
    policies AS (
        SELECT p.polname::text, p.polpermissive, pg_get_expr(p.polqual, p.polrelid) AS sees,
               pg_get_expr(p.polwithcheck, p.polrelid) AS writes
        FROM pg_catalog.pg_policy p
        WHERE p.polrelid = to_regclass($1) AND p.polcmd = '*' AND p.polroles = '{0}'),
    expected (condition) AS (
        SELECT format(form || ' = ( SELECT NULLIF(current_setting(%L::text, true), %L::text) AS "nullif"))',
                      $2, 'countersign.company', '')
        FROM (VALUES ('(%I'), ('((%I)::text')) AS forms (form))
    SELECT coalesce(typname NOT IN ('text', 'varchar') OR NOT collisdeterministic, true),
           NOT relrowsecurity,
           NOT relforcerowsecurity,
           pg_has_role(relowner, 'MEMBER'),
           has_table_privilege(oid, 'TRUNCATE'),
           2 > (SELECT count(*) FROM policies
                WHERE (polname, polpermissive) IN
                      (('countersign_company', true), ('countersign_company_only', false))
                  AND sees IN (SELECT condition FROM expected)
                  AND writes IN (SELECT condition FROM expected)),
           has_any_column_privilege(oid, 'SELECT')
    FROM guarded"#;

// A privilege on a single column is no privilege on its table, and shows rows as well.

const PARTITIONS: &str = "
    WITH RECURSIVE below AS (
        SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = to_regclass($1)
        UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN below b ON i.inhparent = b.inhrelid)
    SELECT c.oid::regclass::text FROM below JOIN pg_catalog.pg_class c ON c.oid = below.inhrelid
    WHERE NOT (c.relrowsecurity AND c.relforcerowsecurity)
      AND (has_table_privilege(c.oid, 'DELETE, TRUNCATE')
           OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE'))
    ORDER BY 1";

const VIEWS: &str = "
    SELECT DISTINCT v.oid::regclass::text FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
    JOIN pg_catalog.pg_class v ON v.oid = w.ev_class
    JOIN pg_catalog.pg_roles o ON o.oid = v.relowner
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass($1)
      AND (has_table_privilege(v.oid, 'DELETE')
           OR has_any_column_privilege(v.oid, 'SELECT, INSERT, UPDATE'))
      AND (v.relkind = 'm' OR (v.relkind = 'v' AND (o.rolsuper OR o.rolbypassrls) AND NOT coalesce(
          v.reloptions && '{security_invoker=true,security_invoker=on,security_invoker=1}', false)))
    ORDER BY 1";
