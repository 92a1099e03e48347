//! One entry of the external contract.

use std::collections::HashSet;
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};

use http::Method;
use serde::{Deserialize, Serialize};

use crate::Scope;

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
    scope: Option<Scope>,
    operation: OperationType,
    sensitivity: Sensitivity,
}

impl Endpoint {
    /// An endpoint that needs no scope yet; a contract refuses to be built from it until it has
    /// one. `GET`, `HEAD` and `OPTIONS` read, everything else writes, unless said otherwise.
    pub fn new(method: Method, template: impl Into<Box<str>>) -> Self {
        let reads = matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
        Self {
            operation: if reads {
                OperationType::Read
            } else {
                OperationType::Write
            },
            method,
            template: template.into(),
            scope: None,
            sensitivity: Sensitivity::Normal,
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

    /// The scope that a key needs.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
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

    /// The scope that a key needs, if one was declared.
    #[must_use]
    pub const fn required_scope(&self) -> Option<Scope> {
        self.scope
    }

    /// What calling it does.
    #[must_use]
    pub const fn operation(&self) -> OperationType {
        self.operation
    }

    /// Whether the intent must be durable before the handler runs.
    #[must_use]
    pub const fn sensitivity(&self) -> Sensitivity {
        self.sensitivity
    }
}
