//! The only ways in which an event comes to be.

use std::time::Duration;

use countersign_core::{
    AccessContext, ActorType, CompanyId, Denial, Endpoint, Identity, MetadataValue, Monotonic,
    Notes, Reason, Stage, Timestamp,
};
use http::header::USER_AGENT;
use http::{Method, Request, StatusCode};

use super::kind::classify;
use super::{
    AgentHash, AuditEvent, AuditSource, Decision, EventType, Extra, MessageCounts, Notice,
    OtherCompany, SourceForm,
};

/// What only the request itself knows, read when it comes in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    method: &'static str,
    source: Option<AuditSource>,
    agent: Option<AgentHash>,
}

impl Arrival {
    pub(crate) fn of<B>(request: &Request<B>, context: &AccessContext, form: &SourceForm) -> Self {
        // Found by a walk: a look-up would hash the name.
        let mut headers = request.headers().iter();
        let agent = headers.find(|(name, _)| **name == USER_AGENT);
        Self {
            method: method_name(request.method()),
            source: context
                .source()
                .map(|source| AuditSource::new(source.address(), form)),
            agent: agent.map(|(_, value)| AgentHash::of(value.as_bytes())),
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// With an answer; `grpc` is the answer's own gRPC status, where its head has one.
    Answered {
        status: StatusCode,
        grpc: Option<u8>,
    },
    /// The inner service failed instead of answering.
    ServiceError,
    /// The answer's body failed before its end.
    BrokeOff { status: Option<StatusCode> },
    /// Nobody waited for the answer, or its end, any longer. The status, where it was sent.
    Dropped { status: Option<StatusCode> },
}

impl AuditEvent {
    /// The one event that says how a request ended.
    pub(crate) fn outcome(context: &AccessContext, arrival: Arrival, outcome: Outcome) -> Self {
        let mut event = Self::request(context, arrival);
        event.conclude(context, outcome);
        event
    }

    /// Says how the request ended that the event was made of.
    pub(crate) fn conclude(&mut self, context: &AccessContext, outcome: Outcome) {
        self.decide(context, outcome);
        let now = context.edge().clock().monotonic();
        let latency = now.duration_since(context.received().monotonic);
        self.latency_us = Some(micros(latency));
        self.add_limit(context);
        self.add_unresolved(context);
        self.add_stage();
        if let Some(notes) = context.take_notes() {
            self.add_notes(notes);
        }
    }

    /// How many messages of a call passed. A call that was refused before its handler ran has none.
    pub(crate) fn add_messages(&mut self, received: u32, sent: u32) {
        if self.reason.is_none() || received > 0 || sent > 0 {
            self.messages = Some(MessageCounts { received, sent });
        }
    }

    /// That the handler of a sensitive endpoint is about to run.
    pub(crate) fn intent(context: &AccessContext, arrival: Arrival) -> Self {
        let mut event = Self::request(context, arrival);
        event.kind = EventType::Intent;
        event.decision = Some(Decision::Allowed);
        event.add_limit(context);
        event.add_unresolved(context);
        event
    }

    /// That `count` events found no room.
    #[cfg(test)]
    pub(crate) fn gap(time: Timestamp, count: u64) -> Self {
        Self::notice(Notice::gap(count), time)
    }

    /// The event at an endpoint of its own, to make it as long as a test needs.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn at(mut self, template: String) -> Self {
        let endpoint = countersign_core::Endpoint::get(template);
        self.endpoint = Some(endpoint.kept());
        self
    }

    /// What the log has to tell of itself at `now`.
    pub(crate) fn notice(notice: Notice, now: Timestamp) -> Self {
        let mut event = Self::new(notice.kind, notice.time(now), notice.actor);
        if !notice.entries.is_empty() {
            event.rare().ours = notice.entries;
        }
        event
    }

    pub(super) fn new(kind: EventType, time: Timestamp, actor: ActorType) -> Self {
        Self {
            id: None,
            time,
            monotonic: Monotonic::default(),
            kind,
            decision: None,
            reason: None,
            status: None,
            request_id: None,
            trace_id: None,
            actor,
            environment: None,
            key_id: None,
            key_prefix: None,
            owner: None,
            effective: OtherCompany::Absent,
            claimed: OtherCompany::Absent,
            method: None,
            endpoint: None,
            source: None,
            agent: None,
            latency_us: None,
            messages: None,
            rare: None,
        }
    }

    /// What an intent and an outcome share.
    #[inline(never)]
    pub(crate) fn request(context: &AccessContext, arrival: Arrival) -> Self {
        let (key_id, key_prefix) = context.key();
        let identity = context.identity();
        let owner = context.owner();
        let other = |company: Option<&CompanyId>| match company {
            None => OtherCompany::Absent,
            Some(company) if Some(company) == owner.as_ref() => OtherCompany::Owner,
            Some(company) => OtherCompany::Named(Box::new(*company)),
        };
        // A right secret names the actor even where the key may not be used now.
        let presented = if key_id.is_some() {
            ActorType::ApiKey
        } else {
            ActorType::Anonymous
        };
        Self {
            monotonic: context.received().monotonic,
            decision: Some(Decision::Allowed),
            request_id: Some(context.request_id().clone()),
            trace_id: context.trace_id(),
            environment: identity
                .map(Identity::environment)
                .or_else(|| key_prefix.map(|prefix| prefix.environment())),
            key_id,
            key_prefix,
            effective: other(context.effective_company()),
            claimed: other(context.claimed_company()),
            owner,
            method: Some(arrival.method),
            endpoint: context.endpoint(),
            source: arrival.source,
            agent: arrival.agent,
            ..Self::new(
                EventType::Allowed,
                context.received().wall,
                identity.map_or(presented, Identity::actor),
            )
        }
    }

    fn decide(&mut self, context: &AccessContext, outcome: Outcome) {
        self.status = match outcome {
            Outcome::Answered { status, .. } => Some(status),
            Outcome::BrokeOff { status } | Outcome::Dropped { status } => status,
            Outcome::ServiceError => None,
        };
        if matches!(outcome, Outcome::Dropped { .. }) && context.denial().is_none() {
            context.deny(Reason::ClientDisconnected.into());
        }
        let identified = context.identity().is_some();
        match (context.denial(), outcome) {
            // A layer's reason stands whatever happened to the answer afterwards.
            (Some(denial), _) => {
                self.refused(denial, identified);
                if context.is_broken_off() {
                    self.add("broken_off", MetadataValue::Bool(true));
                }
                self.add_grpc_status(outcome);
            }
            (None, Outcome::Answered { status, grpc }) => {
                self.answered(status, grpc);
                self.add_grpc_status(outcome);
            }
            (None, Outcome::BrokeOff { .. }) => self.failed("answer_broke_off", identified),
            (None, Outcome::ServiceError | Outcome::Dropped { .. }) => {
                self.failed("service_error", identified);
            }
        }
    }

    fn refused(&mut self, denial: &Denial, identified: bool) {
        let (kind, decision) = classify(denial, identified);
        (self.kind, self.decision) = (kind, Some(decision));
        self.reason = Some(denial.reason());
        if self.endpoint.is_none() && denial.required_scope().is_some() {
            self.rare().required_scope = denial.required_scope();
        }
        if let Some(place) = denial.claim() {
            self.add("where", MetadataValue::label(place.as_str()));
        }
    }

    fn answered(&mut self, status: StatusCode, grpc: Option<u8>) {
        let is_fault = grpc.is_some_and(|code| GRPC_FAULTS.contains(&code));
        if status.is_server_error() || is_fault {
            self.kind = EventType::Failed;
        }
    }

    fn add_grpc_status(&mut self, outcome: Outcome) {
        if let Outcome::Answered {
            grpc: Some(code @ 1..),
            ..
        } = outcome
        {
            self.add("grpc_status", MetadataValue::Integer(code.into()));
        }
    }

    fn failed(&mut self, cause: &'static str, identified: bool) {
        self.kind = EventType::Failed;
        if !identified {
            self.decision = Some(Decision::Denied);
        }
        self.add("cause", MetadataValue::label(cause));
    }

    fn add_limit(&mut self, context: &AccessContext) {
        let Some(note) = context.limit() else { return };
        if let Some(policy) = &note.policy {
            self.rare().limit_policy = Some(policy.clone());
        }
        if note.fallback {
            self.add("limit_fallback", MetadataValue::Bool(true));
        }
    }

    /// That the source is the last proxy that is trusted, because what it said of the caller can't be read.
    fn add_unresolved(&mut self, context: &AccessContext) {
        if context.source().is_some_and(|source| !source.is_resolved()) {
            self.add("source_unresolved", MetadataValue::Bool(true));
        }
    }

    /// Where in its life the endpoint stands, unless it is generally available: who still calls
    /// what is on its way out is asked of the log.
    fn add_stage(&mut self) {
        let stage = self.endpoint.map_or(Stage::Ga, Endpoint::stage);
        if stage != Stage::Ga {
            self.add("stage", MetadataValue::label(stage.as_str()));
        }
    }

    fn add_notes(&mut self, notes: Notes) {
        let rare = self.rare();
        rare.handlers = notes.metadata().to_vec();
        rare.resource = notes.resource;
    }

    fn add(&mut self, name: &'static str, value: MetadataValue) {
        self.rare().ours.push((name, Extra::Value(value)));
    }
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        // A method of the caller's own making is the caller's text.
        _ => "OTHER",
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The gRPC statuses that are 5xx by nature: unknown, deadline exceeded, unimplemented, internal,
/// unavailable, data loss.
const GRPC_FAULTS: [u8; 6] = [2, 4, 12, 13, 14, 15];
