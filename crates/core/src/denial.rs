//! A refusal, before it is a response.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{ErrorCode, Reason, Scope};

/// Where a caller's claim about a company stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimPlace {
    /// A path parameter.
    Path,
    /// A query parameter.
    Query,
    /// A header field.
    Header,
    /// A member of a JSON body.
    Body,
}

impl ClaimPlace {
    /// Every place.
    pub(crate) const ALL: &[Self] = &[Self::Path, Self::Query, Self::Header, Self::Body];

    /// The name in answers and in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Body => "body",
        }
    }
}

/// Why a request is refused. A layer records it in the
/// [`AccessContext`](crate::AccessContext) and answers with it; a handler returns it as an error.
///
/// ```
/// use countersign_core::{Denial, Reason};
///
/// let denial = Denial::validation("The amount must be greater than zero.")
///     .with_detail("field", "amount.value");
/// assert_eq!(denial.reason(), Reason::ValidationFailed);
/// assert_eq!(denial.error().status(), 422);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Denial {
    reason: Reason,
    message: Option<Cow<'static, str>>,
    required_scope: Option<Scope>,
    claim: Option<ClaimPlace>,
    retry_after: Option<Duration>,
    details: Option<Box<Map<String, Value>>>,
}

impl Denial {
    /// A refusal for `reason`, with the reason's own sentence.
    #[must_use]
    pub const fn new(reason: Reason) -> Self {
        Self {
            reason,
            message: None,
            required_scope: None,
            claim: None,
            retry_after: None,
            details: None,
        }
    }

    /// A handler's refusal of what was sent: 422 `validation_failed`. `message` goes to the caller.
    pub fn validation(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: Some(message.into()),
            ..Self::new(Reason::ValidationFailed)
        }
    }

    /// A handler's answer for a resource that is not the caller's or does not exist: 404
    /// `resource_not_found`, the same for both.
    #[must_use]
    pub const fn not_found() -> Self {
        Self::new(Reason::ResourceOutsideCompany)
    }

    /// Says something else than the reason's own sentence. `message` goes to the caller: it names no
    /// threshold, and no part of a credential.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// Names the scope that was missing.
    #[must_use]
    pub const fn with_required_scope(mut self, scope: Scope) -> Self {
        self.required_scope = Some(scope);
        self
    }

    /// Names the scopes that are needed together: the first one as
    /// [`Denial::with_required_scope`] does, and where there are more, all of them.
    #[must_use]
    pub fn with_required_scopes(mut self, scopes: &[Scope]) -> Self {
        self.required_scope = scopes.first().copied();
        if scopes.len() > 1 {
            let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
            return self.with_detail(REQUIRED_SCOPES, names);
        }
        self
    }

    /// Names the place of the claim that was refused.
    #[must_use]
    pub const fn with_claim(mut self, place: ClaimPlace) -> Self {
        self.claim = Some(place);
        self
    }

    /// Says when to come back. Rounded up to whole seconds, at least one, when it is sent.
    #[must_use]
    pub const fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Adds a member to the answer's `details`.
    #[must_use]
    pub fn with_detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        let details = self.details.get_or_insert_default();
        details.insert(name.to_owned(), value.into());
        self
    }

    /// The audit's reason.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// The caller's error.
    #[must_use]
    pub const fn error(&self) -> ErrorCode {
        self.reason.error()
    }

    /// The caller's sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message
            .as_deref()
            .unwrap_or_else(|| self.error().message())
    }

    /// The scope that was missing, if that is why.
    #[must_use]
    pub const fn required_scope(&self) -> Option<Scope> {
        self.required_scope
    }

    /// The scopes that are needed, by one blank from each other (RFC 6750, section 3), if that is
    /// why.
    pub(crate) fn scope_list(&self) -> Option<String> {
        let more = self.details.as_ref().and_then(|d| d.get(REQUIRED_SCOPES));
        if let Some(Value::Array(names)) = more {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
            return Some(names.join(" "));
        }
        self.required_scope.map(|scope| scope.to_string())
    }

    /// Where the refused claim stood, if that is why.
    #[must_use]
    pub const fn claim(&self) -> Option<ClaimPlace> {
        self.claim
    }

    /// Whole seconds until the caller should come back, at least 1; `None` when coming back is no
    /// use or its time unknown. Every 429 and 503 has one.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let after = match self.retry_after {
            Some(after) => after,
            None if self.error().has_retry_after() => Duration::ZERO,
            None => return None,
        };
        let up = u64::from(after.subsec_nanos() > 0);
        Some(after.as_secs().saturating_add(up).max(1))
    }

    /// The members of the answer's `details`, if there are any.
    #[must_use]
    pub fn details(&self) -> Option<Map<String, Value>> {
        let mut details = self.details.as_deref().cloned().unwrap_or_default();
        if let Some(scope) = self.required_scope {
            details.insert("requiredScope".to_owned(), scope.as_str().into());
        }
        if let Some(place) = self.claim {
            details.insert("where".to_owned(), place.as_str().into());
        }
        (!details.is_empty()).then_some(details)
    }
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

const REQUIRED_SCOPES: &str = "requiredScopes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_rounded_up_and_never_zero() {
        let after = |d| {
            Denial::new(Reason::LimitKey)
                .with_retry_after(d)
                .retry_after_seconds()
        };
        assert_eq!(after(Duration::ZERO), Some(1));
        assert_eq!(after(Duration::from_nanos(1)), Some(1));
        assert_eq!(after(Duration::from_secs(1)), Some(1));
        assert_eq!(after(Duration::from_millis(1001)), Some(2));
        assert_eq!(after(Duration::MAX), Some(u64::MAX));
        let unset = Denial::new(Reason::KeyStoreUnavailable);
        assert_eq!(unset.retry_after_seconds(), Some(1));
        let never = Denial::new(Reason::ScopeMissing);
        assert_eq!(never.retry_after_seconds(), None);
    }
}
