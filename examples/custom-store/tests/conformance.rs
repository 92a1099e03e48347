//! The store passes the suite that every key store must pass, and two tests of what is its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use countersign::{Actor, CompanyStatus, KeyManager, KeyStore, StoreErrorKind};
use countersign_key_verify::conformance;
use custom_store::PartnerKeyStore;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let next = AtomicUsize::new(0);
    conformance::run(async || {
        let number = next.fetch_add(1, Ordering::SeqCst);
        PartnerKeyStore::open(directory.path().join(format!("{number}.db"))).unwrap()
    })
    .await;
}

#[test]
fn a_second_process_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("platform.db");
    let first = PartnerKeyStore::open(&file).unwrap();
    let error = PartnerKeyStore::open(&file).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    drop(first);
    PartnerKeyStore::open(&file).unwrap();
}

/// The partners were there before the keys, with columns of their own, and other code blocks them.
#[tokio::test]
async fn partners_of_before_are_companies_and_keep_what_is_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("platform.db");
    drop(PartnerKeyStore::open(&file).unwrap());
    let platform = rusqlite::Connection::open(&file).unwrap();
    let partner = "INSERT INTO partners (id, name) VALUES ('partner_7', 'Seven Seas Ltd')";
    platform.execute_batch(partner).unwrap();
    let block = "UPDATE partners SET blocked = 1 WHERE id = 'partner_7'";
    platform.execute_batch(block).unwrap();
    drop(platform);

    let store = PartnerKeyStore::open(&file).unwrap();
    let id = "partner_7".parse().unwrap();
    let record = store.company(&id).await.unwrap().unwrap();
    assert_eq!(record.status, CompanyStatus::Suspended);
    assert_eq!(record.version, 2, "the block was counted");
    let manager = KeyManager::builder(store.clone()).build().unwrap();
    let ada = Actor::operator("ada").unwrap();
    manager.reactivate_company(&ada, id).await.unwrap();
    assert_eq!(store.company(&id).await.unwrap().unwrap().version, 3);
    drop((manager, store));

    let platform = rusqlite::Connection::open(&file).unwrap();
    let row = platform.query_row("SELECT name, blocked FROM partners", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
    });
    assert_eq!(row.unwrap(), ("Seven Seas Ltd".to_owned(), false));
}
