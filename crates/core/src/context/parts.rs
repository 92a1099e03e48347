//! What layers fill into the record of a request.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{CompanyId, Endpoint, KeyId, KeyPrefix};

/// A part of the record was filled in before: two layers of one kind, or one layer twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another layer filled in this part of the request's record before")]
pub struct AlreadySet;

/// The contract's entry for a request, and the target it was found for.
#[derive(Clone)]
pub struct MatchedEndpoint {
    /// The entry.
    pub endpoint: &'static Endpoint,
    /// The target that the contract looked up. It is the caller's text: never log it.
    pub target: PathAndQuery,
}

/// Whose data a request may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompanyBinding {
    /// The company that owns the credential.
    pub owner: CompanyId,
    /// The company whose data the request works on.
    pub effective: CompanyId,
}

/// Whose data a request may touch, as it was decided.
pub(crate) enum Place<'a> {
    /// The verified caller's own.
    Owners,
    Bound(&'a CompanyBinding),
}

/// Where that is kept. Nearly every request works for its caller's own company, and then one
/// exchange of a byte decides it.
#[derive(Debug, Default)]
pub(crate) struct PlaceSlot {
    decided: AtomicU8,
    bound: OnceLock<Box<CompanyBinding>>,
}

impl PlaceSlot {
    pub(crate) fn get(&self) -> Option<Place<'_>> {
        match self.decided.load(Ordering::Acquire) {
            OWNERS => Some(Place::Owners),
            // Between the decision and its keeping nothing is decided yet, as far as others know.
            BOUND => self.bound.get().map(|binding| Place::Bound(binding)),
            _ => None,
        }
    }

    pub(crate) fn set_owners(&self) -> Result<(), AlreadySet> {
        self.decide(OWNERS)
    }

    pub(crate) fn set_bound(&self, binding: CompanyBinding) -> Result<(), AlreadySet> {
        self.decide(BOUND)?;
        self.bound.set(Box::new(binding)).map_err(|_| AlreadySet)
    }

    /// The first decision stays.
    fn decide(&self, decision: u8) -> Result<(), AlreadySet> {
        let (taken, seen) = (Ordering::AcqRel, Ordering::Acquire);
        let before = self
            .decided
            .compare_exchange(UNDECIDED, decision, taken, seen);
        before.map(drop).map_err(|_| AlreadySet)
    }
}

const UNDECIDED: u8 = 0;
const OWNERS: u8 = 1;
const BOUND: u8 = 2;

/// Which limit spoke, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitNote {
    /// The policy that refused.
    pub policy: Option<Arc<str>>,
    /// The limit store was down and local limits decided.
    pub fallback: bool,
}

/// The fields that tell a caller where it stands with its limits. They go onto the answer on its
/// way out, whether it is a refusal or not, in place of any that it has under these names.
#[derive(Debug)]
pub struct RateLimitFields {
    /// `RateLimit-Policy`.
    pub policy: HeaderValue,
    /// `RateLimit`.
    pub limit: HeaderValue,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
    pub classic: Option<Box<[HeaderValue; 3]>>,
}

/// The key that a refused caller named; who owns it only if the secret was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PresentedKey {
    pub(crate) prefix: KeyPrefix,
    pub(crate) owner: Option<(KeyId, CompanyId)>,
}

/// What is kept for as long as the request is under way.
#[derive(Default)]
pub(crate) struct Held(pub(super) Vec<Box<dyn Send>>);

impl RateLimitFields {
    /// Puts the fields onto an answer.
    pub fn write(self, headers: &mut HeaderMap) {
        headers.insert(RATELIMIT_POLICY, self.policy);
        headers.insert(RATELIMIT, self.limit);
        if let Some(classic) = self.classic {
            for (name, value) in X_RATELIMIT.into_iter().zip(*classic) {
                headers.insert(name, value);
            }
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kept", self.0.len())
    }
}

impl fmt::Debug for MatchedEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MatchedEndpoint")
            .field("endpoint", &self.endpoint)
            .field("target", &"[redacted]")
            .finish()
    }
}

const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_RATELIMIT: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];
