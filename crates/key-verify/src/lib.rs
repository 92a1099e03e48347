//! API keys for outside companies: verified in constant time, found through a cache, with a life
//! of their own.
//!
//! A request passes [`KeyVerifyLayer`] if
//! 1. it carries exactly one credential, in `X-Api-Key` or `Authorization: Bearer`, and none in its
//!    query string,
//! 2. the credential has the form of a key and its checksum is right,
//! 3. a key with its prefix is stored, and the digest of its secret is the stored one,
//! 4. the key is for this environment, in use, not expired, and its company is not suspended,
//! 5. the key may be used from where the request came.
//!
//! The key's [`Identity`](countersign_core::Identity) then stands in the request's record. Otherwise
//! the request is refused and the inner service never called:
//!
//! | what is wrong | audit reason | answer |
//! |---|---|---|
//! | no credential | `missing_api_key` | 401 `authentication_failed` |
//! | not a key | `malformed_api_key` | 401 `authentication_failed` |
//! | a key in the query string, wherever it stands and encoded up to three times; of a whole one the record names the prefix | `key_in_query` | 401 `authentication_failed` |
//! | two different credentials | `ambiguous_credentials` | 401 `authentication_failed` |
//! | unknown prefix | `unknown_api_key` | 401 `authentication_failed` |
//! | wrong secret | `invalid_api_key` | 401 `authentication_failed` |
//! | sandbox key on production, or the reverse | `environment_mismatch` | 401 `authentication_failed` |
//! | not from its networks | `source_not_allowed` | 401 `authentication_failed` |
//! | past its expiry | `expired_api_key` | 401 `token_expired` |
//! | revoked | `revoked_api_key` | 401 `token_revoked` |
//! | not activated yet, suspended, rotated | `pending_api_key`, `suspended_api_key`, `rotated_api_key` | 401 `token_not_active` |
//! | its company is suspended | `company_inactive` | 401 `token_not_active` |
//! | too many failures before | `source_throttled` | 429 `rate_limit_exceeded` |
//! | the store can't be asked, hangs, holds a broken record, or is asked by too many | `key_store_unavailable` | 503 `service_unavailable` |
//! | failures are metered and nobody told the peer's address, or another layer identified the caller | `misconfigured_stack` | 500 `internal_error` |
//!
//! The `token_*` answers go only to a caller with the right secret. Unknown prefix and wrong
//! secret do the same work and get the same answer. Where several things are wrong with a key
//! whose secret is right, the first in this order is named: environment, revoked, expired, the
//! other states, company, source.
//!
//! **Where keys are kept** is up to a [`KeyStore`]. What it answers is believed for the staleness
//! bound, 5 seconds unless set; while it is down, keys that were verified lately go on that long
//! and the rest are refused with 503. See [`KeyCache`]. Looking a key up needs a tokio runtime with
//! its timer on. Where the store has a [`ChangeFeed`], [`KeyCache::follow_changes`] makes changes
//! that other processes make felt at once.
//!
//! **Failed authentications** are reported to a
//! [`FailureMeter`](countersign_core::FailureMeter), which is asked before the store is. A correct
//! key that is in the cache never meets it, so that a partner who shares an address with an
//! attacker, or whose prefix an attacker knows, is not locked out.
//!
//! ```
//! use std::sync::Arc;
//! use countersign_core::{Environment, ScopeSet, SystemClock, Clock};
//! use countersign_key_verify::{
//!     Actor, IssueRequest, KeyManager, KeyVerifier, KeyVerifyLayer, MemoryKeyStore,
//! };
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Arc::new(MemoryKeyStore::default());
//! let operator = Actor::operator("ada")?;
//! let manager = KeyManager::builder(store.clone()).brand("acme").build()?;
//! let company = "company_12".parse()?;
//! manager.create_company(&operator, company).await?;
//! let issued = manager
//!     .issue(&operator, IssueRequest::new(
//!         company,
//!         Environment::Live,
//!         ScopeSet::from_names(["accounts:read"])?,
//!         SystemClock.now().wall.saturating_add(std::time::Duration::from_secs(3600)),
//!     ).activate_now(true))
//!     .await?;
//!
//! let verifier = KeyVerifier::builder(store).build()?;
//! let service = ServiceBuilder::new()
//!     .layer(KeyVerifyLayer::new(verifier))
//!     .service(service_fn(async |_: Request<()>| {
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<bytes::Bytes>::default()))
//!     }));
//!
//! let request = Request::builder().header("x-api-key", issued.key.expose().as_str()).body(())?;
//! assert_eq!(service.clone().oneshot(request).await?.status(), 200);
//! assert_eq!(service.oneshot(Request::new(())).await?.status(), 401);
//! # Ok(())
//! # }
//! ```
//!
//! On an axum router (`Router::layer`) the layer needs the feature `axum`: refusals then have axum's
//! body, and its `ConnectInfo` is the peer's address.

mod cache;
mod cached;
#[cfg(feature = "conformance")]
pub mod conformance;
mod credentials;
mod digest;
mod feed;
mod follow;
mod key;
mod layer;
mod manager;
mod memory;
mod metrics;
mod record;
mod renewal;
mod store;
mod uses;
mod verifier;

pub use cache::KeyCache;
pub use digest::{Digester, PepperId, SecretDigest};
pub use feed::{ChangeFeed, ChangeStream, Changed, Changes, FeedPosition};
pub use follow::ChangeFollower;
pub use key::{RawKey, Secret};
pub use layer::{KeyVerify, KeyVerifyLayer};
pub use manager::{
    Actor, ExpirySweep, ImportRequest, ImportedHash, IssueRequest, IssuedKey, KeyManager,
    KeyManagerBuilder, ManageError,
};
pub use memory::MemoryKeyStore;
pub use record::{CompanyRecord, CompanyStatus, KeyRecord, KeyStatus, RevocationReason};
pub use store::{Change, EventClaim, FoundKey, HeldClaim, KeyStore, Write};
pub use uses::{KeyUse, UseReport, UseStore, UseWriter};
pub use verifier::{KeyVerifier, KeyVerifierBuilder};
