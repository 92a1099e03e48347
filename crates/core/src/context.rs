//! The record that one request carries through the stack.

mod answer;
mod parts;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use http::header::ALLOW;
use http::{HeaderValue, Request, Response};

use self::answer::ForAnswer;
pub use self::parts::{AlreadySet, CompanyBinding, LimitNote, MatchedEndpoint, RateLimitFields};
pub(crate) use self::parts::{Held, Place, PlaceSlot, PresentedKey};
use crate::body::DenialBody;
use crate::denial::ClaimPlace;
use crate::edge::Near;
use crate::respond::{self, Format};
use crate::source::Source;
use crate::{
    CallerStanding, CompanyId, Denial, Edge, Endpoint, Identity, KeyId, KeyPrefix, Moment, Notes,
    Reason, RequestId, TraceId,
};

/// What is known of one request so far. The first layer of the stack makes it and puts it into
/// the request's extensions; each layer fills in its part once and reads the earlier parts. A
/// clone is a handle to the same record.
#[derive(Debug, Clone)]
pub struct AccessContext(Arc<Record>);

#[derive(Debug)]
pub(crate) struct Record {
    edge: Arc<Near>,
    received: Moment,
    request_id: RequestId,
    trace_id: Option<TraceId>,
    format: Format,
    source: Option<Source>,
    endpoint: OnceLock<MatchedEndpoint>,
    presented: OnceLock<Box<PresentedKey>>,
    identity: OnceLock<Identity>,
    standing: OnceLock<Arc<dyn CallerStanding>>,
    company: PlaceSlot,
    claimed: OnceLock<Box<CompanyId>>,
    limit: OnceLock<LimitNote>,
    counted_blindly: AtomicBool,
    /// Its body may still be on its way when its caller is verified.
    awaits_body: AtomicBool,
    broken_off: AtomicBool,
    messages_received: AtomicU32,
    denial: OnceLock<Denial>,
    notes: OnceLock<Box<Mutex<Notes>>>,
    answer: Mutex<ForAnswer>,
}

impl AccessContext {
    pub(crate) fn new(record: Record) -> Self {
        Self(Arc::new(record))
    }

    /// The record of `request`, if a layer of the stack has seen it.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<&Self> {
        request.extensions().get()
    }

    /// When the request came in.
    #[must_use]
    pub fn received(&self) -> Moment {
        self.0.received
    }

    /// The request's id.
    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        &self.0.request_id
    }

    /// The trace that the request belongs to, if it said so.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        self.0.trace_id
    }

    /// The form in which the caller wants a refusal.
    #[must_use]
    pub fn format(&self) -> Format {
        self.0.format
    }

    /// Where the request came from; `None` when nobody put a peer address into its extensions.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        self.0.source
    }

    /// The edge that the request came in by.
    #[must_use]
    pub fn edge(&self) -> &Edge {
        &self.0.edge.0
    }

    /// The contract's entry for the request, once it was found.
    #[must_use]
    pub fn endpoint(&self) -> Option<&'static Endpoint> {
        self.0.endpoint.get().map(|matched| matched.endpoint)
    }

    /// The contract's entry and the target it was found for.
    #[must_use]
    pub fn matched(&self) -> Option<&MatchedEndpoint> {
        self.0.endpoint.get()
    }

    /// Fills in the contract's entry.
    ///
    /// # Errors
    /// When a contract did so before.
    pub fn match_endpoint(&self, matched: MatchedEndpoint) -> Result<(), AlreadySet> {
        self.0.endpoint.set(matched).map_err(|_| AlreadySet)
    }

    /// The verified caller, once there is one.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.0.identity.get()
    }

    /// Fills in the verified caller.
    ///
    /// # Errors
    /// When the caller was identified before.
    pub fn identify(&self, identity: Identity) -> Result<(), AlreadySet> {
        self.0.identity.set(identity).map_err(|_| AlreadySet)
    }

    /// Fills in a copy of the verified caller, made where it stays: a caller's record is too large
    /// to be handed from call to call.
    ///
    /// # Errors
    /// When the caller was identified before.
    pub fn identify_as(&self, identity: &Identity) -> Result<(), AlreadySet> {
        let mut is_first = false;
        self.0.identity.get_or_init(|| {
            is_first = true;
            identity.clone()
        });
        is_first.then_some(()).ok_or(AlreadySet)
    }

    /// Takes down the key that a refused caller named, for the audit. `owner` only where the
    /// secret was right.
    pub fn present_key(&self, prefix: KeyPrefix, owner: Option<(KeyId, CompanyId)>) {
        // The first credential that was looked at is the one that was refused.
        let _ = self
            .0
            .presented
            .set(Box::new(PresentedKey { prefix, owner }));
    }

    /// The key that was used or named: the verified one, else the one that was refused.
    #[must_use]
    pub fn key(&self) -> (Option<KeyId>, Option<KeyPrefix>) {
        match (self.identity(), self.0.presented.get()) {
            (Some(identity), _) => (identity.key_id(), identity.key_prefix().copied()),
            (None, Some(key)) => (key.owner.map(|(id, _)| id), Some(key.prefix)),
            (None, None) => (None, None),
        }
    }

    /// The company that owns the credential, where its secret was right.
    #[must_use]
    pub fn owner(&self) -> Option<CompanyId> {
        let presented = || self.0.presented.get()?.owner.map(|(_, company)| company);
        let verified = self.identity().map(Identity::company).copied();
        verified.or_else(presented)
    }

    /// Whose data the request may touch, once that is decided.
    #[must_use]
    pub fn company(&self) -> Option<CompanyBinding> {
        match self.0.company.get()? {
            Place::Owners => {
                let owner = *self.identity()?.company();
                let effective = owner;
                Some(CompanyBinding { owner, effective })
            }
            Place::Bound(binding) => Some(*binding),
        }
    }

    /// The company whose data the request works on, once that is decided.
    #[must_use]
    pub fn effective_company(&self) -> Option<&CompanyId> {
        match self.0.company.get()? {
            Place::Owners => self.identity().map(Identity::company),
            Place::Bound(binding) => Some(&binding.effective),
        }
    }

    /// Decides whose data the request may touch.
    ///
    /// # Errors
    /// When that was decided before.
    pub fn bind_company(&self, binding: CompanyBinding) -> Result<(), AlreadySet> {
        self.0.company.set_bound(binding)
    }

    /// Decides that the request may touch its verified caller's own data, and no other. Without a
    /// verified caller that is nothing.
    ///
    /// # Errors
    /// When it was decided before whose data the request may touch.
    pub fn bind_owner(&self) -> Result<(), AlreadySet> {
        self.0.company.set_owners()
    }

    /// The company that the caller named, if it named one.
    #[must_use]
    pub fn claimed_company(&self) -> Option<&CompanyId> {
        self.0.claimed.get().map(|company| &**company)
    }

    /// Takes down the company that the caller named. The first claim stays.
    pub fn claim_company(&self, company: CompanyId) {
        let _ = self.0.claimed.set(Box::new(company));
    }

    /// Which limit spoke, if one did.
    #[must_use]
    pub fn limit(&self) -> Option<&LimitNote> {
        self.0.limit.get()
    }

    /// Takes down which limit spoke. The first note stays.
    pub fn note_limit(&self, note: LimitNote) {
        let _ = self.0.limit.set(note);
    }

    /// Why the request is refused, if it is.
    #[must_use]
    pub fn denial(&self) -> Option<&Denial> {
        self.0.denial.get()
    }

    /// Takes down why the request is refused. The first reason stays.
    pub fn deny(&self, denial: Denial) {
        tracing::debug!(
            target: "countersign",
            request_id = %self.0.request_id,
            reason = denial.reason().as_str(),
            error = denial.error().as_str(),
            route = self.endpoint().map(|e| e.template()),
            "request refused"
        );
        let _ = self.0.denial.set(denial);
    }

    /// Takes down why the request is refused, and makes the answer that says so.
    #[must_use]
    pub fn refuse<B: DenialBody>(&self, denial: Denial) -> Response<B> {
        let style = self.edge().style();
        let mut response = respond::render(&denial, &self.0.request_id, self.0.format, style);
        if denial.reason().is_of_the_contract() && !self.0.format.is_grpc() {
            // A router adds the methods of a route that it has to an answer that names none, and would
            // tell which internal routes there are. None is open here (RFC 9110, section 10.2.1).
            let none = HeaderValue::from_static("");
            response.headers_mut().insert(ALLOW, none);
        }
        self.deny(denial);
        response
    }

    /// A refusal because `layer` misses what an earlier layer should have filled in; one loud log
    /// line says so.
    #[must_use]
    pub fn misconfigured(&self, layer: &'static str, missing: &'static str) -> Denial {
        tracing::error!(
            target: "countersign",
            request_id = %self.0.request_id,
            layer,
            missing,
            "misconfigured stack: every request is refused until the layers are put in order"
        );
        Denial::new(Reason::MisconfiguredStack)
    }

    /// Takes down that the request was refused while it was under way, its handler perhaps at work: its
    /// body breaks off, or its answer does.
    pub fn break_off(&self, denial: Denial) {
        self.deny(denial);
        self.0.broken_off.store(true, Ordering::Relaxed);
    }

    /// Whether [`AccessContext::break_off`] was called.
    #[must_use]
    pub fn is_broken_off(&self) -> bool {
        self.0.broken_off.load(Ordering::Relaxed)
    }

    /// Takes down that a body is still on its way, where the head did not tell.
    pub fn await_body(&self) {
        self.0.awaits_body.store(true, Ordering::Relaxed);
    }

    /// Whether the request may take long to come in: it is a gRPC call, or it has a body, by its head or
    /// by whoever called [`AccessContext::await_body`]. Its caller may fall meanwhile, see
    /// [`AccessContext::stand_on`].
    #[must_use]
    pub fn may_take_long(&self) -> bool {
        self.0.format.is_grpc() || self.0.awaits_body.load(Ordering::Relaxed)
    }

    /// Takes down that the request drew on limits while nobody knew its endpoint, so that what the
    /// contract says of its cost, its quota and its kind of operation had no part in it.
    pub fn count_blindly(&self) {
        self.0.counted_blindly.store(true, Ordering::Relaxed);
    }

    /// Whether [`AccessContext::count_blindly`] was called: then no contract may come any more.
    #[must_use]
    pub fn is_counted_blindly(&self) -> bool {
        self.0.counted_blindly.load(Ordering::Relaxed)
    }

    /// Takes down that `count` more messages of the call's request have begun to pass.
    pub fn count_messages_received(&self, count: u32) {
        self.0.messages_received.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes down that `count` messages of those that were counted as received do not pass after all.
    pub fn withhold_messages(&self, count: u32) {
        let fewer = |counted: u32| Some(counted.saturating_sub(count));
        let _ = self
            .0
            .messages_received
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
    }

    /// How many messages of a gRPC call's request have begun to pass, where somebody counts them.
    #[must_use]
    pub fn messages_received(&self) -> u32 {
        self.0.messages_received.load(Ordering::Relaxed)
    }

    /// The place of the claim that was refused, if that is why.
    #[must_use]
    pub fn refused_claim(&self) -> Option<ClaimPlace> {
        self.denial().and_then(Denial::claim)
    }

    pub(crate) fn standing_slot(&self) -> &OnceLock<Arc<dyn CallerStanding>> {
        &self.0.standing
    }
}

impl Record {
    pub(crate) fn new(
        edge: Arc<Near>,
        received: Moment,
        request_id: RequestId,
        trace_id: Option<TraceId>,
        format: Format,
        source: Option<Source>,
        awaits_body: bool,
    ) -> Self {
        Self {
            edge,
            received,
            request_id,
            trace_id,
            format,
            source,
            endpoint: OnceLock::new(),
            presented: OnceLock::new(),
            identity: OnceLock::new(),
            standing: OnceLock::new(),
            company: PlaceSlot::default(),
            claimed: OnceLock::new(),
            limit: OnceLock::new(),
            counted_blindly: AtomicBool::new(false),
            awaits_body: AtomicBool::new(awaits_body),
            broken_off: AtomicBool::new(false),
            messages_received: AtomicU32::new(0),
            denial: OnceLock::new(),
            notes: OnceLock::new(),
            answer: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests;
