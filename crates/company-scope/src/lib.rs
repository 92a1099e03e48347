//! Whose data a request may touch: company scope as a capability, and checks of what callers
//! claim.
//!
//! The company that owns a verified credential is the company scope, always. What a caller says
//! about a company is compared with it and never used.
//!
//! [`CompanyScopeLayer`] lets a request on if
//! 1. a layer outside this one verified its caller, and no other layer placed it, and
//! 2. every claim that it makes in the places that were named to the layer, each repetition
//!    included, is the owning company's identifier: path parameters, query parameters, header
//!    fields, texts in a JSON body.
//!
//! A claim that is absent is fine. One that can't be decoded, or is no text, is not the owner's.
//!
//! | refusal | answer | audit reason |
//! |---|---|---|
//! | a claim names another company | 403 `company_boundary_violation` | `company_mismatch` |
//! | a body with claims is broken, says a name twice, has an array where a claim's name should be, breaks off, or is over the bound | 400 `invalid_request` | `malformed_request` |
//! | a value is another company's ([`Owned`]) | 404 `resource_not_found` | `resource_outside_company` |
//! | nobody verified the caller or matched the path, or the layer stands twice | 500 `internal_error` | `misconfigured_stack` |
//! | a handler that asks for its scope stands on another route than the contract's endpoint (`axum`) | 500 `internal_error` | `misconfigured_stack` |
//!
//! ```
//! use bytes::Bytes;
//! use countersign_company_scope::{CompanyScope, CompanyScopeLayer};
//! use countersign_core::{AccessContext, Environment, Identity, ScopeSet};
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layer = CompanyScopeLayer::new()
//!     .claim_query("company_id")
//!     .claim_header("x-company-id".parse()?)
//!     .claim_json("/company_id".parse()?);
//! let service = ServiceBuilder::new()
//!     .layer(layer)
//!     .service(service_fn(|request: Request<Full<Bytes>>| async move {
//!         let scope = AccessContext::of(&request).and_then(CompanyScope::from_context);
//!         let scope = scope.expect("the layer placed this request");
//!         let body = Full::from(scope.company().to_string());
//!         Ok::<_, std::convert::Infallible>(Response::new(body))
//!     }));
//!
//! // In the place of a layer that verifies callers:
//! let ask = |target: &str| {
//!     let mut request = Request::get(target).body(Full::default())?;
//!     let entered = countersign_core::Edge::default().enter(&mut request);
//!     let company = "company_34".parse().expect("a company's identifier");
//!     let identity = Identity::new(company, Environment::Live, ScopeSet::new());
//!     entered.context(&request).identify(identity).expect("nobody did before");
//!     Ok::<_, http::Error>(request)
//! };
//! let own = service.clone().oneshot(ask("/accounts?company_id=company_34")?).await?;
//! assert_eq!(own.status(), 200);
//! let other = service.oneshot(ask("/accounts?company_id=company_12")?).await?;
//! assert_eq!(other.status(), 403);
//! # Ok(())
//! # }
//! ```
//!
//! Handlers and repositories take the scope as an argument, and open nothing without it. With the
//! feature `axum`, handlers get it from their request:
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Router, routing::get};
//! use countersign_company_scope::{CompanyScope, Owned};
//! use countersign_core::Denial;
//!
//! async fn load_payment() -> Owned<&'static str> {
//!     Owned::new("company_12".parse().expect("a company's identifier"), "EUR 10.00")
//! }
//!
//! async fn show(scope: CompanyScope) -> Result<&'static str, Denial> {
//!     load_payment().await.open(&scope)
//! }
//!
//! let app: Router = Router::new().route("/payments/1", get(show));
//! # }
//! ```
//!
//! # Claims in bodies
//!
//! A body is read before its handler runs only where JSON claims were named and there is one. The
//! method plays no part.
//!
//! | `Content-Type` | |
//! |---|---|
//! | `*/json`, `*/*+json`, `*/json+*`: `json` between any `/`, `+` and `;` | read; what doesn't parse is refused |
//! | absent, or no media type | read if its first character that is no blank is `{` or `[`, and then as above |
//! | any other | not looked at: a handler must not read JSON from it |
//! | two of them | refused: two readers may take different ones |
//!
//! An array in the place of an object on the way to a claim is refused as `malformed_request`: what
//! derives `serde::Deserialize` reads its members from an array too, by their order. A list of such
//! objects is what a claim reaches by index alone (`/0/company_id`); wrap it in an object otherwise.
//!
//! The messages of a gRPC method (by the contract) are never read, whatever their content type
//! says: its handlers take the [`CompanyScope`], open what they find by it ([`Owned`]), and compare
//! a company that a message names by themselves.
//!
//! What is read is bounded in bytes ([`CompanyScopeLayer::body_limit`]), in frames (1024) and in
//! depth (127, as `serde_json`). A body that announces more than the bound is not read at all.
//! [`OverLimit`] says whether longer bodies are refused or go on unchecked. A compressed body that
//! is declared as JSON doesn't parse and is refused: decompress outside this layer. The layer has
//! no clock for slow senders: limit the time of a request in the server.
//!
//! The handler gets the same frames, trailers included. A request whose body is read holds its
//! place in the inner service meanwhile, as everything that was polled ready does.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod chosen;
mod claims;
#[cfg(any(feature = "axum", feature = "tonic"))]
mod extract;
mod inspect;
#[cfg(feature = "job")]
mod job;
mod json;
mod layer;
mod owned;
mod params;
mod place;
mod pointer;
mod read;
#[cfg(feature = "axum")]
mod route;
mod scope;
mod waiting;

#[cfg(any(feature = "axum", feature = "tonic"))]
pub use extract::VerifiedKey;
#[cfg(feature = "job")]
pub use job::{Job, JobError, JobKeys, JobSealer, ScopedJob};
pub use layer::{CompanyScopeLayer, CompanyScopeService};
pub use owned::Owned;
pub use place::OverLimit;
pub use pointer::JsonPointer;
pub use scope::CompanyScope;
