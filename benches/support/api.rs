//! The endpoint that the stacks protect, and a call of it.

use std::net::{Ipv4Addr, SocketAddr};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::{Json, Router};
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Request, Uri};
use serde::Serialize;

/// The router without any protection.
pub(crate) fn bare() -> Router {
    // As `into_make_service` does: without it axum makes the handler and its layers anew for each call.
    Router::new().route(PATH, get(accounts)).with_state(())
}

async fn accounts() -> Json<[Account; 2]> {
    Json(ACCOUNTS)
}

/// A request as a server hands it to the router: parsed, with the peer's address.
pub(crate) fn request(key: &str) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static(PATH);
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("api.example.com"));
    headers.insert(USER_AGENT, HeaderValue::from_static("partner/1.0"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(
        X_API_KEY,
        HeaderValue::from_str(key).expect("a key is ASCII"),
    );
    let peer = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 7), 40_000));
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

#[derive(Serialize)]
struct Account {
    id: &'static str,
    currency: &'static str,
    balance: u64,
}

const ACCOUNTS: [Account; 2] = [
    Account {
        id: "acc_1",
        currency: "EUR",
        balance: 125_000,
    },
    Account {
        id: "acc_2",
        currency: "USD",
        balance: 98_000,
    },
];

pub(crate) const PATH: &str = "/external/v1/accounts";
/// The same as a gRPC method.
pub(crate) const METHOD: &str = "/bench.v1.Accounts/List";
pub(crate) const SCOPE: &str = "accounts:read";
pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
