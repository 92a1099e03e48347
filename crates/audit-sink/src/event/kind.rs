//! What an event is about and how it was decided.

use std::fmt;

use countersign_core::{Denial, ErrorCode, LifecycleKind, Reason};
use serde::{Serialize, Serializer};

macro_rules! types {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal),* $(,)?) => {
        /// What an audit event is about. Its text is the event's `type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventType {
            $($(#[doc = $doc])+ $name,)*
            /// A key's or a company's state changed.
            Lifecycle(LifecycleKind),
        }

        impl EventType {
            /// Every type.
            pub fn all() -> impl Iterator<Item = Self> {
                let changes = LifecycleKind::ALL.iter().copied().map(Self::Lifecycle);
                [$(Self::$name),*].into_iter().chain(changes)
            }

            /// The text in the audit log.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Lifecycle(kind) => kind.as_str(),
                }
            }
        }
    };
}

types! {
    /// The handler ran and answered.
    Allowed = "external_api.request.allowed",
    /// Nobody who may call was identified.
    DeniedAuthentication = "external_api.request.denied_authentication",
    /// The caller lacks the endpoint's scope.
    DeniedScope = "external_api.request.denied_scope",
    /// The request names another company's data.
    DeniedCompanyBoundary = "external_api.request.denied_company_boundary",
    /// The endpoint is not open to outside callers, or the request is ambiguous.
    DeniedContract = "external_api.request.denied_contract",
    /// A limit is spent.
    RateLimited = "external_api.request.rate_limited",
    /// An abuse rule refuses the caller.
    AbuseDenied = "external_api.request.abuse_denied",
    /// The request could not be served to its end.
    Failed = "external_api.request.failed",
    /// The handler of a sensitive endpoint is about to run.
    Intent = "external_api.request.intent",
    /// A caller was noticed to misuse the API: the signal's kind is the event's `reason`, and what
    /// is done about it stands in `metadata`.
    AbuseSignal = "external_api.abuse.signal",
    /// Events were lost; how many stands in `metadata.count`.
    Gap = "external_api.audit.gap",
    /// The log was repaired when it was opened; the bytes that were set aside stand in
    /// `metadata.bytes`.
    Recovered = "external_api.audit.recovered",
    /// The log's writer has begun to write.
    Started = "external_api.audit.started",
    /// The log's writer has ended as it should. A start without one before it followed a crash.
    Stopped = "external_api.audit.stopped",
    /// The log is alive and had nothing else to tell.
    Heartbeat = "external_api.audit.heartbeat",
    /// A segment was finished; the tree's size and root stand in `metadata.size` and
    /// `metadata.root`.
    Checkpoint = "external_api.audit.checkpoint",
    /// The lines of a segment were deleted because their time was over; their hashes were kept.
    /// Which ones stands in `metadata.first` and `metadata.count`.
    Removed = "external_api.audit.removed",
    /// The log begins anew under another origin, because the old one was damaged.
    Incarnation = "external_api.audit.incarnation",
    /// Somebody read or exported the log: `metadata.actor` and `metadata.purpose`.
    Read = "external_api.audit.read",
}

impl EventType {
    /// Whether the event is the outcome of a request: each request that enters has one.
    #[must_use]
    pub const fn is_outcome(self) -> bool {
        matches!(
            self,
            Self::Allowed
                | Self::DeniedAuthentication
                | Self::DeniedScope
                | Self::DeniedCompanyBoundary
                | Self::DeniedContract
                | Self::RateLimited
                | Self::AbuseDenied
                | Self::Failed
        )
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How a request was decided, or that the event is none of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// The handler ran, or may have run.
    Allowed,
    /// The handler did not run, or refused on behalf of the company boundary.
    Denied,
    /// A limit refused.
    RateLimited,
    /// A key's or a company's state changed.
    LifecycleChanged,
}

impl Decision {
    /// The name in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::RateLimited => "rate_limited",
            Self::LifecycleChanged => "lifecycle_changed",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a refusal is called in the log, and how the request counts. `identified` tells whether a
/// caller was identified before the request broke off.
pub(super) fn classify(denial: &Denial, identified: bool) -> (EventType, Decision) {
    let reason = denial.reason();
    (event_type(reason), decision(reason, identified))
}

const fn event_type(reason: Reason) -> EventType {
    match reason.error() {
        ErrorCode::AuthenticationFailed
        | ErrorCode::TokenExpired
        | ErrorCode::TokenRevoked
        | ErrorCode::TokenNotActive => EventType::DeniedAuthentication,
        ErrorCode::InsufficientScope => EventType::DeniedScope,
        ErrorCode::EndpointNotAllowed | ErrorCode::InvalidRequest => EventType::DeniedContract,
        ErrorCode::CompanyBoundaryViolation | ErrorCode::ResourceNotFound => {
            EventType::DeniedCompanyBoundary
        }
        ErrorCode::RateLimitExceeded if matches!(reason, Reason::AbuseDenied) => {
            EventType::AbuseDenied
        }
        ErrorCode::RateLimitExceeded => EventType::RateLimited,
        _ => EventType::Failed,
    }
}

/// A request that broke off counts as allowed once its caller was identified: the handler may have
/// run, and a log must not deny what may have happened.
const fn decision(reason: Reason, identified: bool) -> Decision {
    match reason {
        Reason::ValidationFailed | Reason::HandlerFailed => Decision::Allowed,
        Reason::HandlerPanicked | Reason::ClientDisconnected if identified => Decision::Allowed,
        Reason::AbuseDenied => Decision::Denied,
        _ if matches!(reason.error(), ErrorCode::RateLimitExceeded) => Decision::RateLimited,
        _ => Decision::Denied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_text_of_its_own() {
        let all: std::collections::HashSet<&str> =
            EventType::all().map(EventType::as_str).collect();
        assert_eq!(all.len(), EventType::all().count());
        assert!(all.iter().all(|text| text.starts_with("external_api.")));
    }

    #[test]
    fn every_reason_has_its_type_and_decision() {
        for reason in Reason::ALL {
            let (kind, decision) = classify(&Denial::new(*reason), true);
            let expected = match reason.error().status().as_u16() {
                401 => (EventType::DeniedAuthentication, Decision::Denied),
                403 if *reason == Reason::ScopeMissing => {
                    (EventType::DeniedScope, Decision::Denied)
                }
                403 if *reason == Reason::CompanyMismatch => {
                    (EventType::DeniedCompanyBoundary, Decision::Denied)
                }
                403 => (EventType::DeniedContract, Decision::Denied),
                404 => (EventType::DeniedCompanyBoundary, Decision::Denied),
                400 if reason.error() == ErrorCode::InvalidRequest => {
                    (EventType::DeniedContract, Decision::Denied)
                }
                422 => (EventType::Failed, Decision::Allowed),
                429 if *reason == Reason::AbuseDenied => (EventType::AbuseDenied, Decision::Denied),
                429 => (EventType::RateLimited, Decision::RateLimited),
                500 if *reason != Reason::MisconfiguredStack => {
                    (EventType::Failed, Decision::Allowed)
                }
                _ => (EventType::Failed, Decision::Denied),
            };
            assert_eq!((kind, decision), expected, "{reason}");
        }
    }

    #[test]
    fn what_broke_off_before_anybody_was_identified_was_not_allowed() {
        let denial = Denial::new(Reason::ClientDisconnected);
        assert_eq!(classify(&denial, false).1, Decision::Denied);
    }
}
