//! A countersigned record of every external call.
//!
//! Two layers and a log. [`AuditLayer`] is the outermost layer of a stack: every request that
//! enters leaves exactly one outcome event, be it answered, refused, dropped by its caller or ended
//! by a panic. [`IntentLayer`] is the innermost: the intent of a call to a sensitive endpoint is on
//! disk before its handler runs. [`AuditSink`] is the log: a bounded queue, a thread that writes,
//! and an [`AuditBackend`] that keeps what is written, [`FileLog`] for one.
//!
//! A request is let in if
//!
//! 1. the log is writing, and
//! 2. the log has a place for the request's outcome, and
//! 3. no layer stands outside the audit layer.
//!
//! A call to a sensitive endpoint goes on to its handler if, further,
//!
//! 4. endpoint and caller are known by then, and
//! 5. its intent is durable.
//!
//! | refusal | HTTP | reason | when |
//! |---|---|---|---|
//! | `service_unavailable` | 503 | `audit_unavailable` | 1, 2 or 5 does not hold: no audit, no access |
//! | `internal_error` | 500 | `misconfigured_stack` | 3 or 4 does not hold |
//! | `internal_error` | 500 | `handler_panicked` | the handler, or a layer before it, panicked |
//!
//! # What the log tells
//!
//! | outcome | type `external_api.request.…` | decision |
//! |---|---|---|
//! | an answer below 500 that is no refusal | `allowed` | `allowed` |
//! | an answer of 500 and above (for gRPC: a status of such a kind; `metadata.grpc_status` has every status but 0) | `failed` | `allowed` |
//! | a refusal | by its error, see [`EventType`] | `denied` or `rate_limited` |
//! | `validation_failed` | `failed` | `allowed`: the handler ran |
//! | panic, caller gone, the service itself failed (`metadata.cause`) | `failed` | `allowed` once a caller was identified, because the handler may have run; else `denied` |
//!
//! A gRPC call is recorded when its answer is over, which for a stream may be long after its head:
//! with the status that ended it and with `metadata.messages_received` and
//! `metadata.messages_sent`. It holds its place in the log for so long. An answer that breaks off is
//! `failed` (`metadata.cause` is `answer_broke_off`), one whose caller is gone `client_disconnected`.
//!
//! An event can't hold a header's value, a raw path, a query string, a body or a credential: its
//! fields are typed, and [`AuditEvent`] is made from the request's record and in no other way. The
//! source address is written in one of three [forms](SourceForm), a user agent only as a hash.
//!
//! # What is lost, and when
//!
//! - A crash of the process or the machine takes what was not yet written: at most one tick (3 ms)
//!   and the time of one write, and never an event that somebody was told is durable. Of requests that
//!   are inside, a gRPC call whose answer is a stream for however long it is open, no outcome was
//!   written by then: what tells of them is their intent, where the endpoint is sensitive.
//! - While the log can't take events, requests are refused; they are counted, and one
//!   `external_api.audit.gap` event tells how many they were once the log is back.
//! - [`AuditWriter::shutdown`] drains, with a deadline. A gap event tells how many events are not in
//!   the log then, requests that are still inside among them, and the report does too. A log that
//!   could not even write that has no `external_api.audit.stopped` before its next
//!   `external_api.audit.started`.
//!
//! Order in the log is `seq`, not `time`: the time of a request's events is when it came in.
//!
//! # Examples
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use countersign_audit_sink::{AuditLayer, AuditSink, FileLog};
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! # let temporary = tempfile::tempdir()?;
//! # let directory = temporary.path().join("audit");
//! let (sink, writer) = AuditSink::builder(FileLog::open(directory)?).spawn()?;
//! let service = ServiceBuilder::new()
//!     .layer(AuditLayer::new(sink))
//!     .service_fn(|_: Request<()>| async {
//!         Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
//!     });
//! let response = service.oneshot(Request::new(())).await?;
//! assert!(response.headers().contains_key("x-request-id"));
//!
//! let report = writer.shutdown(Duration::from_secs(5)).await;
//! // The request, and the log's own start and stop.
//! assert_eq!((report.written, report.lost), (3, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A change of a key's state is written by whoever made it, and is durable when it resolves:
//!
//! ```
//! use countersign_audit_sink::{AuditEvent, AuditSink, MemoryBackend};
//! use countersign_core::{ActorType, EventId, LifecycleEvent, LifecycleKind, Timestamp};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let (backend, log) = MemoryBackend::new();
//! let (sink, _writer) = AuditSink::builder(backend).spawn()?;
//! let time: Timestamp = "2026-11-20T08:00:00Z".parse()?;
//! let revoked = LifecycleEvent {
//!     id: EventId::generate(time),
//!     time,
//!     kind: LifecycleKind::TokenRevoked,
//!     actor_type: ActorType::Operator,
//!     actor: "alice".to_owned(),
//!     company: "company_12".parse()?,
//!     environment: None,
//!     key_id: None,
//!     key_prefix: Some("acme_live_pBakQVyk6bW4".parse()?),
//!     reason: Some("suspected_leakage".to_owned()),
//!     linked_key: None,
//!     subsidiaries: Vec::new(),
//!     scopes: Vec::new(),
//!     ends_at: None,
//!     changed: None,
//! };
//! sink.append_durable(AuditEvent::from(revoked)).await?;
//! assert!(log.lines()[0].contains("external_api.token.revoked"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! On an axum router (`Router::layer`) the layers need the feature `axum`: refusals then have axum's
//! body, and its `ConnectInfo` is the peer's address.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod call;
#[cfg(feature = "conformance")]
pub mod conformance;
mod event;
mod fan_out;
mod future;
mod gate;
mod history;
mod intent;
mod layer;
mod log;
mod memory;
mod metrics;
mod queue;
mod record;
mod recording;
mod service;
mod sink;
mod trace;
mod writer;

pub use backend::{AuditBackend, Recovery};
pub use event::{
    AbuseLog, AgentHash, AuditEvent, AuditSource, Decision, EventType, Notice, SourceForm,
    SourceKey,
};
pub use fan_out::{FanOut, FanOutBuilder, Members};
pub use future::ResponseFuture;
pub use history::EventHistory;
pub use intent::{Intent, IntentLayer};
pub use layer::AuditLayer;
pub use log::verify::{
    CannotVerify, Finding, LogEvents, LogReport, LogVerifier, LoggedEvent, ProofFault, ProvenEvent,
    check_proof,
};
pub use log::{
    CheckpointAnchor, CheckpointSigner, EventBroker, EventProof, FileAnchor, FileLog,
    FileLogOptions, FileSigner, LogDamage, LogShipper, LogTree, ShippedEvent, prove_event,
    record_read,
};
pub use memory::{ChannelBackend, EventReceiver, MemoryBackend, MemoryLog};
pub use record::{Record, Stamp};
pub use service::Audit;
pub use sink::{AuditHealth, AuditSink, AuditSinkBuilder, AuditWriter, Durable, ShutdownReport};
pub use trace::TracingBackend;
