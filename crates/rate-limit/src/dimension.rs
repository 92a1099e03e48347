//! What a policy counts by.

use countersign_core::Reason;

/// What a policy counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dimension {
    /// Each key by itself. A key and its successors by rotation count together, as the first key of
    /// their chain ([`Identity::key_origin`](countersign_core::Identity::key_origin)): a rotation begins
    /// no new quota. Two keys that an operator issued are two, however alike they are.
    Key,
    /// All keys of a company together.
    Company,
    /// Each key on each endpoint.
    Endpoint,
    /// Each key on each endpoint scope: endpoints that demand the same scope count together.
    Scope,
    /// Each key on each operation type.
    Operation,
    /// Each source: one IPv4 address or one IPv6 /64, whoever calls from it. The only one that needs
    /// no verified caller. Callers are never shown such a policy, because they may share the address
    /// with others.
    Source,
    /// Everybody together. Callers are never shown such a policy.
    Platform,
}

/// Behind which lock of the local store a counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    Company,
    Source,
    Platform,
}

impl Dimension {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Platform as usize + 1;

    /// The audit's reason for a refusal by such a policy.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Key => Reason::LimitKey,
            Self::Company => Reason::LimitCompany,
            Self::Endpoint => Reason::LimitEndpoint,
            Self::Scope => Reason::LimitScope,
            Self::Operation => Reason::LimitOperation,
            Self::Source => Reason::SourceThrottled,
            Self::Platform => Reason::LimitPlatform,
        }
    }

    /// Whether response fields show such a policy to its caller.
    #[must_use]
    pub const fn is_shown(self) -> bool {
        !matches!(self, Self::Source | Self::Platform)
    }

    /// Whether it counts each key by itself: the request needs a verified key, and a key may have
    /// a quota of its own.
    #[must_use]
    pub const fn is_per_key(self) -> bool {
        !matches!(self, Self::Company | Self::Source | Self::Platform)
    }

    /// Whether its counters belong to one company each: all but those of sources and of the platform.
    #[must_use]
    pub const fn is_per_company(self) -> bool {
        !matches!(self, Self::Source | Self::Platform)
    }

    pub(crate) const fn home(self) -> Home {
        match self {
            Self::Source => Home::Source,
            Self::Platform => Home::Platform,
            _ => Home::Company,
        }
    }

    pub(crate) const fn needs_endpoint(self) -> bool {
        matches!(self, Self::Endpoint | Self::Scope | Self::Operation)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Company => "company",
            Self::Endpoint => "endpoint",
            Self::Scope => "scope",
            Self::Operation => "operation",
            Self::Source => "source",
            Self::Platform => "platform",
        }
    }
}
