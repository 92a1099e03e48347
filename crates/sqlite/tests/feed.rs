//! Two processes on one file: what one changes, the other's cache forgets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use countersign_core::{Clock, Environment, ScopeSet, SystemClock};
use countersign_key_verify::{
    Actor, IssueRequest, KeyManager, KeyVerifier, KeyVerifyLayer, RevocationReason,
};
use countersign_sqlite::SqliteKeyStore;
use http::{Request, Response};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_elsewhere_is_felt_within_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let [here, elsewhere] = [(); 2].map(|()| SqliteKeyStore::open(&path).unwrap());
    let manager = KeyManager::builder(elsewhere).build().unwrap();
    let ada = Actor::operator("ada").unwrap();
    let company = "company_12".parse().unwrap();
    manager.create_company(&ada, company).await.unwrap();
    let verifier = KeyVerifier::builder(here)
        .staleness_bound(Duration::from_secs(60))
        .build()
        .unwrap();
    let follower = verifier.cache().follow_changes().unwrap();
    let service = ServiceBuilder::new()
        .layer(KeyVerifyLayer::new(verifier))
        .service(service_fn(async |_: Request<()>| {
            Ok::<_, std::convert::Infallible>(Response::new(Full::<bytes::Bytes>::default()))
        }));
    for _ in 0..5 {
        let expiry = SystemClock
            .now()
            .wall
            .saturating_add(Duration::from_secs(60));
        let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
        let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
        let issued = manager
            .issue(&ada, request.activate_now(true))
            .await
            .unwrap();
        let status = async || {
            let raw = issued.key.expose();
            let request = Request::builder().header("x-api-key", raw.as_str());
            let answer = service.clone().oneshot(request.body(()).unwrap()).await;
            answer.unwrap().status().as_u16()
        };
        assert_eq!(status().await, 200);
        let reason = RevocationReason::SuspectedLeakage;
        manager
            .revoke(&ada, &company, issued.record.id, reason)
            .await
            .unwrap();
        let refused = async {
            while status().await != 401 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let within = Duration::from_secs(1);
        tokio::time::timeout(within, refused)
            .await
            .expect("a second");
    }
    follower.shutdown().await;
}

#[tokio::test]
async fn one_process_has_the_outbox_and_the_next_takes_it_over() {
    use countersign_key_verify::KeyStore;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let [first, second] = [(); 2].map(|()| SqliteKeyStore::open(&path).unwrap());
    let claim = first.claim_events().await.unwrap();
    assert!(claim.is_some());
    assert!(second.claim_events().await.unwrap().is_none());
    drop(claim);
    assert!(second.claim_events().await.unwrap().is_some());
}
