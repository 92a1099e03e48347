//! Layered rate limits for outside callers: GCRA, all-or-nothing decisions, a local store, a throttle
//! for failed authentications, and a monitor of abuse.
//!
//! [`RateLimitLayer`] lets a request on if
//! 1. earlier layers found out what its policies count by: the endpoint, the caller, the key, and
//! 2. every limit on requests at once that applies to it ([`Concurrency`]) has a place, and
//! 3. every policy that applies to it has the units that it costs. Then all of them are taken. If
//!    one policy refuses, none is taken from any, and the places are free again.
//!
//! | refusal | answer | audit reason |
//! |---|---|---|
//! | a policy has too few units left, or a limit on requests at once no place | 429 `rate_limit_exceeded` | `limit_key` `limit_company` `limit_endpoint` `limit_scope` `limit_operation` `limit_platform`, `source_throttled` by source |
//! | the request costs more than a policy's quota holds | 400 `invalid_request` | `malformed_request` |
//! | the store failed and a policy is set to fail closed, or the store is full | 503 `service_unavailable` | `limit_store_unavailable` |
//! | a layer is missing outside this one, the caller has no key and a policy counts by key, or the request has no peer address and one counts by source | 500 `internal_error` | `misconfigured_stack` |
//! | too many failed authentications ([`SourceThrottle`], asked by the layer that verifies) | 429 `rate_limit_exceeded` | `source_throttled` |
//! | a rule against abuse keeps the key away ([`AbuseLayer`]), or the source ([`AbuseMonitor`] as the failure meter) | 429 `rate_limit_exceeded` | `abuse_denied` |
//!
//! [`MessageLimitLayer`] asks the same of each message that a gRPC caller sends, when it comes.
//!
//! The layer stands behind those that find the endpoint and verify the caller. Here one stands in
//! for both:
//!
//! ```
//! use bytes::Bytes;
//! use countersign_core::{AccessContext, Edge, Environment, Identity, Quota, ScopeSet};
//! use countersign_rate_limit::{Dimension, LocalLimits, Policies, Policy, RateLimitLayer};
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policies = Policies::new([
//!     Policy::new("company", Dimension::Company, Quota::per_minute(2, 60)),
//! ])?;
//! let scopes = ScopeSet::from_names(["accounts:read"])?;
//! let identity = Identity::new("company_12".parse()?, Environment::Live, scopes);
//! let service = ServiceBuilder::new()
//!     .map_request(move |mut request: Request<Full<Bytes>>| {
//!         let entered = Edge::default().enter(&mut request);
//!         let context = entered.context(&request);
//!         context.identify(identity.clone()).expect("nobody else identifies callers here");
//!         request
//!     })
//!     .layer(RateLimitLayer::new(policies, LocalLimits::new()))
//!     .service(service_fn(|_: Request<Full<Bytes>>| async {
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//!     }));
//!
//! let ask = || service.clone().oneshot(Request::new(Full::default()));
//! let answer = ask().await?;
//! assert_eq!(answer.headers()["ratelimit-policy"], "\"company\";q=2;w=2");
//! assert_eq!(answer.headers()["ratelimit"], "\"company\";r=1;t=1");
//! assert_eq!(ask().await?.status(), 200);
//! let answer = ask().await?;
//! assert_eq!(answer.status(), 429);
//! assert_eq!(answer.headers()["retry-after"], "1");
//! # Ok(())
//! # }
//! ```
//!
//! On an axum router (`Router::layer`) the layers need the feature `axum`: refusals then have axum's
//! body, and its `ConnectInfo` is the peer's address.
//!
//! # What callers see
//! Allowed and limited responses alike carry `RateLimit-Policy` and `RateLimit`, as
//! draft-ietf-httpapi-ratelimit-headers-10 has them: a structured list (RFC 9651) with one member
//! for each quota of the caller's own, `"key";q=200;w=4` and `"key";r=42;t=4`. `q` is how many
//! units can be taken at once, `w` the seconds in which a spent quota refills, `r` what is left and
//! `t` the seconds until the quota is whole. Policies by source and for the platform are never shown.
//! With [`RateLimitLayer::with_classic_fields`], `X-RateLimit-*` come as well. Fields that the
//! handler set under these names are replaced; all others stay.
//!
//! A refusal names the policy in `details`, and has `Retry-After`: the longest wait of all policies
//! that refused, rounded up, so that one retry is enough. It is at least 1, because a client that is
//! told 0, which is what a fraction of a second cut down would be, comes back at once, and all
//! refused clients come back together. A request that costs more than a quota holds is told nothing
//! to wait for: it is a 400.
//!
//! # Policies
//! A [`Policy`] is data, checked by [`Policies::new`]: what it counts by, one quota or several that
//! hold together ([`Policy::and`]), what a request costs ([`Policy::cost_of`], [`Policy::cost_by`]),
//! and under the same name another quota for an operation type, counted apart
//! ([`Policy::for_operation`]).
//!
//! A company or a key can have quotas of its own: [`Policies::for_company`], [`Policies::for_key`],
//! and in the key's record ([`LimitOverrides`](countersign_core::LimitOverrides)). The nearest
//! counts: the record, then the key's, then the company's. An override for `key` replaces the quota
//! of `key` except where the policy has another one for the request's operation type; that one is
//! replaced by an override for `key:write`. So nobody who gives a partner more reads gives it more
//! payments by the way.
//!
//! # Stores
//! [`LocalLimits`] keeps counters in this process: exact, without a server, and without an await or
//! an allocation for a caller that is known. A key with a limit of its own, its company's and an
//! endpoint's takes at most 117 bytes while it counts, and nothing once its quotas are whole. A
//! store that several processes share implements [`LimitStore`] and passes the `conformance` suite.
//! While such a store is down, [`StoreFailure`] says what happens: local counters with half of each
//! quota, unless set otherwise. The audit sees it.
//!
//! # Failed authentications
//! [`SourceThrottle`] counts failures by source and by key prefix, for the layer that verifies:
//!
//! ```
//! use countersign_core::source::SourceBucket;
//! use countersign_core::{Attempt, FailureMeter, Monotonic, Quota};
//! use countersign_rate_limit::SourceThrottle;
//!
//! let throttle = SourceThrottle::new().with_source_quota(Quota::per_minute(2, 2)?);
//! let attempt = Attempt {
//!     source: SourceBucket::of("203.0.113.9".parse()?),
//!     prefix: None,
//!     at: Monotonic::from_nanos(0),
//! };
//! assert!(throttle.record_failure(&attempt).is_ok());
//! assert!(throttle.record_failure(&attempt).is_ok());
//! let wait = throttle.record_failure(&attempt).unwrap_err();
//! assert_eq!(wait.retry_after.as_secs(), 30);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A source is one IPv4 address or one IPv6 /64. Many callers behind one address (NAT) share its
//! count, but only failures count: well-behaved neighbours never meet the throttle, and a caller
//! whose key is known already isn't asked, whatever its neighbours do.
//!
//! # Abuse
//! [`AbuseMonitor`] watches outcomes. It gives a typed signal when a rule is met: failed
//! authentications by source and by prefix, denials of scopes and companies, unknown endpoints,
//! `Retry-After` that is ignored, a key that wakes up after long, comes from a new network, or is
//! used far more than usual. A rule tells only, refuses its subject for a while that doubles each
//! time (`abuse_denied`), or asks for the key's suspension.
//!
//! ```
//! use std::time::Duration;
//!
//! use countersign_core::{AbuseKind, AbuseReaction, Edge};
//! use countersign_rate_limit::{AbuseLayer, AbuseMonitor, AbuseRule, AbuseRules};
//!
//! let minute = Duration::from_secs(60);
//! let strict = AbuseRule::new(3, 10 * minute).react(AbuseReaction::Suspend);
//! let monitor = AbuseMonitor::builder()
//!     .rules(AbuseRules::default().with(AbuseKind::CompanyBoundaryDenials, strict))
//!     .allow_network("198.51.100.0/24".parse()?)
//!     .build()?;
//! // It sees outcomes as the edge's observer, refuses keys by its layer, and sources as the
//! // failure meter of the layer that verifies. The facade's builder does all three.
//! let edge = Edge::default().with_observer(monitor.clone());
//! let layer = AbuseLayer::new(monitor).with_edge(edge);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod abuse;
mod cells;
mod concurrency;
#[cfg(feature = "conformance")]
pub mod conformance;
mod cost;
mod dimension;
mod draws;
mod failure;
mod fields;
pub mod gcra;
mod in_flight;
mod layer;
mod limiter;
mod local;
mod messages;
mod occasionally;
mod policies;
mod policy;
mod request;
#[cfg(any(test, feature = "conformance"))]
mod samples;
mod sources;
mod store;
mod throttle;

pub use abuse::{
    Abuse, AbuseLayer, AbuseMonitor, AbuseMonitorBuilder, AbusePenalties, AbuseRule, AbuseRules,
};
pub use concurrency::Concurrency;
pub use cost::{Call, Costs};
pub use dimension::Dimension;
pub use failure::StoreFailure;
pub use layer::{RateLimit, RateLimitLayer};
pub use local::LocalLimits;
pub use messages::{MessageLimit, MessageLimitLayer};
pub use policies::Policies;
pub use policy::Policy;
pub use request::{Limit, LimitKey, LimitRequest, MAX_LIMITS};
pub use store::{LimitDecision, LimitFuture, LimitOutcome, LimitStore, StoreFull};
pub use throttle::SourceThrottle;
