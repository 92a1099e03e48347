//! Another file in the place of the store's: a backup that was put back while services run.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use countersign_core::{Clock, Environment, KeyPrefix, ScopeSet, StoreErrorKind, SystemClock};
use countersign_key_verify::{
    Actor, Changed, IssueRequest, IssuedKey, KeyManager, KeyStatus, KeyStore, KeyVerifier,
    KeyVerifyLayer, RevocationReason,
};
use countersign_sqlite::SqliteKeyStore;
use http::{Request, Response};
use http_body_util::Full;
use tempfile::TempDir;
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// A file with one company.
struct Place(TempDir);

impl Place {
    async fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let manager = manager(&place.open());
        let company = "company_12".parse().unwrap();
        manager.create_company(&ada(), company).await.unwrap();
        place
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("keys.db")
    }

    fn beside(&self, end: &str) -> PathBuf {
        self.0.path().join(format!("keys.db{end}"))
    }

    fn open(&self) -> SqliteKeyStore {
        SqliteKeyStore::open(self.path()).unwrap()
    }

    fn back_up(&self) {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        let backup = self.beside(".backup").to_str().unwrap().to_owned();
        connection.execute("VACUUM INTO ?1", [backup]).unwrap();
    }

    /// As an operator does it.
    fn restore(&self) {
        for end in ["-wal", "-shm"] {
            let _ = fs::remove_file(self.beside(end));
        }
        fs::rename(self.beside(".backup"), self.path()).unwrap();
    }
}

fn ada() -> Actor {
    Actor::operator("ada").unwrap()
}

fn manager(store: &SqliteKeyStore) -> KeyManager {
    KeyManager::builder(store.clone()).build().unwrap()
}

async fn issue(store: &SqliteKeyStore) -> IssuedKey {
    let hour = Duration::from_secs(3600);
    let expiry = SystemClock.now().wall.saturating_add(hour);
    let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
    let company = "company_12".parse().unwrap();
    let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
    let (manager, request) = (manager(store), request.activate_now(true));
    manager.issue(&ada(), request).await.unwrap()
}

async fn revoke(store: &SqliteKeyStore, key: &IssuedKey) {
    let (company, reason) = (key.record.company, RevocationReason::SuspectedLeakage);
    let (manager, id) = (manager(store), key.record.id);
    manager.revoke(&ada(), &company, id, reason).await.unwrap();
}

async fn is_revoked(store: &SqliteKeyStore, prefix: &KeyPrefix) -> bool {
    let found = store.find(prefix).await.unwrap().unwrap();
    matches!(found.record.status, KeyStatus::Revoked { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_revoked_in_the_file_that_was_put_back_stops() {
    let place = Place::new().await;
    let here = place.open();
    let issued = issue(&here).await;
    let verifier = KeyVerifier::builder(here.clone())
        .staleness_bound(Duration::from_secs(60))
        .build()
        .unwrap();
    let follower = verifier.cache().follow_changes().unwrap();
    let service = ServiceBuilder::new()
        .layer(KeyVerifyLayer::new(verifier))
        .service(service_fn(async |_: Request<()>| {
            Ok::<_, std::convert::Infallible>(Response::new(Full::<bytes::Bytes>::default()))
        }));
    let status = async || {
        let raw = issued.key.expose();
        let request = Request::builder().header("x-api-key", raw.as_str());
        let answer = service.clone().oneshot(request.body(()).unwrap()).await;
        answer.unwrap().status().as_u16()
    };
    assert_eq!(status().await, 200);
    place.back_up();
    place.restore();
    revoke(&place.open(), &issued).await;
    let refused = async {
        while status().await != 401 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let bound = Duration::from_secs(5);
    tokio::time::timeout(bound, refused).await.expect("refused");
    // Its event is there for whoever brings events over.
    let events = here.pending_events(100).await.unwrap();
    let told = |event: &&countersign_core::LifecycleEvent| event.key_id == Some(issued.record.id);
    assert_eq!(events.iter().filter(told).count(), 4, "{events:?}");
    follower.shutdown().await;
}

#[tokio::test]
async fn what_is_changed_is_changed_in_the_file_that_is_there() {
    let place = Place::new().await;
    let store = place.open();
    let issued = issue(&store).await;
    place.back_up();
    revoke(&store, &issued).await;
    place.restore();
    let prefix = issued.key.prefix();
    assert!(!is_revoked(&store, prefix).await, "an older state is back");
    revoke(&store, &issued).await;
    assert!(is_revoked(&place.open(), prefix).await);
}

#[tokio::test]
async fn a_store_whose_file_is_gone_says_so_and_makes_none() {
    let place = Place::new().await;
    let store = place.open();
    let issued = issue(&store).await;
    let mut stream = store.change_feed().unwrap().open().await.unwrap();
    stream.read(None).await.unwrap();
    let prefix = issued.key.prefix();
    fs::rename(place.path(), place.beside(".away")).unwrap();
    for _ in 0..2 {
        let refused = store.find(prefix).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
        let feed = store.change_feed().unwrap().open().await.unwrap_err();
        assert_eq!(feed.kind(), StoreErrorKind::Unavailable);
        assert!(stream.wait().await.is_err());
        assert!(stream.read(None).await.is_err());
    }
    assert!(!place.path().exists(), "no empty store takes its place");
    fs::write(place.path(), "no database").unwrap();
    assert!(store.find(prefix).await.is_err());
    assert!(store.change_feed().unwrap().open().await.is_err());
    let untouched = fs::read(place.path()).unwrap() == b"no database";
    assert!(untouched);
    fs::rename(place.beside(".away"), place.path()).unwrap();
    assert!(store.find(prefix).await.unwrap().is_some());
}

#[tokio::test]
async fn what_the_old_file_s_log_holds_does_not_get_into_the_new_one() {
    let place = Place::new().await;
    let store = place.open();
    place.back_up();
    let issued = issue(&store).await;
    let backup = fs::read(place.beside(".backup")).unwrap();
    fs::rename(place.beside(".backup"), place.path()).unwrap();
    let prefix = issued.key.prefix();
    let refused = store.find(prefix).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    let untouched = fs::read(place.path()).unwrap() == backup;
    assert!(untouched);
    fs::remove_file(place.beside("-wal")).unwrap();
    fs::remove_file(place.beside("-shm")).unwrap();
    assert_eq!(store.find(prefix).await.unwrap(), None);
}

#[tokio::test]
async fn a_feed_does_not_go_on_from_a_position_of_another_file() {
    let place = Place::new().await;
    let store = place.open();
    let keys = [issue(&store).await, issue(&store).await];
    let feed = store.change_feed().unwrap();
    place.back_up();
    revoke(&store, &keys[0]).await;
    let mut stream = feed.open().await.unwrap();
    let position = stream.read(None).await.unwrap().position;
    place.restore();
    // As many changes, and other ones.
    revoke(&place.open(), &keys[1]).await;
    assert!(stream.wait().await.is_err(), "it is another file");
    let mut again = feed.open().await.unwrap();
    let changes = again.read(Some(position)).await.unwrap();
    assert_eq!(changes.position, position);
    assert_eq!(changes.changed, [Changed::Everything]);
    let quiet = again.read(Some(position)).await.unwrap();
    assert_eq!(quiet.changed, [], "it is known by now");
}

#[tokio::test]
async fn other_processes_that_come_and_go_leave_the_store_s_locks_alone() {
    let place = Place::new().await;
    let [store, other] = [(); 2].map(|()| place.open());
    let issued = issue(&store).await;
    let prefix = issued.key.prefix();
    for n in 0..3 {
        // It would take the log of the last changes with it, were it the only one that is known.
        assert!(in_another_process(&place.path()));
        assert!(place.beside("-wal").exists(), "{n}");
        for store in [&store, &other] {
            let uses = store.uses().unwrap().last_uses(&[issued.record.id]).await;
            assert_eq!(uses.unwrap()[0].count, n + 1);
        }
    }
    assert!(store.find(prefix).await.unwrap().is_some());
}

/// Runs [`another_process`] in one.
fn in_another_process(path: &Path) -> bool {
    let program = std::env::current_exe().unwrap();
    let child = Command::new(program)
        .args(["--exact", "another_process", "--ignored"])
        .env("COUNTERSIGN_TEST_FILE", path)
        .output();
    child.unwrap().status.success()
}

#[test]
#[ignore = "it is run by another test"]
fn another_process() {
    let Ok(path) = std::env::var("COUNTERSIGN_TEST_FILE") else {
        return;
    };
    let connection = rusqlite::Connection::open(path).unwrap();
    let used = "INSERT INTO key_uses (key, at, count) SELECT id, 0, 1 FROM keys WHERE true
                ON CONFLICT DO UPDATE SET count = count + 1";
    connection.execute(used, []).unwrap();
}
