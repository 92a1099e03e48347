//! Why a request was refused: the audit's reason and the caller's error.

use std::fmt;

use http::StatusCode;
use serde::Serialize;

/// The error that a caller sees. Several [`Reason`]s share one, so that an answer tells no more
/// than it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// No usable credential.
    AuthenticationFailed,
    /// The right secret of a key past its expiry.
    TokenExpired,
    /// The right secret of a revoked key.
    TokenRevoked,
    /// The right secret of a key that is not in use now.
    TokenNotActive,
    /// The key lacks the endpoint's scope.
    InsufficientScope,
    /// The endpoint is not open to outside callers.
    EndpointNotAllowed,
    /// The caller named another company than its own.
    CompanyBoundaryViolation,
    /// Nothing of this name belongs to the caller's company.
    ResourceNotFound,
    /// The request itself is ambiguous or broken.
    InvalidRequest,
    /// The endpoint needs an idempotency key.
    IdempotencyKeyRequired,
    /// The idempotency key was used for another request.
    IdempotencyConflict,
    /// Too many requests.
    RateLimitExceeded,
    /// The handler refuses what was sent.
    ValidationFailed,
    /// A fault of the service.
    InternalError,
    /// A part that the decision needs is not there for now.
    ServiceUnavailable,
}

impl ErrorCode {
    /// The name in the answer's `error` member.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthenticationFailed => "authentication_failed",
            Self::TokenExpired => "token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::TokenNotActive => "token_not_active",
            Self::InsufficientScope => "insufficient_scope",
            Self::EndpointNotAllowed => "endpoint_not_allowed",
            Self::CompanyBoundaryViolation => "company_boundary_violation",
            Self::ResourceNotFound => "resource_not_found",
            Self::InvalidRequest => "invalid_request",
            Self::IdempotencyKeyRequired => "idempotency_key_required",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::RateLimitExceeded => "rate_limit_exceeded",
            Self::ValidationFailed => "validation_failed",
            Self::InternalError => "internal_error",
            Self::ServiceUnavailable => "service_unavailable",
        }
    }

    /// The sentence in the answer's `message` member. It never tells which part of a credential
    /// failed, nor a threshold, nor anything of another company.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::AuthenticationFailed => "A valid API key is required.",
            Self::TokenExpired => "This API key has expired.",
            Self::TokenRevoked => "This API key has been revoked.",
            Self::TokenNotActive => "This API key is not active.",
            Self::InsufficientScope => "This API key lacks the required scope.",
            Self::EndpointNotAllowed => "This endpoint is not part of the external API.",
            Self::CompanyBoundaryViolation => "The request names a company that is not yours.",
            Self::ResourceNotFound => "The requested resource does not exist.",
            Self::InvalidRequest => "The request is ambiguous or malformed.",
            Self::IdempotencyKeyRequired => "This endpoint requires an idempotency key.",
            Self::IdempotencyConflict => "The idempotency key belongs to another request.",
            Self::RateLimitExceeded => "Too many requests; retry later.",
            Self::ValidationFailed => "The request is not acceptable.",
            Self::InternalError => "The request could not be handled.",
            Self::ServiceUnavailable => "The service is unavailable for now; retry later.",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::AuthenticationFailed
            | Self::TokenExpired
            | Self::TokenRevoked
            | Self::TokenNotActive => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope | Self::EndpointNotAllowed | Self::CompanyBoundaryViolation => {
                StatusCode::FORBIDDEN
            }
            Self::ResourceNotFound => StatusCode::NOT_FOUND,
            Self::InvalidRequest | Self::IdempotencyKeyRequired => StatusCode::BAD_REQUEST,
            Self::IdempotencyConflict => StatusCode::CONFLICT,
            Self::RateLimitExceeded => StatusCode::TOO_MANY_REQUESTS,
            Self::ValidationFailed => StatusCode::UNPROCESSABLE_ENTITY,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The gRPC status code.
    #[must_use]
    pub const fn grpc_code(self) -> i32 {
        match self {
            Self::InvalidRequest | Self::IdempotencyKeyRequired | Self::ValidationFailed => 3,
            Self::ResourceNotFound => 5,
            Self::InsufficientScope | Self::EndpointNotAllowed | Self::CompanyBoundaryViolation => {
                7
            }
            Self::RateLimitExceeded => 8,
            Self::IdempotencyConflict => 10,
            Self::InternalError => 13,
            Self::ServiceUnavailable => 14,
            Self::AuthenticationFailed
            | Self::TokenExpired
            | Self::TokenRevoked
            | Self::TokenNotActive => 16,
        }
    }

    /// Whether the answer always says when to come back (`Retry-After`, `retryAfterSeconds`).
    #[must_use]
    pub const fn has_retry_after(self) -> bool {
        matches!(self, Self::RateLimitExceeded | Self::ServiceUnavailable)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal => $error:ident),* $(,)?) => {
        /// Why a request was refused or failed, as the audit log names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ $name),*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name in the audit log.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// What the caller is told.
            #[must_use]
            pub const fn error(self) -> ErrorCode {
                match self { $(Self::$name => ErrorCode::$error),* }
            }
        }
    };
}

reasons! {
    /// No credential was sent.
    MissingApiKey = "missing_api_key" => AuthenticationFailed,
    /// The credential has not the form of a key, or its checksum is wrong.
    MalformedApiKey = "malformed_api_key" => AuthenticationFailed,
    /// No key has this prefix.
    UnknownApiKey = "unknown_api_key" => AuthenticationFailed,
    /// The prefix is known and the secret is wrong.
    InvalidApiKey = "invalid_api_key" => AuthenticationFailed,
    /// A key stood in the query string.
    KeyInQuery = "key_in_query" => AuthenticationFailed,
    /// Two different credentials were sent.
    AmbiguousCredentials = "ambiguous_credentials" => AuthenticationFailed,
    /// A sandbox key on production, or the other way round.
    EnvironmentMismatch = "environment_mismatch" => AuthenticationFailed,
    /// The key may not be used from this network.
    SourceNotAllowed = "source_not_allowed" => AuthenticationFailed,
    /// The key is past its expiry.
    ExpiredApiKey = "expired_api_key" => TokenExpired,
    /// The key was revoked.
    RevokedApiKey = "revoked_api_key" => TokenRevoked,
    /// The key was issued and not activated yet.
    PendingApiKey = "pending_api_key" => TokenNotActive,
    /// The key is suspended.
    SuspendedApiKey = "suspended_api_key" => TokenNotActive,
    /// The key was rotated and its overlap is over.
    RotatedApiKey = "rotated_api_key" => TokenNotActive,
    /// The company that owns the key is suspended.
    CompanyInactive = "company_inactive" => TokenNotActive,
    /// The key lacks the endpoint's scope.
    ScopeMissing = "scope_missing" => InsufficientScope,
    /// The contract has no such endpoint.
    EndpointUnknown = "endpoint_unknown" => EndpointNotAllowed,
    /// The endpoint declares no scope.
    EndpointWithoutScope = "endpoint_without_scope" => EndpointNotAllowed,
    /// The caller claimed another company than the key's.
    CompanyMismatch = "company_mismatch" => CompanyBoundaryViolation,
    /// The resource is another company's, or nobody's.
    ResourceOutsideCompany = "resource_outside_company" => ResourceNotFound,
    /// The target can be read in two ways.
    AmbiguousTarget = "ambiguous_target" => InvalidRequest,
    /// The request is broken.
    MalformedRequest = "malformed_request" => InvalidRequest,
    /// The endpoint needs an idempotency key.
    IdempotencyKeyRequired = "idempotency_key_required" => IdempotencyKeyRequired,
    /// The idempotency key was used for another request.
    IdempotencyConflict = "idempotency_conflict" => IdempotencyConflict,
    /// The key's limit is spent.
    LimitKey = "limit_key" => RateLimitExceeded,
    /// The company's limit is spent.
    LimitCompany = "limit_company" => RateLimitExceeded,
    /// The key's limit on this endpoint is spent.
    LimitEndpoint = "limit_endpoint" => RateLimitExceeded,
    /// The key's limit on this scope is spent.
    LimitScope = "limit_scope" => RateLimitExceeded,
    /// The key's limit on this type of operation is spent.
    LimitOperation = "limit_operation" => RateLimitExceeded,
    /// The platform's own limit is spent.
    LimitPlatform = "limit_platform" => RateLimitExceeded,
    /// Too many failed authentications from this source or for this key prefix, or too many requests
    /// where a policy counts by source.
    SourceThrottled = "source_throttled" => RateLimitExceeded,
    /// An abuse rule refuses the caller for a while.
    AbuseDenied = "abuse_denied" => RateLimitExceeded,
    /// The handler refuses what was sent.
    ValidationFailed = "validation_failed" => ValidationFailed,
    /// A layer misses what an earlier layer should have found out.
    MisconfiguredStack = "misconfigured_stack" => InternalError,
    /// The handler met a fault of its own.
    HandlerFailed = "handler_failed" => InternalError,
    /// The handler panicked.
    HandlerPanicked = "handler_panicked" => InternalError,
    /// The caller was gone before there was an answer. No answer is sent.
    ClientDisconnected = "client_disconnected" => InternalError,
    /// The key store could not be asked.
    KeyStoreUnavailable = "key_store_unavailable" => ServiceUnavailable,
    /// The limit store could not be asked.
    LimitStoreUnavailable = "limit_store_unavailable" => ServiceUnavailable,
    /// The audit log can't take the event.
    AuditUnavailable = "audit_unavailable" => ServiceUnavailable,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reason {
    /// Whether the contract refuses: it opens nothing to outside callers at this target.
    pub(crate) const fn is_of_the_contract(self) -> bool {
        matches!(
            self,
            Self::EndpointUnknown | Self::EndpointWithoutScope | Self::AmbiguousTarget
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_and_as_str_agree() {
        for reason in Reason::ALL {
            let json = serde_json::to_string(reason).unwrap();
            assert_eq!(json, format!("\"{reason}\""));
            let json = serde_json::to_string(&reason.error()).unwrap();
            assert_eq!(json, format!("\"{}\"", reason.error()));
        }
    }

    #[test]
    fn no_message_names_a_part_of_a_credential() {
        for reason in Reason::ALL {
            let message = reason.error().message();
            for word in ["checksum", "prefix", "secret", "hash", "unknown"] {
                assert!(!message.contains(word), "{message}");
            }
        }
    }
}
