//! The server: who may do what, what is refused, what survives a lost connection.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Clock, Environment, ScopeSet, StoreError, StoreErrorKind, SystemClock};
use countersign_key_verify::{
    Actor, CompanyStatus, IssueRequest, IssuedKey, KeyManager, KeyStore, KeyUse, ManageError,
    RevocationReason,
};
use countersign_postgres::{PostgresKeyStore, PostgresOptions};
use support::proxy::Proxy;
use support::{address, options, sql, unique};

async fn connect(options: PostgresOptions) -> PostgresKeyStore {
    PostgresKeyStore::connect(options).await.unwrap()
}

fn manager(store: &PostgresKeyStore) -> KeyManager {
    KeyManager::builder(store.clone()).build().unwrap()
}

fn ada() -> Actor {
    Actor::operator("ada").unwrap()
}

async fn issue(store: &PostgresKeyStore) -> Result<IssuedKey, ManageError> {
    let company = "company_12".parse().unwrap();
    match manager(store).create_company(&ada(), company).await {
        Ok(_) | Err(ManageError::AlreadyExists) => {}
        Err(error) => return Err(error),
    }
    let expiry = SystemClock
        .now()
        .wall
        .saturating_add(Duration::from_secs(3600));
    let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
    let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
    let request = request.label("Überweisung \u{1f4b8} '; DROP TABLE keys; --");
    manager(store)
        .issue(&ada(), request.activate_now(true))
        .await
}

/// Everything that an operator or a log could be shown of an error.
fn shown(error: &StoreError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(&format!(" {cause} {cause:?}"));
        next = cause.source();
    }
    text
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_at_once_and_without_the_password() {
    let options: PostgresOptions = "postgres://u:hunter2@127.0.0.1:1/k".parse().unwrap();
    let error = PostgresKeyStore::connect(options).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(shown(&error).contains("refused"), "{}", shown(&error));
    assert!(!shown(&error).contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_does_not_hold_anybody() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let address = format!("postgres://u@127.0.0.1:{port}/k?connect_timeout=1");
    let options: PostgresOptions = address.parse().unwrap();
    let options = options.statement_timeout(Duration::from_secs(1));
    let error = PostgresKeyStore::connect(options).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_refused_user_is_told_why_and_without_the_password() {
    let address = address().replace("postgres@", "nobody_here:hunter2@");
    let options: PostgresOptions = address.parse().unwrap();
    let error = PostgresKeyStore::connect(options).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(shown(&error).contains("nobody_here"), "{}", shown(&error));
    assert!(!shown(&error).contains("hunter2"));
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn tls_is_not_given_up_where_it_is_demanded() {
    let options: PostgresOptions = format!("{}?sslmode=require", address()).parse().unwrap();
    let error = PostgresKeyStore::connect(options).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(shown(&error).contains("TLS"), "{}", shown(&error));
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn tls_is_verified_against_the_authority_that_is_named() {
    let Ok(authority) = std::env::var("COUNTERSIGN_TEST_POSTGRES_CA") else {
        eprintln!("skipped: this server's authority is not known");
        return;
    };
    let name = unique();
    let here = format!("{}?application_name={name}&sslmode=verify-full", address());
    let options = |text: String| {
        let options: PostgresOptions = text.parse().unwrap();
        options.schema(&unique()).unwrap()
    };
    let by_name = here.replace("127.0.0.1", "localhost");
    let trusting = format!("{by_name}&sslrootcert={authority}");
    let store = connect(options(trusting)).await;
    let _feed = store.change_feed().unwrap().open().await.unwrap();
    let encrypted = format!(
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE application_name = '{name}'"
    );
    let encrypted = sql(&encrypted).await;
    assert!(encrypted.len() >= 3 && encrypted.iter().all(|ssl| ssl == "t"));

    for (refused, why) in [
        (by_name, "an authority that nobody named"),
        (format!("{here}&sslrootcert={authority}"), "another name"),
        (format!("{here}&sslrootcert=/nowhere"), "no such file"),
    ] {
        let error = PostgresKeyStore::connect(options(refused)).await;
        let error = error.expect_err(why);
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{why}");
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_newer_schema_is_refused_and_left_alone() {
    let schema = unique();
    let options = options().schema(&schema).unwrap();
    drop(connect(options.clone()).await);
    sql(&format!("UPDATE {schema}.schema_version SET version = 99")).await;
    let error = PostgresKeyStore::connect(options).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::UnsupportedVersion);
    let version = sql(&format!("SELECT version FROM {schema}.schema_version")).await;
    assert_eq!(version, ["99"]);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn an_older_schema_is_brought_up_with_its_keys() {
    let schema = unique();
    let options = options().schema(&schema).unwrap();
    let issued = issue(&connect(options.clone()).await).await.unwrap();
    for back in [
        format!("DROP INDEX {schema}.keys_by_end"),
        format!("DROP TABLE {schema}.key_uses, {schema}.key_scopes"),
        format!("UPDATE {schema}.schema_version SET version = 1"),
    ] {
        sql(&back).await;
    }
    let again = connect(options).await;
    let found = again.find(issued.key.prefix()).await.unwrap().unwrap();
    assert_eq!(found.record, issued.record);
    let uses = again.uses().unwrap().last_uses(&[issued.record.id]).await;
    assert_eq!(uses.unwrap(), []);
    let end = issued.record.expires_at;
    assert_eq!(again.due_keys(end, 10).await.unwrap(), [issued.record]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn many_that_start_at_once_migrate_once() {
    let options = options();
    let starting: Vec<_> = (0..8)
        .map(|_| tokio::spawn(connect(options.clone())))
        .collect();
    for store in starting {
        issue(&store.await.unwrap()).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn an_old_schema_is_refused_by_who_may_not_migrate() {
    let error = PostgresKeyStore::connect(options().migrate(false)).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(shown(&error).contains("migration"), "{}", shown(&error));
}

/// The roles of `docs/postgres.md`, made by the statements that stand there.
#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn each_role_may_do_what_it_is_for_and_no_more() {
    let schema = unique();
    let guide = include_str!("../../../docs/postgres.md");
    let mut blocks = guide.split("```sql\n").skip(1).map(|block| {
        let block = block.split("```").next().unwrap();
        block.replace("countersign", &schema)
    });
    let role = |name: &str| {
        let address = address().replace("postgres@", &format!("{schema}_{name}@"));
        let options: PostgresOptions = address.parse().unwrap();
        options.schema(&schema).unwrap()
    };
    sql(&blocks.next().unwrap()).await;
    let owner = connect(role("owner")).await;
    sql(&blocks.next().unwrap()).await;

    let writer = connect(role("writer")).await;
    let issued = issue(&writer).await.unwrap();
    let id = issued.record.id;
    manager(&writer)
        .revoke(
            &ada(),
            &issued.record.company,
            id,
            RevocationReason::CompanyRequest,
        )
        .await
        .unwrap();
    let events = writer.pending_events(100).await.unwrap();
    assert!(writer.claim_events().await.unwrap().is_some());
    writer.acknowledge_events(&events).await.unwrap();
    assert!(writer.pending_events(100).await.unwrap().is_empty());

    let reader = connect(role("reader")).await;
    let found = reader.find(&issued.record.prefix).await.unwrap().unwrap();
    assert_eq!(found.company, CompanyStatus::Active);
    assert_eq!(
        reader
            .list(&found.record.company, None, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    let mut feed = reader.change_feed().unwrap().open().await.unwrap();
    feed.read(None).await.unwrap();
    issue(&writer).await.unwrap();
    feed.wait().await.unwrap();
    let used = KeyUse {
        key: issued.record.id,
        at: issued.record.created_at,
        route: None,
        count: 1,
        scopes: issued.record.scopes.clone(),
    };
    let uses = reader.uses().unwrap();
    uses.record_uses(std::slice::from_ref(&used)).await.unwrap();
    let known = writer.uses().unwrap().last_uses(&[used.key]).await;
    assert_eq!(
        known.unwrap(),
        [used],
        "services that only verify keys tell of uses"
    );
    let refused = issue(&reader).await.unwrap_err();
    let ManageError::Store(refused) = refused else {
        panic!("a reader may not write: {refused}");
    };
    assert!(shown(&refused).contains("permission denied"));
    drop(owner);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn evidence_stays_whoever_asks() {
    let schema = unique();
    let store = connect(options().schema(&schema).unwrap()).await;
    let issued = issue(&store).await.unwrap();
    for attempt in [
        "DELETE FROM {}.keys",
        "TRUNCATE {}.keys CASCADE",
        "DELETE FROM {}.companies",
        "UPDATE {}.keys SET company = 'company_34'",
        "UPDATE {}.keys SET prefix = 'acme_live_000000000000'",
        "UPDATE {}.companies SET id = 'company_34'",
    ] {
        let refused = support::try_sql(&attempt.replace("{}", &schema)).await;
        let refused = refused.expect_err(attempt);
        assert!(refused.contains("never"), "{attempt}: {refused}");
    }
    assert_eq!(
        store.get(issued.record.id).await.unwrap(),
        Some(issued.record)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn lost_connections_come_back_and_are_no_more_than_before() {
    let name = unique();
    let options: PostgresOptions = format!("{}?application_name={name}", address())
        .parse()
        .unwrap();
    let store = connect(options.schema(&unique()).unwrap()).await;
    let issued = issue(&store).await.unwrap();
    for _ in 0..3 {
        let cut = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = '{name}'"
        );
        sql(&cut).await;
        let prefix = &issued.record.prefix;
        support::soon("look-ups work again", async || {
            store.find(prefix).await.is_ok()
        })
        .await;
        support::soon("changes work again", async || issue(&store).await.is_ok()).await;
        let count =
            format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'");
        let count: u32 = sql(&count).await[0].parse().unwrap();
        assert!(count <= 4, "{count} connections");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn whoever_waits_behind_a_stuck_transaction_is_told_in_time() {
    let schema = unique();
    let options = options().schema(&schema).unwrap();
    let store = connect(options.statement_timeout(Duration::from_secs(1))).await;
    issue(&store).await.unwrap();
    let stuck = support::client().await;
    stuck
        .batch_execute(&format!(
            "BEGIN; UPDATE {schema}.feed SET position = position"
        ))
        .await
        .unwrap();
    let refused = issue(&store).await.unwrap_err();
    assert!(matches!(refused, ManageError::Store(_)), "{refused}");
    stuck.batch_execute("ROLLBACK").await.unwrap();
    issue(&store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn callers_who_leave_half_way_leave_nothing_behind() {
    let store = Arc::new(connect(options()).await);
    let company = issue(&store).await.unwrap().record.company;
    for n in 0..200_u32 {
        let (store, steps) = (Arc::clone(&store), n % 10);
        let change = countersign_key_verify::Change {
            writes: vec![countersign_key_verify::Write::InsertCompany(
                countersign_key_verify::CompanyRecord {
                    id: format!("left_{n}").parse().unwrap(),
                    status: CompanyStatus::Active,
                    version: 1,
                },
            )],
            events: Vec::new(),
        };
        let commit = store.commit(&change);
        // Polled so often, then dropped.
        let mut commit = std::pin::pin!(commit);
        for _ in 0..steps {
            let turn = tokio::time::timeout(Duration::from_micros(200), commit.as_mut());
            if turn.await.is_ok() {
                break;
            }
        }
    }
    assert!(store.company(&company).await.unwrap().is_some());
    issue(&store).await.unwrap();
}

/// A store whose connections pass through `proxy`.
fn through(proxy: &Proxy, schema: &str) -> PostgresOptions {
    let address = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port);
    let options: PostgresOptions = address.parse().unwrap();
    let options = options.statement_timeout(Duration::from_secs(1));
    options.schema(schema).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn events_are_claimed_by_another_when_their_holder_says_nothing_more() {
    let (schema, proxy) = (unique(), Proxy::start().await);
    let gone = connect(through(&proxy, &schema)).await;
    let claim = gone.claim_events().await.unwrap().unwrap();
    let here = connect(options().schema(&schema).unwrap()).await;
    assert!(here.claim_events().await.unwrap().is_none());
    proxy.silence();
    support::soon("another to have the claim", async || {
        here.claim_events().await.unwrap().is_some()
    })
    .await;
    support::soon("the first to know", async || !claim.is_held().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_start_on_a_connection_that_falls_silent_fails() {
    let (schema, proxy) = (unique(), Proxy::start().await);
    let options = through(&proxy, &schema).statement_timeout(Duration::from_secs(1));
    for text in ["SET search_path", "pg_catalog.pg_tables", "SET LOCAL", FIND] {
        proxy.silent_at(text);
        let starting = PostgresKeyStore::connect(options.clone());
        let started = tokio::time::timeout(Duration::from_secs(20), starting).await;
        let error = started.expect(text).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{text}");
    }
    issue(&connect(options).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn lost_connections_come_back_whatever_falls_silent_meanwhile() {
    let (schema, proxy) = (unique(), Proxy::start().await);
    let store = connect(through(&proxy, &schema)).await;
    let issued = issue(&store).await.unwrap();
    for text in ["SET search_path", FIND] {
        proxy.silent_at(text);
        proxy.forget();
        support::soon(text, async || {
            let found = store.find(issued.key.prefix()).await.is_ok();
            found && proxy.is_not_waiting() && store.pending_events(1).await.is_ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_connection_that_its_caller_left_is_given_to_nobody_while_it_is_silent() {
    let proxy = Proxy::start().await;
    let options = through(&proxy, &unique()).writers(1);
    let store = connect(options.statement_timeout(Duration::from_secs(60))).await;
    issue(&store).await.unwrap();
    proxy.silence();
    support::soon("connections that answer", async || {
        let asking = store.pending_events(1);
        let answer = tokio::time::timeout(Duration::from_secs(1), asking).await;
        answer.is_ok_and(|events| events.is_ok())
    })
    .await;
}

/// What the look-up by prefix says.
const FIND: &str = "coalesce((SELECT min(prefix)";
