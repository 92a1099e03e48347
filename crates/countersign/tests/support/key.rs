//! A key to call with.

use std::sync::Arc;
use std::time::Duration;

use countersign::{
    Actor, Clock, Environment, IssueRequest, KeyManager, KeyStore, ScopeSet, SystemClock,
};

/// A key of `company_12` in `store` that reads accounts for an hour.
pub(crate) async fn key(store: &Arc<impl KeyStore>) -> String {
    let manager = KeyManager::builder(Arc::clone(store)).build().unwrap();
    let ada = Actor::operator("ada").unwrap();
    let company = "company_12".parse().unwrap();
    manager.create_company(&ada, company).await.unwrap();
    let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
    let expiry = SystemClock
        .now()
        .wall
        .saturating_add(Duration::from_secs(3600));
    let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
    let issued = manager
        .issue(&ada, request.activate_now(true))
        .await
        .unwrap();
    issued.key.expose().to_string()
}
