//! What a refusal says about the caller.

use countersign_core::{AbuseKind, AbuseSubject, AccessContext, Reason};

/// The kinds that a refusal for `reason` counts towards.
pub(super) const fn kinds(reason: Reason) -> &'static [AbuseKind] {
    use AbuseKind as Kind;
    match reason {
        Reason::MissingApiKey
        | Reason::MalformedApiKey
        | Reason::UnknownApiKey
        | Reason::InvalidApiKey
        | Reason::KeyInQuery
        | Reason::AmbiguousCredentials
        | Reason::SourceNotAllowed => &[
            Kind::SourceFailures,
            Kind::PrefixFailures,
            Kind::PlatformFailures,
        ],
        // The secret was right: a partner who goes on with a key that is no longer good is no
        // guesser, and must not make its neighbours suffer.
        Reason::EnvironmentMismatch
        | Reason::ExpiredApiKey
        | Reason::RevokedApiKey
        | Reason::PendingApiKey
        | Reason::SuspendedApiKey
        | Reason::RotatedApiKey
        | Reason::CompanyInactive => &[Kind::PrefixFailures],
        Reason::ScopeMissing => &[Kind::ScopeDenials],
        Reason::CompanyMismatch => &[Kind::CompanyBoundaryDenials],
        Reason::ResourceOutsideCompany => &[Kind::ForeignResources],
        Reason::EndpointUnknown | Reason::EndpointWithoutScope | Reason::AmbiguousTarget => {
            &[Kind::UnknownEndpoints]
        }
        // A platform limit is not the caller's own: it can't know when to come back.
        Reason::LimitKey
        | Reason::LimitCompany
        | Reason::LimitEndpoint
        | Reason::LimitScope
        | Reason::LimitOperation
        | Reason::SourceThrottled
        | Reason::AbuseDenied => &[Kind::IgnoredRetryAfter],
        _ => &[],
    }
}

/// Whom an offence of `kind` is counted against; `None` where nobody is known.
pub(super) fn subject(kind: AbuseKind, context: &AccessContext) -> Option<AbuseSubject> {
    let source = || Some(AbuseSubject::Source(context.source()?.bucket()));
    let key = || Some(AbuseSubject::Key(context.identity()?.key_origin()?));
    match kind {
        AbuseKind::SourceFailures | AbuseKind::UnknownEndpoints => source(),
        AbuseKind::PrefixFailures => context.key().1.map(AbuseSubject::Prefix),
        AbuseKind::PlatformFailures => Some(AbuseSubject::Platform),
        AbuseKind::IgnoredRetryAfter => key().or_else(source),
        _ => key(),
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::ErrorCode;

    use super::*;

    #[test]
    fn every_refused_credential_and_every_limit_of_a_callers_own_counts() {
        for reason in Reason::ALL {
            let counted = !kinds(*reason).is_empty();
            let expected = match reason.error() {
                ErrorCode::AuthenticationFailed
                | ErrorCode::TokenExpired
                | ErrorCode::TokenRevoked
                | ErrorCode::TokenNotActive
                | ErrorCode::InsufficientScope
                | ErrorCode::EndpointNotAllowed
                | ErrorCode::CompanyBoundaryViolation
                | ErrorCode::ResourceNotFound => true,
                ErrorCode::RateLimitExceeded => *reason != Reason::LimitPlatform,
                _ => *reason == Reason::AmbiguousTarget,
            };
            assert_eq!(counted, expected, "{reason}");
        }
    }
}
