//! A claim that no request of the contract can hold is no check, and no stack is built with it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign::{
    AuditSink, AuditWriter, Builder, ConfigError, Contract, Countersign, Dimension, Endpoint,
    KeyStore, MemoryBackend, MemoryKeyStore, OverLimit, Policies, Policy, Quota,
};
use std::sync::Arc;

type Ready = Builder<Contract, Arc<dyn KeyStore>, Policies, AuditSink>;

fn stack() -> (Ready, AuditWriter) {
    let scope = "accounts:read".parse().unwrap();
    let contract = Contract::builder()
        .endpoint(Endpoint::get("/companies/{companyId}/accounts").scope(scope))
        .endpoint(Endpoint::get("/files/{*path}").scope(scope))
        .build()
        .unwrap();
    let quota = Quota::per_second(5, 1);
    let (sink, writer) = AuditSink::builder(MemoryBackend::new().0).spawn().unwrap();
    let stack = Countersign::builder()
        .contract(contract)
        .key_store(MemoryKeyStore::default())
        .limits(Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap())
        .audit(sink);
    (stack, writer)
}

fn refused(claim: impl FnOnce(Ready) -> Ready) -> Option<ConfigError> {
    let (stack, _writer) = stack();
    claim(stack).build().err()
}

#[tokio::test]
async fn a_path_claim_that_no_template_has_is_refused() {
    for name in [
        "company_id",
        "companyid",
        "{companyId}",
        "companies",
        "*path",
    ] {
        let error = refused(|stack| stack.claim_path(name)).expect(name);
        assert_eq!(error.subject(), format!("path claim {name}"));
    }
    for name in ["companyId", "path"] {
        assert_eq!(refused(|stack| stack.claim_path(name)), None, "{name}");
    }
    let both = refused(|stack| stack.claim_path("companyId").claim_path("company_id"));
    assert!(both.is_some(), "one that is right makes up for none");
}

#[tokio::test]
async fn a_claim_without_a_name_is_refused() {
    let path = refused(|stack| stack.claim_path("")).unwrap();
    assert_eq!(path.to_string(), "path claim: its name is empty");
    let query = refused(|stack| stack.claim_query("")).unwrap();
    assert_eq!(query.to_string(), "query claim: its name is empty");
    assert_eq!(refused(|stack| stack.claim_query("company_id")), None);
}

#[tokio::test]
async fn a_claim_in_bodies_that_nobody_reads_is_refused() {
    let claim = |stack: Ready| stack.claim_json("/company_id".parse().unwrap());
    for over in [OverLimit::Pass, OverLimit::Refuse] {
        let error = refused(|stack| claim(stack).body_limit(0, over)).unwrap();
        assert_eq!(error.subject(), "JSON claim");
        assert_eq!(refused(|stack| claim(stack).body_limit(1, over)), None);
        assert_eq!(refused(|stack| stack.body_limit(0, over)), None);
    }
}
