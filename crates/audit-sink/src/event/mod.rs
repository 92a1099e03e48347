//! One event of the audit log.

mod abuse;
mod build;
mod coalesced;
mod json;
mod kind;
mod lifecycle;
mod members;
mod notice;
mod plain;
mod source;

use std::sync::Arc;

use countersign_core::{
    ActorType, CompanyId, Endpoint, Environment, ErrorCode, EventId, KeyId, KeyPrefix,
    MetadataValue, Monotonic, OperationType, Reason, RequestId, Resource, Scope, Sensitivity,
    Timestamp, TraceId,
};
use http::StatusCode;

pub use abuse::AbuseLog;
pub(crate) use build::{Arrival, Outcome};
pub(crate) use json::MAX_LINE;
pub use kind::{Decision, EventType};
pub use notice::Notice;
pub(crate) use source::SourceGroup;
pub use source::{AgentHash, AuditSource, SourceForm, SourceKey};

/// One event of the audit log. It is made from the record of a request, from a
/// [`LifecycleEvent`](countersign_core::LifecycleEvent), from an
/// [`AbuseSignal`](countersign_core::AbuseSignal) or by the log itself, and from nothing else: no
/// field can take a header's value, a raw path, a query string, a body or a credential.
///
/// What an ordinary request has stands inline, so that making an event allocates nothing; the rest
/// is boxed. A field that does not apply is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    id: Option<EventId>,
    time: Timestamp,
    /// The reading that belongs to `time`; zero where only the calendar was read.
    monotonic: Monotonic,
    kind: EventType,
    decision: Option<Decision>,
    reason: Option<Reason>,
    status: Option<StatusCode>,
    request_id: Option<RequestId>,
    trace_id: Option<TraceId>,
    actor: ActorType,
    environment: Option<Environment>,
    key_id: Option<KeyId>,
    key_prefix: Option<KeyPrefix>,
    owner: Option<CompanyId>,
    effective: OtherCompany,
    claimed: OtherCompany,
    method: Option<&'static str>,
    endpoint: Option<&'static Endpoint>,
    source: Option<AuditSource>,
    agent: Option<AgentHash>,
    latency_us: Option<u64>,
    messages: Option<MessageCounts>,
    rare: Option<Box<Rare>>,
}

/// A company that is usually the owner, and then takes no room.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OtherCompany {
    Absent,
    Owner,
    Named(Box<CompanyId>),
}

/// How many messages of a gRPC call passed, each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MessageCounts {
    received: u32,
    sent: u32,
}

/// What few events have.
#[derive(Debug, Clone, Default, PartialEq)]
struct Rare {
    reason: Option<Box<str>>,
    required_scope: Option<Scope>,
    limit_policy: Option<Arc<str>>,
    resource: Option<Resource>,
    ours: Vec<(&'static str, Extra)>,
    handlers: Vec<(&'static str, MetadataValue)>,
}

/// A metadata value of our own. A name is an operator's: longer than a label, and never cleaned
/// to another one's name.
#[derive(Debug, Clone, PartialEq)]
enum Extra {
    Value(MetadataValue),
    Name(Box<str>),
}

/// Everything an event says, by the names that the log uses.
impl AuditEvent {
    /// The event's own id: a lifecycle event brings it along, the writer gives it to every other.
    #[must_use]
    pub const fn id(&self) -> Option<EventId> {
        self.id
    }

    /// When it happened: for a request, when it came in.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// What the event is about.
    #[must_use]
    pub const fn kind(&self) -> EventType {
        self.kind
    }

    /// How it was decided; absent for events of the log itself.
    #[must_use]
    pub const fn decision(&self) -> Option<Decision> {
        self.decision
    }

    /// Why a request was refused or failed, or why a state was changed.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let text = || self.rare.as_ref()?.reason.as_deref();
        self.reason.map(Reason::as_str).or_else(text)
    }

    /// What the caller was told.
    #[must_use]
    pub fn error(&self) -> Option<ErrorCode> {
        self.reason.map(Reason::error)
    }

    /// The HTTP status that was sent, if an answer was.
    #[must_use]
    pub const fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// The request.
    #[must_use]
    pub const fn request_id(&self) -> Option<&RequestId> {
        self.request_id.as_ref()
    }

    /// The trace that the request belongs to.
    #[must_use]
    pub const fn trace_id(&self) -> Option<TraceId> {
        self.trace_id
    }

    /// What kind of caller or operator it was.
    #[must_use]
    pub const fn actor(&self) -> ActorType {
        self.actor
    }

    /// Production or sandbox.
    #[must_use]
    pub const fn environment(&self) -> Option<Environment> {
        self.environment
    }

    /// The key's record id, where the secret was right.
    #[must_use]
    pub const fn key_id(&self) -> Option<KeyId> {
        self.key_id
    }

    /// The prefix of the key that was used or named.
    #[must_use]
    pub const fn key_prefix(&self) -> Option<&KeyPrefix> {
        self.key_prefix.as_ref()
    }

    /// The company that owns the credential, or what was changed.
    #[must_use]
    pub const fn owner_company(&self) -> Option<&CompanyId> {
        self.owner.as_ref()
    }

    /// The company whose data the request could touch.
    #[must_use]
    pub fn effective_company(&self) -> Option<&CompanyId> {
        self.other(&self.effective)
    }

    /// The company that the caller named.
    #[must_use]
    pub fn claimed_company(&self) -> Option<&CompanyId> {
        self.other(&self.claimed)
    }

    /// The request's method; `OTHER` for one that RFC 9110 and RFC 5789 don't define.
    #[must_use]
    pub const fn method(&self) -> Option<&'static str> {
        self.method
    }

    /// The route template, once the contract knew it.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.endpoint.map(Endpoint::template)
    }

    /// The scope that a key needs.
    #[must_use]
    pub fn required_scope(&self) -> Option<Scope> {
        let endpoint = || self.endpoint.as_ref()?.required_scope();
        self.rare
            .as_ref()
            .and_then(|rare| rare.required_scope)
            .or_else(endpoint)
    }

    /// What calling the endpoint does.
    #[must_use]
    pub fn operation(&self) -> Option<OperationType> {
        self.endpoint.map(Endpoint::operation)
    }

    /// Whether the endpoint is sensitive.
    #[must_use]
    pub fn sensitivity(&self) -> Option<Sensitivity> {
        self.endpoint.map(Endpoint::sensitivity)
    }

    /// The limit that refused.
    #[must_use]
    pub fn limit_policy(&self) -> Option<&str> {
        self.rare.as_ref()?.limit_policy.as_deref()
    }

    /// Where the request came from, in the form that was chosen.
    #[must_use]
    pub const fn source(&self) -> Option<AuditSource> {
        self.source
    }

    /// The hash of the caller's user agent.
    #[must_use]
    pub const fn user_agent_hash(&self) -> Option<AgentHash> {
        self.agent
    }

    /// Microseconds from the request's entry to the head of its answer; of a gRPC call, to its end.
    #[must_use]
    pub const fn latency_us(&self) -> Option<u64> {
        self.latency_us
    }

    /// What the request was about, if the handler said so.
    #[must_use]
    pub fn resource(&self) -> Option<&Resource> {
        self.rare.as_ref()?.resource.as_ref()
    }

    /// A metadata entry, as JSON.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<serde_json::Value> {
        self.as_metadata()?.get(name)
    }

    fn other<'a>(&'a self, company: &'a OtherCompany) -> Option<&'a CompanyId> {
        match company {
            OtherCompany::Absent => None,
            OtherCompany::Owner => self.owner.as_ref(),
            OtherCompany::Named(company) => Some(company),
        }
    }

    /// The reason as a metric's label: one word of a closed list, or nothing.
    #[cfg(feature = "metrics")]
    pub(crate) fn denial_reason(&self) -> &'static str {
        self.reason.map_or("", Reason::as_str)
    }

    /// Gives the event an id if it has none.
    pub(crate) fn identify(&mut self) -> EventId {
        *self.id.get_or_insert_with(|| EventId::generate(self.time))
    }

    /// Gives the event a monotonic reading if it has none.
    pub(crate) fn read_at(&mut self, monotonic: Monotonic) {
        if self.monotonic == Monotonic::default() {
            self.monotonic = monotonic;
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}
