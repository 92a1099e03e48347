//! One entry of the external contract.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{LazyLock, Mutex, PoisonError};

use http::Method;
use serde::{Deserialize, Serialize};

use crate::{Quota, Scope};

mod required;
mod stage;

pub use required::RequiredScopes;
pub use stage::{Deprecation, Stage};

/// What calling an endpoint does; limits and audits tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationType {
    /// Reads and changes nothing.
    Read,
    /// Changes the company's data.
    Write,
    /// Manages where the platform calls the company back.
    Webhook,
    /// Manages keys and settings.
    Administration,
}

impl OperationType {
    /// Every operation type.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Webhook, Self::Administration];

    /// The name in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Webhook => "webhook",
            Self::Administration => "administration",
        }
    }
}

impl fmt::Display for OperationType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a call's intent must be durable in the audit log before the handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sensitivity {
    /// The outcome is audited.
    #[default]
    Normal,
    /// The intent is on disk before the handler runs, and the outcome is audited after it.
    Sensitive,
}

impl Sensitivity {
    /// The name in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Sensitive => "sensitive",
        }
    }
}

/// A method and route template that outside callers may use, and under which conditions.
///
/// ```
/// use countersign_core::{Endpoint, OperationType};
///
/// let create = Endpoint::post("/external/v1/payments")
///     .scope("payments:create".parse()?)
///     .sensitive();
/// assert_eq!(create.operation(), OperationType::Write);
/// # Ok::<(), countersign_core::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    method: Method,
    template: Box<str>,
    tag: u64,
    scopes: Option<RequiredScopes>,
    operation: OperationType,
    sensitivity: Sensitivity,
    stage: Stage,
    deprecation: Option<Deprecation>,
    cost: NonZeroU32,
    quota: Option<Quota>,
    is_grpc: bool,
}

impl Endpoint {
    /// An endpoint that needs no scope yet; a contract refuses to be built from it until it has
    /// one. `GET`, `HEAD` and `OPTIONS` read, everything else writes, unless said otherwise.
    pub fn new(method: Method, template: impl Into<Box<str>>) -> Self {
        let reads = matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
        let template = template.into();
        Self {
            tag: tag(&method, &template),
            operation: if reads {
                OperationType::Read
            } else {
                OperationType::Write
            },
            method,
            template,
            scopes: None,
            sensitivity: Sensitivity::Normal,
            stage: Stage::Ga,
            deprecation: None,
            cost: NonZeroU32::MIN,
            quota: None,
            is_grpc: false,
        }
    }

    /// `GET template`; serves `HEAD` too.
    pub fn get(template: impl Into<Box<str>>) -> Self {
        Self::new(Method::GET, template)
    }

    /// `POST template`.
    pub fn post(template: impl Into<Box<str>>) -> Self {
        Self::new(Method::POST, template)
    }

    /// `PUT template`.
    pub fn put(template: impl Into<Box<str>>) -> Self {
        Self::new(Method::PUT, template)
    }

    /// `PATCH template`.
    pub fn patch(template: impl Into<Box<str>>) -> Self {
        Self::new(Method::PATCH, template)
    }

    /// `DELETE template`.
    pub fn delete(template: impl Into<Box<str>>) -> Self {
        Self::new(Method::DELETE, template)
    }

    /// The gRPC method at `path`, for example `/payments.v1.Payments/CreatePayment`: `POST path`
    /// that is open to gRPC and gRPC-Web calls only. It writes, unless said otherwise.
    pub fn grpc(path: impl Into<Box<str>>) -> Self {
        Self {
            is_grpc: true,
            ..Self::post(path)
        }
    }

    /// The scope that a key needs.
    #[must_use]
    pub fn scope(self, scope: Scope) -> Self {
        self.scopes(scope)
    }

    /// The scopes that a key needs, where one is not enough or there are alternatives.
    #[must_use]
    pub fn scopes(mut self, scopes: impl Into<RequiredScopes>) -> Self {
        self.scopes = Some(scopes.into());
        self
    }

    /// Another operation type than the method suggests.
    #[must_use]
    pub fn with_operation(mut self, operation: OperationType) -> Self {
        self.operation = operation;
        self
    }

    /// The intent must be durable before the handler runs.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.sensitivity = Sensitivity::Sensitive;
        self
    }

    /// Callers may not use it yet.
    #[must_use]
    pub fn draft(mut self) -> Self {
        self.stage = Stage::Draft;
        self
    }

    /// It may still change.
    #[must_use]
    pub fn beta(mut self) -> Self {
        self.stage = Stage::Beta;
        self
    }

    /// It is on its way out, and each answer says so.
    #[must_use]
    pub fn deprecated(mut self, deprecation: Deprecation) -> Self {
        self.stage = Stage::Deprecated;
        self.deprecation = Some(deprecation);
        self
    }

    /// Callers may not use it any more. It stays in the contract so that the audit can name it.
    #[must_use]
    pub fn retired(mut self) -> Self {
        self.stage = Stage::Retired;
        self
    }

    /// A call takes this many times the units of every limit; 1 unless said otherwise. A limit that
    /// names the endpoint itself, or asks a function, has the last word.
    #[must_use]
    pub fn cost(mut self, times: NonZeroU32) -> Self {
        self.cost = times;
        self
    }

    /// A quota of its own, in place of the first one of every policy that counts by endpoint. A key's
    /// or a company's own quota goes before it.
    #[must_use]
    pub fn limit(mut self, quota: Quota) -> Self {
        self.quota = Some(quota);
        self
    }

    /// The endpoint, for as long as the process lives. Every request and every audit event names
    /// its endpoint, and a reference that needs no count is one that busy threads don't pass to
    /// and fro. Equal endpoints are kept once: contracts come from code and from files of the
    /// platform's own, so there are few.
    #[must_use]
    pub fn kept(self) -> &'static Self {
        static KEPT: LazyLock<Mutex<HashSet<&'static Endpoint>>> = LazyLock::new(Mutex::default);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(&self) {
            return known;
        }
        let endpoint: &'static Self = Box::leak(Box::new(self));
        kept.insert(endpoint);
        endpoint
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The route template, with parameters as `{name}`.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// A number for the method and the template, the same in every process and version: what is counted
    /// by endpoint needs not read the text for each request.
    #[must_use]
    #[inline]
    pub const fn tag(&self) -> u64 {
        self.tag
    }

    /// The scopes that a key needs, if any were declared.
    #[must_use]
    #[inline]
    pub const fn required_scopes(&self) -> Option<&RequiredScopes> {
        self.scopes.as_ref()
    }

    /// The scope that was declared first, if one was: the endpoint's scope in audits and limits.
    #[must_use]
    pub fn required_scope(&self) -> Option<Scope> {
        self.scopes.as_ref().map(RequiredScopes::first)
    }

    /// What calling it does.
    #[must_use]
    pub const fn operation(&self) -> OperationType {
        self.operation
    }

    /// Whether it is a gRPC method, see [`Endpoint::grpc`].
    #[must_use]
    pub const fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    /// Whether the intent must be durable before the handler runs.
    #[must_use]
    pub const fn sensitivity(&self) -> Sensitivity {
        self.sensitivity
    }

    /// Where in its life it stands.
    #[must_use]
    #[inline]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Since when it is deprecated and until when it answers; set where its stage is
    /// [`Stage::Deprecated`], and where a retired one was deprecated before.
    #[must_use]
    #[inline]
    pub const fn deprecation(&self) -> Option<&Deprecation> {
        self.deprecation.as_ref()
    }

    /// How many times the units of every limit a call takes.
    #[must_use]
    #[inline]
    pub const fn call_cost(&self) -> NonZeroU32 {
        self.cost
    }

    /// Its own quota for policies that count by endpoint.
    #[must_use]
    #[inline]
    pub const fn quota(&self) -> Option<Quota> {
        self.quota
    }
}

/// FNV-1a, with a blank between the two: endpoints come from the platform's own contract.
fn tag(method: &Method, template: &str) -> u64 {
    let bytes = [method.as_str(), " ", template]
        .into_iter()
        .flat_map(str::bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
