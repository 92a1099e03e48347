#![cfg_attr(feature = "sqlite", doc = include_str!("../README.md"))]
//!
//! # One layer, in the one order
//!
//! [`Countersign`] puts the layers in this order, and each may be used alone:
//!
//! 1. audit: an event for every decision, [`AuditLayer`]
//! 2. contract: is this endpoint open at all, [`ContractLayer`]
//! 3. source throttle and key: who is calling, [`KeyVerifyLayer`] with [`SourceThrottle`]
//! 4. abuse: is the key kept away for a while, [`AbuseLayer`], where there is a monitor
//! 5. company: whose data, [`CompanyScopeLayer`]
//! 6. scope: may they, [`ScopeGuardLayer`]
//! 7. limits: how much, [`RateLimitLayer`], and [`MessageLimitLayer`] for messages of gRPC calls
//! 8. intent: of a sensitive call, on disk before the handler runs, [`IntentLayer`]
//!
//! A layer that misses what an earlier one should have found out refuses every request with 500
//! `internal_error`, and one log line says which layer misses what. Put together by hand, a layer
//! that no other one needs can be left out without anybody noticing: audit, company, scope, limits
//! or intent. The builder leaves none out, and there is no stack without the parts that it asks for.

#[cfg(doctest)]
#[doc = include_str!("../../../docs/contract.md")]
struct ContractGuide;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/abuse.md")]
struct AbuseGuide;

mod abuse;
mod builder;
#[cfg(doctest)]
mod incomplete;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod locator;
mod outbox;
#[cfg(feature = "self-service")]
mod self_service;
mod stack;
mod stuck;

pub use abuse::AbuseSuspender;
pub use builder::{Builder, Missing};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use locator::StoreLocator;
pub use outbox::OutboxDrain;
#[cfg(feature = "self-service")]
pub use self_service::SelfService;
pub use stack::{Countersign, CountersignService};

pub use countersign_audit_sink::{
    AbuseLog, AuditBackend, AuditEvent, AuditHealth, AuditLayer, AuditSink, AuditWriter,
    CannotVerify, ChannelBackend, CheckpointAnchor, CheckpointSigner, Decision, EventBroker,
    EventHistory, EventProof, EventReceiver, EventType, FanOut, FanOutBuilder, FileAnchor, FileLog,
    FileLogOptions, FileSigner, Finding, IntentLayer, LogDamage, LogEvents, LogReport, LogShipper,
    LogTree, LogVerifier, LoggedEvent, Members, MemoryBackend, MemoryLog, Notice, ProofFault,
    ProvenEvent, Record, Recovery, ShippedEvent, ShutdownReport, SourceForm, SourceKey, Stamp,
    TracingBackend, check_proof, prove_event, record_read,
};
#[cfg(any(feature = "axum", feature = "tonic"))]
pub use countersign_company_scope::VerifiedKey;
pub use countersign_company_scope::{
    CompanyScope, CompanyScopeLayer, JsonPointer, OverLimit, Owned,
};
#[cfg(feature = "job")]
pub use countersign_company_scope::{Job, JobError, JobKeys, JobSealer, ScopedJob};
#[cfg(feature = "test-util")]
pub use countersign_core::testing;
pub use countersign_core::{
    AbuseKind, AbuseObserver, AbusePenalty, AbuseReaction, AbuseSignal, AbuseSubject,
    AccessContext, ActorType, Asking, Attempt, CallerStanding, ClaimPlace, Clock, CompanyId,
    ConfigError, Denial, Deprecation, Edge, EdgeBuilder, Endpoint, Environment, ErrorCode, EventId,
    FailureMeter, Identity, KeyId, KeyPrefix, LifecycleEvent, LifecycleKind, LimitOverride,
    LimitOverrides, ManualClock, MetadataValue, Moment, Monotonic, Notes, OperationType,
    ParseError, PeerAddr, Quota, Reason, RequestId, RequestObserver, RequiredScopes, Resource,
    Scope, ScopeSet, Sensitivity, Stage, Standing, StoreError, StoreErrorKind, Subsidiaries,
    SystemClock, Throttled, Timestamp, TraceId,
};
pub use countersign_core::{body, grpc, respond, source};
pub use countersign_key_verify::{
    Actor, Change, ChangeFeed, ChangeFollower, ChangeStream, Changed, Changes, CompanyRecord,
    CompanyStatus, Digester, EventClaim, ExpirySweep, FeedPosition, FoundKey, HeldClaim,
    ImportRequest, ImportedHash, IssueRequest, IssuedKey, KeyCache, KeyManager, KeyManagerBuilder,
    KeyRecord, KeyStatus, KeyStore, KeyUse, KeyVerifier, KeyVerifyLayer, ManageError,
    MemoryKeyStore, PepperId, RawKey, RevocationReason, SecretDigest, UseReport, UseStore,
    UseWriter, Write,
};
/// A test that looks for leaks between companies.
#[cfg(feature = "leak-test")]
pub use countersign_leak_test as leak_test;
/// The key store that several machines share.
#[cfg(feature = "postgres")]
pub use countersign_postgres as postgres;
pub use countersign_rate_limit::{
    AbuseLayer, AbuseMonitor, AbuseMonitorBuilder, AbusePenalties, AbuseRule, AbuseRules, Call,
    Concurrency, Dimension, Limit, LimitDecision, LimitFuture, LimitKey, LimitOutcome,
    LimitRequest, LimitStore, LocalLimits, MAX_LIMITS, MessageLimitLayer, Policies, Policy,
    RateLimitLayer, SourceThrottle, StoreFailure, StoreFull, gcra,
};
/// Limits that a fleet keeps together.
#[cfg(feature = "redis")]
pub use countersign_redis as redis;
/// The contract from an `OpenAPI` document, and back.
#[cfg(feature = "openapi")]
pub use countersign_scope_guard::openapi;
#[cfg(all(feature = "axum", feature = "test-util"))]
pub use countersign_scope_guard::routes;
pub use countersign_scope_guard::{
    ACCESS_PROTO, Contract, ContractBuilder, ContractLayer, ScopeGuardLayer, ScopeRegistry,
    UnknownScope,
};
/// The embedded key store.
#[cfg(feature = "sqlite")]
pub use countersign_sqlite as sqlite;

/// The guides' examples run too.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/limits.md")]
mod guides {}
