//! The external contract: which endpoints outside callers may use, with which scope, and which
//! targets are refused.
//!
//! [`ContractLayer`] lets a request on if
//! 1. its target can be read in one way only ([`target`]), and
//! 2. the [`Contract`] declares its method for the template that its path matches, and
//! 3. inside an axum router (feature `axum`) the router took the same template, and says so: for
//!    a fallback and for `nest_service` the outer router can't, so the layer goes on the nested
//!    router there, and
//! 4. where that is a gRPC method's, the request's head is that of a gRPC call
//!    ([`check_head`](countersign_core::grpc::check_head)).
//!
//! Around a router the contract decides alone, before a route is taken. The extractors of the
//! company scope and of the key then compare the route with the contract's template.
//!
//! [`ScopeGuardLayer`] lets a request on if
//! 1. a contract layer found its endpoint and some layer verified its caller, and
//! 2. the endpoint declares a scope, and
//! 3. the caller has that scope, or of several what [`RequiredScopes`] asks for.
//!
//! | refusal | answer | audit reason |
//! |---|---|---|
//! | the target is ambiguous or too long, or a call of a gRPC method is none | 400 `invalid_request` | `ambiguous_target`, `malformed_request` |
//! | the contract has no such endpoint, or one that is a draft or retired | 403 `endpoint_not_allowed` | `endpoint_unknown` |
//! | the endpoint declares no scope | 403 `endpoint_not_allowed` | `endpoint_without_scope` |
//! | the caller lacks the scope | 403 `insufficient_scope` | `scope_missing` |
//! | a layer is missing or stands twice, or router and contract disagree | 500 `internal_error` | `misconfigured_stack` |
//!
//! A contract comes from code, or with the feature `openapi` from the document that callers get; with
//! `axum` and `test-util` a test compares it with the router.
//!
//! An endpoint that is deprecated says so in each of its answers ([`Deprecation`]).
//!
//! [`RequiredScopes`]: countersign_core::RequiredScopes
//! [`Deprecation`]: countersign_core::Deprecation
//!
//! A contract is checked when it is built, and layers are put around a service:
//!
//! ```
//! use bytes::Bytes;
//! use countersign_core::Endpoint;
//! use countersign_scope_guard::{Contract, ContractLayer};
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let contract = Contract::builder()
//!     .endpoint(Endpoint::get("/external/v1/accounts").scope("accounts:read".parse()?))
//!     .build()?;
//! let handler = service_fn(|_: Request<Full<Bytes>>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//! });
//! let service = ServiceBuilder::new()
//!     .layer(ContractLayer::new(contract))
//!     .service(handler);
//!
//! let ask = |path: &str| {
//!     Request::get(path)
//!         .header("host", "api.example.com")
//!         .body(Full::default())
//! };
//! let answer = service.clone().oneshot(ask("/external/v1/accounts")?).await?;
//! assert_eq!(answer.status(), 200);
//! let answer = service.clone().oneshot(ask("/internal/v1/ledger")?).await?;
//! assert_eq!(answer.status(), 403);
//! let answer = service.oneshot(ask("/external/v1/../internal")?).await?;
//! assert_eq!(answer.status(), 400);
//! # Ok(())
//! # }
//! ```
//!
//! A scope is compared behind a layer that verifies callers; here one stands in for it:
//!
//! ```
//! # use bytes::Bytes;
//! # use countersign_core::{AccessContext, Endpoint, Environment, Identity, ScopeSet};
//! # use countersign_scope_guard::{Contract, ContractLayer, ScopeGuardLayer};
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let contract = Contract::builder()
//!     .endpoint(Endpoint::get("/accounts").scope("accounts:read".parse()?))
//!     .endpoint(Endpoint::post("/accounts").scope("accounts:write".parse()?))
//!     .build()?;
//! let scopes = ScopeSet::from_names(["accounts:read"])?;
//! let identity = Identity::new("company_12".parse()?, Environment::Live, scopes);
//! let service = ServiceBuilder::new()
//!     .layer(ContractLayer::new(contract))
//!     .map_request(move |request: Request<Full<Bytes>>| {
//!         let context = AccessContext::of(&request).expect("the contract layer made it");
//!         context.identify(identity.clone()).expect("nobody else identifies callers here");
//!         request
//!     })
//!     .layer(ScopeGuardLayer::new())
//!     .service(service_fn(|_: Request<Full<Bytes>>| async {
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//!     }));
//! let ask = |method: &str| {
//!     Request::builder()
//!         .method(method)
//!         .uri("/accounts")
//!         .header("host", "api.example.com")
//!         .body(Full::default())
//! };
//! assert_eq!(service.clone().oneshot(ask("GET")?).await?.status(), 200);
//! assert_eq!(service.oneshot(ask("POST")?).await?.status(), 403);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to put the contract layer
//!
//! Outside the router it sees what the caller sent, and it must know the router: an internal route
//! whose path also matches a declared template is then reachable. With the feature `axum` and
//! inside the router (`Router::layer`, also on a router that is nested elsewhere) it is not: the
//! contract is asked with axum's `OriginalUri`, and the router's `MatchedPath` must be the
//! template of the declared endpoint, letter by letter, names of parameters included. Only a gRPC
//! method ([`Endpoint::grpc`](countersign_core::Endpoint::grpc)) may be routed as a wildcard, that of
//! its service, as tonic's routes are (`/package.Service/{*rest}`).
//! Routes that are added after `Router::layer` was called are not covered by any layer. Nor is a path
//! below a nested router that none of its routes has: the outer router answers it, past the layers. A
//! fallback on the nested router, before the layers, brings it to them:
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Router, http::StatusCode, routing::get};
//! use countersign_scope_guard::{Contract, ContractLayer};
//!
//! fn service(contract: Contract) -> Router {
//!     let external = Router::new()
//!         .route("/accounts", get(async || "accounts"))
//!         .fallback(async || StatusCode::NOT_FOUND)
//!         .layer(ContractLayer::new(contract));
//!     Router::new().nest("/v1", external)
//! }
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod contract;
mod descriptor;
mod layer;
mod lookup;
#[cfg(feature = "openapi")]
pub mod openapi;
mod permit;
mod registry;
#[cfg(all(feature = "axum", feature = "test-util"))]
pub mod routes;
pub mod target;
mod template;

pub use contract::{Contract, ContractBuilder};
pub use descriptor::ACCESS_PROTO;
pub use layer::{ContractLayer, ContractService, ScopeGuard, ScopeGuardLayer};
pub use registry::{ScopeRegistry, UnknownScope};
