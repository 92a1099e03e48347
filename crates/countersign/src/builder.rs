//! Puts the layers in the one order in which they are right.

use std::sync::Arc;
use std::time::Duration;

use countersign_audit_sink::{AbuseLog, AuditLayer, AuditSink, SourceForm};
use countersign_company_scope::{CompanyScopeLayer, JsonPointer, OverLimit};
use countersign_core::{ConfigError, Edge, Environment, FailureMeter, Then};
use countersign_key_verify::{Digester, KeyStore, KeyVerifier, KeyVerifyLayer};
use countersign_rate_limit::{
    AbuseLayer, AbuseMonitorBuilder, LimitStore, LocalLimits, MessageLimitLayer, Policies,
    RateLimitLayer, SourceThrottle, StoreFailure,
};
use countersign_scope_guard::{Contract, ContractLayer, ScopeGuardLayer};
use http::HeaderName;

use crate::stack::Countersign;

/// A part that was not given yet. A stack can't be built while there is one.
#[derive(Debug, Clone, Copy)]
pub struct Missing;

/// Builds a [`Countersign`]. The contract, the key store, the limits and the audit log must be
/// given, and the compiler insists on it; everything else has a safe default.
///
/// ```compile_fail
/// # fn f(contract: countersign::Contract) {
/// // No key store, no limits, no audit log: there is no `build`.
/// countersign::Countersign::builder().contract(contract).build();
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Builder<C = Missing, K = Missing, L = Missing, A = Missing> {
    contract: C,
    keys: K,
    limits: L,
    audit: A,
    rest: Rest,
}

/// What has a default.
#[derive(Debug)]
struct Rest {
    edge: Edge,
    digester: Digester,
    imported: bool,
    redigest: bool,
    environment: Environment,
    bearer: bool,
    staleness_bound: Duration,
    fallback_bound: Option<Duration>,
    cached_keys: Option<usize>,
    throttle: Option<Arc<dyn FailureMeter>>,
    abuse: Option<AbuseMonitorBuilder>,
    limit_store: Option<Arc<dyn LimitStore>>,
    on_limit_failure: Option<StoreFailure>,
    message_limits: Option<Policies>,
    classic_fields: bool,
    claims: CompanyScopeLayer,
    source_form: SourceForm,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            contract: Missing,
            keys: Missing,
            limits: Missing,
            audit: Missing,
            rest: Rest {
                edge: Edge::default(),
                digester: Digester::sha256(),
                imported: false,
                redigest: false,
                environment: Environment::Live,
                bearer: true,
                staleness_bound: Duration::from_secs(5),
                fallback_bound: None,
                cached_keys: None,
                throttle: None,
                abuse: None,
                limit_store: None,
                on_limit_failure: None,
                message_limits: None,
                classic_fields: false,
                claims: CompanyScopeLayer::new(),
                source_form: SourceForm::Plain,
            },
        }
    }
}

impl<C, K, L, A> Builder<C, K, L, A> {
    /// The endpoints that outside callers may use. Everything else is refused.
    pub fn contract(self, contract: Contract) -> Builder<Contract, K, L, A> {
        Builder {
            contract,
            keys: self.keys,
            limits: self.limits,
            audit: self.audit,
            rest: self.rest,
        }
    }

    /// Where keys are kept.
    pub fn key_store(self, store: impl KeyStore) -> Builder<C, Arc<dyn KeyStore>, L, A> {
        Builder {
            contract: self.contract,
            keys: Arc::new(store),
            limits: self.limits,
            audit: self.audit,
            rest: self.rest,
        }
    }

    /// How much a key, a company or the whole platform may ask for.
    pub fn limits(self, policies: Policies) -> Builder<C, K, Policies, A> {
        Builder {
            contract: self.contract,
            keys: self.keys,
            limits: policies,
            audit: self.audit,
            rest: self.rest,
        }
    }

    /// Where every decision is written down.
    pub fn audit(self, sink: AuditSink) -> Builder<C, K, L, AuditSink> {
        Builder {
            contract: self.contract,
            keys: self.keys,
            limits: self.limits,
            audit: sink,
            rest: self.rest,
        }
    }

    /// The clock, the trusted proxies, request ids and the form of refusals.
    pub fn edge(mut self, edge: Edge) -> Self {
        self.rest.edge = edge;
        self
    }

    /// How stored secrets are checked: SHA-256 unless peppers are given here.
    pub fn digester(mut self, digester: Digester) -> Self {
        self.rest.digester = digester;
        self
    }

    /// Renews older digests when their keys are used, see
    /// [`KeyVerifierBuilder::redigest_on_use`](countersign_key_verify::KeyVerifierBuilder::redigest_on_use).
    pub fn redigest_on_use(mut self) -> Self {
        self.rest.redigest = true;
        self
    }

    /// Accepts imported keys of another system's format, see
    /// [`KeyVerifierBuilder::accept_imported_keys`](countersign_key_verify::KeyVerifierBuilder::accept_imported_keys).
    pub fn accept_imported_keys(mut self) -> Self {
        self.rest.imported = true;
        self
    }

    /// Accepts sandbox keys and refuses production keys; the default is the other way round.
    pub fn sandbox(mut self) -> Self {
        self.rest.environment = Environment::Test;
        self
    }

    /// Accepts keys in `X-Api-Key` only, not in `Authorization: Bearer`.
    pub fn without_bearer(mut self) -> Self {
        self.rest.bearer = false;
        self
    }

    /// How long a verified key is believed without asking the store again: 0 to 60 seconds, 5 by
    /// default. A revocation on another node takes effect within it, and at once where
    /// [`Countersign::follow_changes`] is in use. With 0 each request asks the store, and is the first
    /// one to the throttle of failed authentications: a source that has spent its failures waits with
    /// right keys too, see [`SourceThrottle`](crate::SourceThrottle).
    pub fn staleness_bound(mut self, bound: Duration) -> Self {
        self.rest.staleness_bound = bound;
        self
    }

    /// How long a verified key is believed while the change feed is followed and broken: at most
    /// the staleness bound, 5 seconds unless set. With a feed that works a longer staleness bound
    /// spares the store; this one says how long a revocation can go unnoticed when it doesn't.
    pub fn fallback_bound(mut self, bound: Duration) -> Self {
        self.rest.fallback_bound = Some(bound);
        self
    }

    /// How many verified keys are held in memory.
    pub fn cached_keys(mut self, keys: usize) -> Self {
        self.rest.cached_keys = Some(keys);
        self
    }

    /// Another meter of failed authentications than 100 a minute for a source and for a prefix.
    pub fn throttle(mut self, meter: impl FailureMeter) -> Self {
        self.rest.throttle = Some(Arc::new(meter));
        self
    }

    /// Notices callers who misuse the API: tells of each in the audit log, and refuses them for a
    /// while where a rule says so. The monitor has the throttle of failed authentications in it, so
    /// one that is given to the builder itself contradicts it. Off unless it is given here.
    pub fn abuse(mut self, monitor: AbuseMonitorBuilder) -> Self {
        self.rest.abuse = Some(monitor);
        self
    }

    /// Limits kept somewhere else than in this process.
    pub fn limit_store(mut self, store: impl LimitStore) -> Self {
        self.rest.limit_store = Some(Arc::new(store));
        self
    }

    /// What happens when the limit store can't be asked.
    pub fn on_limit_failure(mut self, failure: StoreFailure) -> Self {
        self.rest.on_limit_failure = Some(failure);
        self
    }

    /// How much the messages that a gRPC caller sends within its calls may ask for, on top of what
    /// the calls themselves cost. See [`MessageLimitLayer`](crate::MessageLimitLayer). The policies
    /// need other names than those of [`Builder::limits`], and have neither limits on requests at once nor
    /// functions that say what a request costs.
    pub fn limit_messages(mut self, policies: Policies) -> Self {
        self.rest.message_limits = Some(policies);
        self
    }

    /// Sends `X-RateLimit-Limit`, `-Remaining` and `-Reset` too.
    pub fn with_classic_limit_fields(mut self) -> Self {
        self.rest.classic_fields = true;
        self
    }

    /// Checks a company that a caller names in this path parameter, wherever a template of the
    /// contract has it.
    pub fn claim_path(mut self, parameter: &str) -> Self {
        self.rest.claims = self.rest.claims.claim_path(parameter);
        self
    }

    /// Checks a company that a caller names in this query parameter.
    pub fn claim_query(mut self, parameter: &str) -> Self {
        self.rest.claims = self.rest.claims.claim_query(parameter);
        self
    }

    /// Checks a company that a caller names in this header field.
    pub fn claim_header(mut self, name: HeaderName) -> Self {
        self.rest.claims = self.rest.claims.claim_header(name);
        self
    }

    /// Checks a company that a caller names at this JSON pointer (RFC 6901) in a JSON body. An array
    /// where the pointer has a name is refused as `malformed_request`. Messages of gRPC methods are
    /// not read.
    pub fn claim_json(mut self, pointer: JsonPointer) -> Self {
        self.rest.claims = self.rest.claims.claim_json(pointer);
        self
    }

    /// How much of a body is read to check claims in it, and what happens to a longer one. 0 beside
    /// [`Builder::claim_json`] is a mistake, which `build` tells.
    pub fn body_limit(mut self, bytes: usize, over: OverLimit) -> Self {
        self.rest.claims = self.rest.claims.body_limit(bytes).over_limit(over);
        self
    }

    /// How long the rest of such a body is waited for, 10 seconds unless said otherwise, and with how many
    /// others of the same company, 256 unless said otherwise; what is later is refused
    /// (`malformed_request`), and one too many is (`limit_company`).
    pub fn body_patience(mut self, time: Duration, most: usize) -> Self {
        let claims = self.rest.claims.body_timeout(time);
        self.rest.claims = claims.waiting_bodies(most);
        self
    }

    /// The form in which source addresses are written down: plain by default.
    pub fn source_form(mut self, form: SourceForm) -> Self {
        self.rest.source_form = form;
        self
    }
}

impl Builder<Contract, Arc<dyn KeyStore>, Policies, AuditSink> {
    /// The stack, as one layer.
    ///
    /// # Errors
    /// When a setting is out of its bounds or contradicts another, the limits can't count an
    /// endpoint as the contract says ([`Policies::check_all`]) or the messages of a gRPC method
    /// ([`Policies::check_messages`]), or a claim can't be found in any request that the contract has
    /// ([`CompanyScopeLayer::check_all`]).
    pub fn build(self) -> Result<Countersign, ConfigError> {
        self.limits.check_all(self.contract.endpoints())?;
        self.rest.claims.check_all(self.contract.endpoints())?;
        if let Some(messages) = &self.rest.message_limits {
            messages.check_messages(self.contract.endpoints())?;
            check_names(&self.limits, messages)?;
        }
        let mut rest = self.rest;
        let (abuse, throttle) = rest.watch(&self.audit)?;
        let edge = rest.edge;
        let verifier = KeyVerifier::builder(self.keys)
            .clock(Arc::clone(edge.clock()))
            .digester(rest.digester)
            .environment(rest.environment)
            .bearer(rest.bearer)
            .staleness_bound(rest.staleness_bound)
            .failure_meter(throttle);
        let verifier = if rest.imported {
            verifier.accept_imported_keys()
        } else {
            verifier
        };
        let verifier = if rest.redigest {
            verifier.redigest_on_use()
        } else {
            verifier
        };
        let verifier = match rest.cached_keys {
            Some(keys) => verifier.cached_keys(keys),
            None => verifier,
        };
        let verifier = match rest.fallback_bound {
            Some(bound) => verifier.fallback_bound(bound),
            None => verifier,
        }
        .build()?;
        let store = match rest.limit_store {
            Some(store) => store,
            None => Arc::new(LocalLimits::default()),
        };
        let failure = rest.on_limit_failure.unwrap_or_default();
        let messages = rest
            .message_limits
            .map(|policies| MessageLimitLayer::new(policies, Arc::clone(&store), failure))
            .transpose()?;
        let mut limits = RateLimitLayer::new(self.limits, store).on_store_failure(failure);
        if rest.classic_fields {
            limits = limits.with_classic_fields();
        }
        let audit = AuditLayer::new(self.audit.clone())
            .with_edge(edge.clone())
            .with_source_form(rest.source_form);
        let guards = Then(limits, Then(messages, audit.intent()));
        let guards = Then(rest.claims, Then(ScopeGuardLayer::new(), guards));
        let guards = Then(abuse, guards);
        let guards = Then(KeyVerifyLayer::new(verifier.clone()), guards);
        Ok(Countersign {
            layers: audit.guarding(Then(ContractLayer::new(self.contract), guards)),
            edge,
            verifier,
            sink: self.audit,
        })
    }
}

impl Rest {
    /// Puts the monitor of abuse in its places: who sees outcomes, who refuses keys, and who is
    /// asked about failed authentications.
    fn watch(
        &mut self,
        audit: &AuditSink,
    ) -> Result<(AbuseLayer, Arc<dyn FailureMeter>), ConfigError> {
        let throttle = self.throttle.take();
        let Some(abuse) = self.abuse.take() else {
            let throttle = throttle.unwrap_or_else(|| Arc::new(SourceThrottle::default()));
            return Ok((AbuseLayer::off(), throttle));
        };
        let refuse = |problem| Err(ConfigError::new("abuse monitor", problem));
        if throttle.is_some() {
            return refuse("it has the throttle in it: give it with AbuseMonitorBuilder::throttle");
        }
        if self.edge.observer().is_some() {
            return refuse("the edge has an observer already, and can have one");
        }
        let log = AbuseLog::new(audit.clone()).with_source_form(self.source_form.clone());
        let monitor = abuse.observer(log).build()?;
        self.edge = self.edge.clone().with_observer(monitor.clone());
        Ok((AbuseLayer::new(monitor.clone()), Arc::new(monitor)))
    }
}

/// Two policies of one name would draw on the same counters.
fn check_names(calls: &Policies, messages: &Policies) -> Result<(), ConfigError> {
    let mut names = messages.names();
    match names.find(|name| calls.names().any(|other| other == *name)) {
        Some(name) => Err(ConfigError::new(
            format!("policy {name}"),
            "messages and calls need policies of different names",
        )),
        None => Ok(()),
    }
}
