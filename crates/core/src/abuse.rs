//! What is noticed of callers who misuse the API, and who is told of it.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::source::{Source, SourceBucket};
use crate::{AccessContext, CompanyId, EventId, KeyId, KeyPrefix, Moment, RequestId, TraceId};

/// Is told of every request when its outcome is known: answered, refused, dropped or failed. The
/// audit layer tells it, once for each request that entered the log, before the answer goes out.
///
/// It is called on the request's own thread: it must neither wait nor panic, and what it costs,
/// every request costs.
pub trait RequestObserver: Debug + Send + Sync + 'static {
    /// A request has come to its end; `context` holds everything that was found out about it.
    fn finished(&self, context: &AccessContext);
}

impl<O: RequestObserver + ?Sized> RequestObserver for Arc<O> {
    fn finished(&self, context: &AccessContext) {
        (**self).finished(context);
    }
}

/// Is told of every [`AbuseSignal`], once.
///
/// It is called on the thread of the request that gave the signal, and must not wait: hand the
/// signal to a queue of your own, and let that queue be bounded. An observer that panics is
/// caught, and a log line says so.
pub trait AbuseObserver: Debug + Send + Sync + 'static {
    /// Something was noticed.
    fn signal(&self, signal: &AbuseSignal);
}

impl<O: AbuseObserver + ?Sized> AbuseObserver for Arc<O> {
    fn signal(&self, signal: &AbuseSignal) {
        (**self).signal(signal);
    }
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal),* $(,)?) => {
        /// What was noticed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum AbuseKind {
            $($(#[doc = $doc])+ $name,)*
        }

        impl AbuseKind {
            /// Every kind, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name in the audit log, in log lines and in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// One source failed to authenticate again and again: somebody tries keys.
    SourceFailures = "source_failures",
    /// Attempts with one key prefix failed again and again, from wherever: somebody guesses, or an
    /// integration goes on with a key that is no longer good.
    PrefixFailures = "prefix_failures",
    /// Authentication failed again and again, whoever tried: many sources that each stay below
    /// what one source is noticed for.
    PlatformFailures = "platform_failures",
    /// A key asked for what its scopes don't give it.
    ScopeDenials = "scope_denials",
    /// A key claimed companies that are not its own.
    CompanyBoundaryDenials = "company_boundary_denials",
    /// A key asked for resources that its company doesn't have: somebody walks through ids.
    ForeignResources = "foreign_resources",
    /// A source asked for endpoints that are not open, or with targets that can be read in two ways.
    UnknownEndpoints = "unknown_endpoints",
    /// A caller came back before the `Retry-After` that it was told, and was refused again.
    IgnoredRetryAfter = "ignored_retry_after",
    /// A key is used that was silent for long.
    SuddenUse = "sudden_use",
    /// A key is used from a network that it was not used from before.
    NewNetwork = "new_network",
    /// A key is used far more than it usually is.
    Spike = "spike",
}

impl fmt::Display for AbuseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a signal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AbuseSubject {
    /// An address, or a /64 of IPv6.
    Source(SourceBucket),
    /// Whoever names this key; it needs not be its owner, nor exist.
    Prefix(KeyPrefix),
    /// A key whose secret was right, by the first key of its chain of rotations
    /// ([`Identity::key_origin`](crate::Identity::key_origin)): a rotation forgets nothing. The key that was
    /// used is [`AbuseSignal::key_id`].
    Key(KeyId),
    /// Everybody together.
    Platform,
}

impl AbuseSubject {
    /// The name in the audit log and in metrics: `source`, `prefix`, `key` or `platform`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source(_) => "source",
            Self::Prefix(_) => "prefix",
            Self::Key(_) => "key",
            Self::Platform => "platform",
        }
    }
}

/// What is done about a signal besides telling of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AbuseReaction {
    /// Nothing: the observers, the audit log and the metrics are told.
    Notify,
    /// The subject is refused for a while, longer each time.
    Throttle,
    /// The key is to be suspended, or revoked where it was rotated and goes on for its overlap, and
    /// refused until it is.
    Suspend,
}

impl AbuseReaction {
    /// The name in the audit log and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Throttle => "throttle",
            Self::Suspend => "suspend",
        }
    }
}

/// For how long a subject is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbusePenalty {
    /// How long from the signal on.
    pub lasts: Duration,
    /// Which penalty in a row it is, from 1.
    pub level: u8,
}

/// Something that was noticed of a caller: one event for each time that a rule is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbuseSignal {
    /// The signal's own id; its audit event has the same.
    pub id: EventId,
    /// What was noticed.
    pub kind: AbuseKind,
    /// Of whom.
    pub subject: AbuseSubject,
    /// What is done about it.
    pub reaction: AbuseReaction,
    /// For how long the subject is refused from now on. `None` if nothing is done, or if it has
    /// served less than half of an earlier penalty, which then goes on.
    pub penalty: Option<AbusePenalty>,
    /// When the request came in that gave the signal.
    pub at: Moment,
    /// How often it was seen within `window`; 1 where once is enough.
    pub count: u32,
    /// The time in which was counted; for [`AbuseKind::SuddenUse`] how long the key was silent.
    pub window: Duration,
    /// The request that gave the signal.
    pub request_id: RequestId,
    /// The trace that it belongs to.
    pub trace_id: Option<TraceId>,
    /// Where it came from.
    pub source: Option<Source>,
    /// The key that it used, where the secret was right.
    pub key_id: Option<KeyId>,
    /// The key that it used or named.
    pub key_prefix: Option<KeyPrefix>,
    /// The company that owns the key, where the secret was right.
    pub company: Option<CompanyId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_and_as_str_agree() {
        for (number, kind) in AbuseKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, number);
            let json = serde_json::to_string(kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
        }
        use AbuseReaction::{Notify, Suspend, Throttle};
        for reaction in [Notify, Throttle, Suspend] {
            let json = serde_json::to_string(&reaction).unwrap();
            assert_eq!(json, format!("\"{}\"", reaction.as_str()));
        }
    }
}
