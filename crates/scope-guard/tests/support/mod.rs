//! What several tests need.
#![allow(dead_code, reason = "each test uses a part")]

use bytes::Bytes;
use countersign_core::{AccessContext, Edge, Endpoint, Environment, Identity, Reason, ScopeSet};
use countersign_scope_guard::Contract;
use http::Request;
use http_body_util::Full;

pub(crate) type Body = Full<Bytes>;

/// A contract of endpoints that all need `accounts:read`.
pub(crate) fn contract(endpoints: &[(&str, &str)]) -> Contract {
    let endpoints = endpoints.iter().map(|(method, template)| {
        Endpoint::new(method.parse().unwrap(), *template).scope("accounts:read".parse().unwrap())
    });
    Contract::builder().endpoints(endpoints).build().unwrap()
}

pub(crate) fn identity(scopes: &[&str]) -> Identity {
    let scopes = ScopeSet::from_names(scopes.iter().copied()).unwrap();
    Identity::new("company_12".parse().unwrap(), Environment::Live, scopes)
}

pub(crate) fn request(method: &str, target: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(target)
        .header("host", "127.0.0.1")
        .body(Full::default())
        .unwrap()
}

/// Enters the request as an outer layer would, so that a test can read its record.
pub(crate) fn enter<B>(request: &mut Request<B>) -> AccessContext {
    let entered = Edge::default().enter(request);
    entered.context(request).clone()
}

pub(crate) fn reason(context: &AccessContext) -> Option<Reason> {
    context.denial().map(countersign_core::Denial::reason)
}
