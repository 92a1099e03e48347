//! Many writers of one key.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::StoreErrorKind;

use super::support::{Desk, add_company, first, race, record, update, write};
use crate::record::{KeyStatus, RevocationReason};
use crate::store::{KeyStore, Write};

/// Of many inserts of one prefix at the same time exactly one is made.
pub async fn one_of_many_inserts_wins<S: KeyStore>(store: Arc<S>) {
    add_company(&*store, "company_12").await;
    let prefix = record("company_12", 0).prefix;
    let inserts = (1..=16).map(|n| {
        let mut key = record("company_12", n);
        key.prefix = prefix;
        Write::InsertKey(key)
    });
    let made = race(&store, inserts, StoreErrorKind::AlreadyExists).await;
    assert_eq!(made, 1, "one prefix, one key");
}

/// Of many updates of one version at the same time exactly one is made.
pub async fn one_of_many_updates_wins<S: KeyStore>(store: Arc<S>) {
    add_company(&*store, "company_12").await;
    let key = record("company_12", 1);
    write(&*store, Write::InsertKey(key.clone()))
        .await
        .expect("a new key");
    let updates = (0..16).map(|n| {
        let mut key = key.clone();
        key.version = 2;
        key.label = format!("writer {n}");
        update(&key, 1)
    });
    let made = race(&store, updates, StoreErrorKind::Conflict).await;
    assert_eq!(made, 1, "one version, one change");
}

/// Whatever a rotation and a revocation do at the same time, the revoked key stays revoked.
pub async fn revocation_is_never_undone_by_a_rotation<S: KeyStore>(store: Arc<S>) {
    let desk = Desk::new(&store).await;
    for _ in 0..20 {
        let id = desk.issue("company_12").await.record.id;
        let (rotating, revoking) = (desk.manager.clone(), desk.manager.clone());
        let (by, also_by) = (desk.ada.clone(), desk.ada.clone());
        let rotation = tokio::spawn(async move {
            let rotated = rotating.rotate(&by, &first(), id, Duration::ZERO).await;
            rotated.is_ok()
        });
        let reason = RevocationReason::SuspectedLeakage;
        let revocation = tokio::spawn(async move {
            let revoked = revoking.revoke(&also_by, &first(), id, reason).await;
            revoked.is_ok()
        });
        // A rotation that came second found a revoked key, and was refused.
        rotation.await.expect("a rotation ends");
        assert!(
            revocation.await.expect("a revocation ends"),
            "a revocation always works"
        );
        let after = store.get(id).await.expect("get").expect("the key");
        assert!(
            matches!(after.status, KeyStatus::Revoked { .. }),
            "it stays revoked"
        );
    }
}
