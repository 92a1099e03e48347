//! The database itself keeps companies apart: what a bound transaction sees, what it can't do, and
//! what the check finds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use countersign_company_scope::CompanyScope;
use countersign_postgres::rls::{BindScope, Problem, RlsError, RowSecurity, Table};
use support::bank::Bank;
use support::{client, sql, try_sql};
use tokio_postgres::error::SqlState;

fn scope(company: &str) -> CompanyScope {
    CompanyScope::for_tests(company.parse().unwrap())
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_query_that_forgets_the_company_sees_the_bound_companys_rows_alone() {
    let bank = Bank::open().await;
    let mut app = bank.app().await;
    for (company, expected) in [
        ("company_12", vec!["pay_12"]),
        ("company_34", vec!["pay_34"]),
        ("company_99", vec![]),
        ("company_1", vec![]),
    ] {
        let mut transaction = app.transaction().await.unwrap();
        let rows = scope(company).bind(&mut transaction).await.unwrap();
        assert_eq!(rows.company().as_str(), company);
        assert_eq!(bank.every_payment(&rows).await, expected, "{company}");
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_transaction_that_nobody_bound_sees_nothing_and_writes_nothing() {
    let bank = Bank::open().await;
    let mut app = bank.app().await;
    // On a fresh session, and on one whose last transaction was bound, as a pooler hands it out:
    // the setting is then the empty text, and there is a row whose company is that.
    for _ in 0..2 {
        let transaction = app.transaction().await.unwrap();
        assert!(bank.every_payment(&transaction).await.is_empty());
        let insert = format!("INSERT INTO {}.payments VALUES ('x', '')", bank.schema);
        let refused = transaction.batch_execute(&insert).await.unwrap_err();
        assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
        drop(transaction);
        let mut transaction = app.transaction().await.unwrap();
        let rows = scope("company_12").bind(&mut transaction).await.unwrap();
        assert_eq!(bank.every_payment(&rows).await, ["pay_12"]);
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn rows_of_another_company_are_neither_written_nor_taken_over() {
    let bank = Bank::open().await;
    let (mut app, schema) = (bank.app().await, &bank.schema);
    for attempt in [
        format!("INSERT INTO {schema}.payments VALUES ('x', 'company_34')"),
        format!("UPDATE {schema}.payments SET company = 'company_34'"),
    ] {
        let mut transaction = app.transaction().await.unwrap();
        let rows = scope("company_12").bind(&mut transaction).await.unwrap();
        let refused = rows.batch_execute(&attempt).await.unwrap_err();
        assert_eq!(
            refused.code(),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            "{attempt}"
        );
    }
    for attempt in [
        format!("UPDATE {schema}.payments SET id = 'x' WHERE company = 'company_34'"),
        format!("DELETE FROM {schema}.payments WHERE id = 'pay_34'"),
    ] {
        let mut transaction = app.transaction().await.unwrap();
        let rows = scope("company_12").bind(&mut transaction).await.unwrap();
        assert_eq!(rows.execute(&attempt, &[]).await.unwrap(), 0, "{attempt}");
        transaction.commit().await.unwrap();
    }
    let count = sql(&format!("SELECT count(*) FROM {schema}.payments")).await;
    assert_eq!(count, ["3"]);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_binding_ends_with_its_transaction_however_it_ends() {
    let bank = Bank::open().await;
    let mut app = bank.app().await;
    for commits in [true, false] {
        let mut transaction = app.transaction().await.unwrap();
        scope("company_12").bind(&mut transaction).await.unwrap();
        if commits {
            transaction.commit().await.unwrap();
        } else {
            drop(transaction);
        }
        let transaction = app.transaction().await.unwrap();
        assert!(bank.every_payment(&transaction).await.is_empty());
    }
    let mut transaction = app.transaction().await.unwrap();
    let mut rows = scope("company_12").bind(&mut transaction).await.unwrap();
    let savepoint = rows.transaction().await.unwrap();
    assert_eq!(bank.every_payment(&savepoint).await, ["pay_12"]);
    savepoint.rollback().await.unwrap();
    assert_eq!(bank.every_payment(&rows).await, ["pay_12"]);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn one_transaction_is_for_one_company() {
    let bank = Bank::open().await;
    let mut app = bank.app().await;
    let mut transaction = app.transaction().await.unwrap();
    scope("company_12").bind(&mut transaction).await.unwrap();
    scope("company_12").bind(&mut transaction).await.unwrap();
    let other = scope("company_34").bind(&mut transaction).await;
    assert!(matches!(other, Err(RlsError::BoundElsewhere)));
    assert_eq!(bank.every_payment(&transaction).await, ["pay_12"]);
    drop(transaction);
    // What a session was left with by somebody else is not taken over either.
    app.batch_execute("SET countersign.company = 'company_34'")
        .await
        .unwrap();
    let mut transaction = app.transaction().await.unwrap();
    let other = scope("company_12").bind(&mut transaction).await;
    assert!(matches!(other, Err(RlsError::BoundElsewhere)));
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn outside_a_transaction_nothing_is_bound() {
    let bank = Bank::open().await;
    let mut app = bank.app().await;
    for end in ["COMMIT", "ROLLBACK"] {
        let mut transaction = app.transaction().await.unwrap();
        transaction.batch_execute(end).await.unwrap();
        let refused = scope("company_12").bind(&mut transaction).await;
        assert!(matches!(refused, Err(RlsError::NoTransaction)), "{end}");
        assert!(bank.every_payment(&transaction).await.is_empty());
    }
    let mut transaction = app.transaction().await.unwrap();
    transaction.batch_execute("SELECT 1 / 0").await.unwrap_err();
    let refused = scope("company_12").bind(&mut transaction).await;
    assert!(matches!(refused, Err(RlsError::Database(_))));
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn the_owner_is_held_by_the_policies_too() {
    let bank = Bank::open().await;
    let schema = &bank.schema;
    sql(&format!("ALTER ROLE {schema}_owner LOGIN")).await;
    let mut owner = bank.role("owner").await;
    let transaction = owner.transaction().await.unwrap();
    assert!(bank.every_payment(&transaction).await.is_empty());
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_later_policy_of_somebody_else_shows_nothing_more() {
    let bank = Bank::open().await;
    let schema = &bank.schema;
    sql(&format!(
        "CREATE POLICY everybody ON {schema}.payments USING (true)"
    ))
    .await;
    let mut app = bank.app().await;
    let mut transaction = app.transaction().await.unwrap();
    assert!(bank.every_payment(&transaction).await.is_empty());
    let rows = scope("company_12").bind(&mut transaction).await.unwrap();
    assert_eq!(bank.every_payment(&rows).await, ["pay_12"]);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn the_check_finds_nothing_where_all_is_well() {
    let bank = Bank::open().await;
    assert_eq!(bank.problems(&mut bank.app().await).await, []);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn the_check_passes_over_defaults_that_the_services_sessions_never_begin_with() {
    let bank = Bank::open().await;
    let s = &bank.schema;
    sql(&format!(
        "CREATE ROLE {s}_other; GRANT {s}_other TO {s}_app;
         ALTER ROLE {s}_other SET countersign.company = 'company_12';
         ALTER ROLE {s}_app IN DATABASE template1 SET countersign.company = 'company_12'"
    ))
    .await;
    assert_eq!(bank.problems(&mut bank.app().await).await, []);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn the_check_finds_a_table_that_nobody_guarded() {
    let bank = Bank::unguarded().await;
    let found = bank.problems(&mut bank.app().await).await;
    let payments = format!("\"{}\".\"payments\"", bank.schema);
    for problem in [
        Problem::NotEnabled(payments.clone()),
        Problem::NotForced(payments.clone()),
        Problem::BadPolicy(payments.clone()),
        Problem::VisibleUnbound(payments),
    ] {
        assert!(found.contains(&problem), "{problem} in {found:?}");
    }
}

/// Each way around the policies, in a schema of its own.
#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn the_check_finds_each_way_around_the_policies() {
    let bank = Bank::open().await;
    let (s, payments) = (&bank.schema, format!("\"{}\".\"payments\"", bank.schema));
    let policy = |kind, using| {
        format!(
            "DROP POLICY {kind} ON {s}.payments;
             CREATE POLICY {kind} ON {s}.payments AS {} {using}",
            if kind == "countersign_company" {
                "PERMISSIVE"
            } else {
                "RESTRICTIVE"
            }
        )
    };
    let app = format!("{s}_app");
    let cases = [
        (
            format!("ALTER ROLE {app} BYPASSRLS"),
            Problem::BypassesRls(app.clone()),
        ),
        (
            format!("ALTER ROLE {app} SUPERUSER"),
            Problem::Superuser(app.clone()),
        ),
        (
            format!("CREATE ROLE {s}_power BYPASSRLS; GRANT {s}_power TO {app}"),
            Problem::BypassesRls(format!("{s}_power")),
        ),
        (
            format!("ALTER ROLE {app} SET countersign.company = 'company_12'"),
            Problem::BoundFromTheStart,
        ),
        (
            format!("GRANT {s}_owner TO {app}"),
            Problem::Owner(payments.clone()),
        ),
        (
            format!("GRANT TRUNCATE ON {s}.payments TO {app}"),
            Problem::MayTruncate(payments.clone()),
        ),
        (
            format!("ALTER TABLE {s}.payments DISABLE ROW LEVEL SECURITY"),
            Problem::NotEnabled(payments.clone()),
        ),
        (
            format!("ALTER TABLE {s}.payments NO FORCE ROW LEVEL SECURITY"),
            Problem::NotForced(payments.clone()),
        ),
        (
            format!("DROP POLICY countersign_company_only ON {s}.payments"),
            Problem::BadPolicy(payments.clone()),
        ),
        (
            policy("countersign_company_only", "USING (true)"),
            Problem::BadPolicy(payments.clone()),
        ),
        (
            policy("countersign_company", "FOR SELECT USING (true)"),
            Problem::BadPolicy(payments.clone()),
        ),
        (
            format!("CREATE VIEW {s}.all_payments AS SELECT * FROM {s}.payments;
                     GRANT SELECT ON {s}.all_payments TO {app}"),
            Problem::OpenView(format!("{s}.all_payments")),
        ),
        (
            format!("CREATE MATERIALIZED VIEW {s}.kept AS SELECT * FROM {s}.payments;
                     GRANT SELECT ON {s}.kept TO {app}"),
            Problem::OpenView(format!("{s}.kept")),
        ),
        (
            format!("CREATE TABLE {s}.part () INHERITS ({s}.payments);
                     GRANT SELECT ON {s}.part TO {app}"),
            Problem::OpenPartition(format!("{s}.part")),
        ),
        (
            format!("CREATE VIEW {s}.names AS SELECT * FROM {s}.payments;
                     GRANT SELECT (id) ON {s}.names TO {app}"),
            Problem::OpenView(format!("{s}.names")),
        ),
        (
            format!("CREATE TABLE {s}.half () INHERITS ({s}.payments);
                     GRANT SELECT (id, company) ON {s}.half TO {app}"),
            Problem::OpenPartition(format!("{s}.half")),
        ),
        (
            format!("CREATE TABLE {s}.half () INHERITS ({s}.payments);
                     GRANT UPDATE (company) ON {s}.half TO {app}"),
            Problem::OpenPartition(format!("{s}.half")),
        ),
        (
            format!("ALTER TABLE {s}.payments DISABLE ROW LEVEL SECURITY;
                     REVOKE ALL ON {s}.payments FROM {app}; GRANT SELECT (id) ON {s}.payments TO {app}"),
            Problem::VisibleUnbound(payments.clone()),
        ),
        (
            format!("ALTER ROLE {app} IN DATABASE postgres SET countersign.company = 'company_12'"),
            Problem::BoundFromTheStart,
        ),
        (
            format!("CREATE COLLATION {s}.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                     DROP POLICY countersign_company ON {s}.payments; DROP POLICY countersign_company_only ON {s}.payments;
                     ALTER TABLE {s}.payments ALTER company TYPE text COLLATE {s}.loose"),
            Problem::BadColumn(payments.clone()),
        ),
        (
            format!("ALTER TABLE {s}.payments RENAME TO elsewhere"),
            Problem::NoTable(payments.clone()),
        ),
    ];
    for (breaks, problem) in cases {
        let bank = Bank::open().await;
        let own = |text: &str| text.replace(s.as_str(), &bank.schema);
        sql(&own(&breaks)).await;
        let found = bank.problems(&mut bank.app().await).await;
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        let expected = own(&problem.to_string());
        assert!(shown.contains(&expected), "{breaks}: {shown:?}");
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_service_that_runs_as_superuser_is_told_so() {
    let bank = Bank::open().await;
    let found = bank.problems(&mut client().await).await;
    assert!(found.contains(&Problem::Superuser("postgres".to_owned())));
    // A superuser that took another role on can take it off again.
    let mut client = client().await;
    let schema = &bank.schema;
    client
        .batch_execute(&format!("SET ROLE {schema}_app"))
        .await
        .unwrap();
    let found = bank.problems(&mut client).await;
    assert_eq!(found, [Problem::Superuser("postgres".to_owned())]);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_migration_of_a_table_that_is_not_there_leaves_nothing() {
    let bank = Bank::unguarded().await;
    let tables = [
        Table::new("payments").schema(&bank.schema),
        Table::new("nowhere").schema(&bank.schema),
    ];
    let security = RowSecurity::new(tables).unwrap();
    let refused = try_sql(&format!("BEGIN; {} COMMIT", security.migration())).await;
    assert!(refused.unwrap_err().contains("nowhere"));
    let forced = format!(
        "SELECT relforcerowsecurity FROM pg_class WHERE oid = '{}.payments'::regclass",
        bank.schema
    );
    assert_eq!(sql(&forced).await, ["f"]);
}
