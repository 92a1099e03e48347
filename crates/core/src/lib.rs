//! The vocabulary that the layers of countersign share.
//!
//! Each external call is challenged, placed, checked and countersigned by a stack of small Tower
//! layers. The layers never name each other: they meet in this crate. Every request carries one
//! [`AccessContext`]; each layer fills in its part once and reads the parts that were filled in
//! before it, and the audit reads the whole on the way out.
//!
//! | what | where |
//! |---|---|
//! | who a caller is | [`Identity`], [`KeyPrefix`], [`KeyId`], [`CompanyId`], [`ScopeSet`], [`Environment`] |
//! | what is called | [`Endpoint`], [`OperationType`], [`Sensitivity`], [`RequiredScopes`], [`Stage`] |
//! | what was decided | [`AccessContext`], [`Denial`], [`Reason`], [`ErrorCode`] |
//! | how a request enters | [`Edge`]: clock, trusted proxies, request ids, answer format |
//! | what is noticed of callers who misuse the API | [`AbuseSignal`], [`AbuseObserver`] |
//! | how a denial leaves | [`respond`]: JSON, RFC 9457 problem details, gRPC trailers-only |
//! | what a gRPC call is made of | [`grpc`]: its head, its messages, its status |
//!
//! A layer of your own joins the stack by using the same record:
//!
//! ```
//! use countersign_core::{CompanyId, Edge, Environment, Identity, ScopeSet};
//!
//! let edge = Edge::default();
//! let mut request = http::Request::new(());
//! let entered = edge.enter(&mut request);
//! // After your own authentication succeeded:
//! let identity = Identity::new(
//!     "company_12".parse::<CompanyId>()?,
//!     Environment::Live,
//!     ScopeSet::from_names(["accounts:read"])?,
//! );
//! entered.context(&request).identify(identity).expect("nobody identified this request before");
//! # Ok::<(), countersign_core::ParseError>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod abuse;
pub mod body;
mod broken_off;
mod clock;
mod context;
mod course;
mod denial;
mod edge;
mod ended_late;
mod endpoint;
mod error;
#[cfg(feature = "axum")]
mod extract;
pub mod grpc;
mod guard;
mod identity;
mod ids;
mod lifecycle;
mod meter;
mod notes;
mod quota;
mod reason;
mod request_id;
pub mod respond;
mod scope;
mod shared_scopes;
pub mod source;
mod standing;
#[cfg(feature = "tonic")]
mod status;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
mod text;
mod threads;
mod timestamp;
mod watch;

pub use abuse::{
    AbuseKind, AbuseObserver, AbusePenalty, AbuseReaction, AbuseSignal, AbuseSubject,
    RequestObserver,
};
pub use clock::{Clock, ManualClock, Moment, Monotonic, SystemClock};
pub use context::{
    AccessContext, AlreadySet, CompanyBinding, LimitNote, MatchedEndpoint, RateLimitFields,
};
pub use course::Course;
pub use denial::{ClaimPlace, Denial};
pub use edge::{Edge, EdgeBuilder, Entered, PeerAddr};
pub use endpoint::{Deprecation, Endpoint, OperationType, RequiredScopes, Sensitivity, Stage};
pub use error::{ConfigError, ParseError, StoreError, StoreErrorKind};
pub use guard::{Guard, Guarded, GuardedFuture, Then, Verdict, Wait, Waiting};
pub use identity::{ActorType, Identity, Subsidiaries};
pub use ids::{CompanyId, Environment, KeyId, KeyPrefix};
pub use lifecycle::{EventId, LifecycleEvent, LifecycleKind};
pub use meter::{Attempt, FailureMeter, Throttled};
pub use notes::{MetadataValue, Notes, Resource};
pub use quota::{LimitOverride, LimitOverrides, Quota};
pub use reason::{ErrorCode, Reason};
pub use request_id::{RequestId, TraceId};
pub use scope::{Scope, ScopeSet};
pub use shared_scopes::SharedScopes;
pub use standing::{Asking, CallerStanding, STANDING_PAUSE, Standing};
pub use text::is_printable;
pub use threads::thread_number;
pub use timestamp::Timestamp;
