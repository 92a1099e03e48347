//! Connections that are lost without a word: a machine, a network or a process that is gone.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use countersign_audit_sink::{AuditBackend, AuditSink, CheckpointSigner, FileSigner, Finding};
use countersign_core::{EventId, StoreError, StoreErrorKind, Timestamp};
use countersign_postgres::PostgresOptions;
use countersign_postgres::audit::{PostgresLog, PostgresLogOptions};

use crate::support::audit::{ORIGIN, Place, event};
use crate::support::proxy::Proxy;
use crate::support::{soon, sql};

const LONG: Duration = Duration::from_secs(20);

/// Signs once nobody has the other end of `hangs`.
#[derive(Debug)]
struct Hanging {
    signer: Arc<FileSigner>,
    hangs: Mutex<mpsc::Receiver<()>>,
}

impl CheckpointSigner for Hanging {
    fn public_key(&self) -> Result<[u8; 32], StoreError> {
        self.signer.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], StoreError> {
        self.hangs.lock().unwrap().recv().unwrap_err();
        self.signer.sign(message)
    }
}

fn through(place: &Place, proxy: &Proxy) -> PostgresLogOptions {
    let address = format!(
        "postgres://{}@127.0.0.1:{}/postgres",
        place.name, proxy.port
    );
    let options: PostgresOptions = address.parse().unwrap();
    let options = options.statement_timeout(Duration::from_secs(1));
    PostgresLog::options(options.schema(&place.name).unwrap())
        .origin(ORIGIN)
        .signer(Arc::clone(&place.signer))
        .checkpoint_interval(Duration::from_millis(20))
}

async fn all_are_signed(place: &Place) {
    soon("a signer", async || {
        place.signed().await == place.number("count(*)").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_process_alone_signs_again_after_its_network_was_away() {
    let (place, proxy) = (Place::new().await, Proxy::start().await);
    let log = through(&place, &proxy).open().await.unwrap();
    let (sink, writer) = AuditSink::builder(log).spawn().unwrap();
    sink.append_durable(event("before")).await.unwrap();
    all_are_signed(&place).await;
    proxy.forget();
    // The server has still the session that signed.
    soon("the log to be written again", async || {
        sink.append_durable(event("after")).await.is_ok()
    })
    .await;
    all_are_signed(&place).await;
    assert_eq!(writer.shutdown(LONG).await.lost, 0);
    assert_eq!(place.verify().await, Finding::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn another_process_signs_when_the_one_that_did_says_nothing_more() {
    let (place, proxy) = (Place::new().await, Proxy::start().await);
    let gone = through(&place, &proxy).open().await.unwrap();
    let (gone, _writer) = AuditSink::builder(gone).spawn().unwrap();
    gone.append_durable(event("gone")).await.unwrap();
    all_are_signed(&place).await;
    let (sink, writer) = AuditSink::builder(place.open().await).spawn().unwrap();
    proxy.silence();
    sink.append_durable(event("here")).await.unwrap();
    all_are_signed(&place).await;
    assert_eq!(writer.shutdown(LONG).await.lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_process_signs_again_when_its_signing_connection_alone_hung() {
    let (place, proxy) = (Place::new().await, Proxy::start().await);
    let log = through(&place, &proxy).open().await.unwrap();
    let (sink, writer) = AuditSink::builder(log).spawn().unwrap();
    sink.append_durable(event("before")).await.unwrap();
    all_are_signed(&place).await;
    proxy.silent_at("INSERT INTO checkpoints");
    sink.append_durable(event("after")).await.unwrap();
    all_are_signed(&place).await;
    assert_eq!(writer.shutdown(LONG).await.lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_log_is_not_opened_on_a_connection_that_falls_silent() {
    let (place, proxy) = (Place::new().await, Proxy::start().await);
    for text in [
        "SET search_path",
        "pg_catalog.pg_tables",
        "SELECT origin",
        "FROM checkpoints",
    ] {
        proxy.silent_at(text);
        let opening = through(&place, &proxy).open();
        let opened = tokio::time::timeout(LONG, opening).await.expect(text);
        assert_eq!(
            opened.unwrap_err().kind(),
            StoreErrorKind::Unavailable,
            "{text}"
        );
    }
    let log = through(&place, &proxy).open().await.unwrap();
    proxy.silent_at("SELECT DISTINCT id");
    let ids = HashSet::from([EventId::generate(Timestamp::from_micros(0))]);
    let history = log.history().unwrap();
    let asking = tokio::task::spawn_blocking(move || history.find(&ids));
    let asked = tokio::time::timeout(LONG, asking).await;
    let error = asked.expect("an answer").unwrap().unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn a_process_whose_signer_hangs_leaves_signing_to_another() {
    let (place, proxy) = (Place::new().await, Proxy::start().await);
    let (release, hangs) = mpsc::channel();
    let hanging = Hanging {
        signer: Arc::clone(&place.signer),
        hangs: Mutex::new(hangs),
    };
    let log = through(&place, &proxy)
        .signer(hanging)
        .open()
        .await
        .unwrap();
    let (first, first_writer) = AuditSink::builder(log).spawn().unwrap();
    let lock = format!("countersign audit signer {}", place.schema());
    let signs = format!(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory'
         AND (classid::bigint << 32) | objid::bigint = hashtextextended('{lock}', 0)"
    );
    soon("the first to sign", async || !sql(&signs).await.is_empty()).await;
    first.append_durable(event("first")).await.unwrap();
    let (second, second_writer) = AuditSink::builder(place.open().await).spawn().unwrap();
    second.append_durable(event("second")).await.unwrap();
    all_are_signed(&place).await;
    drop(release);
    assert_eq!(first_writer.shutdown(LONG).await.lost, 0);
    assert_eq!(second_writer.shutdown(LONG).await.lost, 0);
}
