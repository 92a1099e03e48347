//! Layered rate limits for outside callers: GCRA, all-or-nothing decisions, a local store, and a throttle for failed authentications.

mod cells;
#[cfg(feature = "conformance")]
pub mod conformance;
mod draws;
mod failure;
mod fields;
mod future;
pub mod gcra;
mod layer;
mod limiter;
mod local;
mod occasionally;
mod policies;
mod policy;
mod request;
#[cfg(any(test, feature = "conformance"))]
mod samples;
mod service;
mod store;
mod throttle;

pub use failure::StoreFailure;
pub use future::ResponseFuture;
pub use layer::RateLimitLayer;
pub use local::LocalLimits;
pub use policies::Policies;
pub use policy::{Dimension, Policy};
pub use request::{Limit, LimitKey, LimitRequest, MAX_LIMITS};
pub use service::RateLimit;
pub use store::{LimitDecision, LimitFuture, LimitOutcome, LimitStore, StoreFull};
pub use throttle::SourceThrottle;
