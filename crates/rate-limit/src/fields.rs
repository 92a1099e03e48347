//! The response fields that tell a caller where it stands.
//!
//! `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-10 has them, as
//! structured fields (RFC 9651): a list with one member for each policy of the caller's own.
//!
//! ```text
//! RateLimit-Policy: "key";q=200;w=4, "company";q=400;w=4
//! RateLimit: "key";r=42;t=4, "company";r=399;t=1
//! ```
//!
//! `q` is the quota's burst and `w` the seconds in which a spent quota refills; `r` is what can be
//! taken at once now, and `t` the seconds until the quota is whole. Seconds are rounded up. A limit on
//! requests at once is `"writes";q=8;qu="concurrent-requests"` and `"writes";r=7`.

mod line;

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use countersign_core::{ConfigError, Quota, RateLimitFields};
use http::HeaderValue;
use sfv::{Integer, ItemSerializer, KeyRef, ListSerializer, StringRef};

use self::line::{Line, Piece, SEPARATOR};
use crate::concurrency::Places;
use crate::gcra::window;
use crate::in_flight::Free;
use crate::policies::Planned;
use crate::{LimitDecision, LimitRequest};

/// What a policy's members of the two fields begin with.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// `"key";q=`
    quota: Piece,
    /// `"key";r=`
    remaining: Piece,
}

/// The fields for a decision about quotas, if there was one, and for what was `told` of requests at
/// once; `None` where no policy is shown.
pub(crate) fn of(
    request: &LimitRequest<'_>,
    decision: Option<&LimitDecision>,
    told: &[Free],
    classic: bool,
) -> Option<RateLimitFields> {
    let fixed = request.plan().field.as_ref()?;
    let limit = limit_field(request, decision, told)?;
    let policy = if request.has_default_quotas() && has_default_places(request, told) {
        fixed.clone()
    } else {
        own_policy_field(request)?
    };
    let classic = decision.filter(|_| classic);
    Some(RateLimitFields {
        policy,
        limit,
        classic: classic.and_then(|decision| classic_fields(request, decision)),
    })
}

impl Member {
    /// The members of the policy with this name.
    ///
    /// # Errors
    /// When it is no structured string, or a long one; names that passed the policy's own check never
    /// are.
    pub(crate) fn new(name: &str) -> Result<Self, ConfigError> {
        let text = ItemSerializer::new().bare_item(string(name)?).finish();
        let piece = |parameter| {
            let problem = || ConfigError::new(format!("policy {name}"), "the name is too long");
            Piece::of([SEPARATOR, &text, parameter]).ok_or_else(problem)
        };
        Ok(Self {
            quota: piece(";q=")?,
            remaining: piece(";r=")?,
        })
    }
}

/// `RateLimit-Policy` for the policies' own quotas; `None` where no policy is shown.
///
/// # Errors
/// As [`member`].
pub(crate) fn fixed_policy_field(
    planned: &[Planned],
    places: &[Places],
) -> Result<Option<HeaderValue>, ConfigError> {
    let mut list = ListSerializer::new();
    for policy in planned.iter().filter(|p| p.dimension.is_shown()) {
        let window = u32::try_from(window_seconds(policy.quota))
            .expect("400 days, the longest window, are fewer seconds than 2^32");
        let _ = list
            .bare_item(string(&policy.name)?)
            .parameter(Q, Integer::from(policy.quota.burst()))
            .parameter(W, Integer::from(window));
    }
    for limit in places.iter().filter(|limit| limit.dimension.is_shown()) {
        let _ = list
            .bare_item(string(&limit.name)?)
            .parameter(Q, Integer::from(limit.most))
            .parameter(QU, string(AT_ONCE)?);
    }
    Ok(list
        .finish()
        .map(|text| HeaderValue::from_static(kept(text))))
}

fn string(name: &str) -> Result<&StringRef, ConfigError> {
    StringRef::from_str(name)
        .map_err(|error| ConfigError::new(format!("policy {name}"), error.to_string()))
}

/// `RateLimit-Policy` where a key's own quota, or a share of one, takes the place of a policy's;
/// `None` where no policy is shown.
#[inline(never)]
fn own_policy_field(request: &LimitRequest<'_>) -> Option<HeaderValue> {
    let mut line = Line::new();
    for limit in request.limits().filter(|l| l.dimension().is_shown()) {
        line.piece(&limit.policy.member.quota);
        line.number(u64::from(limit.quota.burst()));
        line.text(b";w=\0", 3);
        line.number(window_seconds(limit.quota));
    }
    let places = request.plan().places.iter();
    for limit in places.filter(|limit| limit.dimension.is_shown()) {
        line.piece(&limit.member.quota);
        let most = limit.most_for(request.subject().identity);
        line.number(u64::from(most));
        line.text(AT_ONCE_PARAMETER, AT_ONCE_PARAMETER.len());
    }
    line.finish()
}

#[inline]
fn limit_field(
    request: &LimitRequest<'_>,
    decision: Option<&LimitDecision>,
    told: &[Free],
) -> Option<HeaderValue> {
    let mut line = Line::new();
    let outcomes = decision.map_or(&[][..], LimitDecision::outcomes);
    let planned = request.plan().planned.iter();
    for (policy, outcome) in planned.zip(outcomes) {
        if policy.dimension.is_shown() {
            line.piece(&policy.member.remaining);
            line.number(u64::from(outcome.remaining()));
            line.text(b";t=\0", 3);
            line.number(seconds(outcome.reset_after_nanos()));
        }
    }
    for (limit, free) in request.plan().places.iter().zip(told) {
        if limit.dimension.is_shown() {
            line.piece(&limit.member.remaining);
            line.number(u64::from(free.left));
        }
    }
    line.finish()
}

fn has_default_places(request: &LimitRequest<'_>, told: &[Free]) -> bool {
    let mut places = request.plan().places.iter().zip(told);
    places.all(|(limit, free)| limit.most == free.most)
}

/// Limit, remaining and seconds to reset of the tightest policy: the one that refused, else the
/// one with the fewest units left. `None` where no policy with a quota is shown.
#[inline(never)]
fn classic_fields(
    request: &LimitRequest<'_>,
    decision: &LimitDecision,
) -> Option<Box<[HeaderValue; 3]>> {
    let shown = request.limits().zip(decision.outcomes()).enumerate();
    let tightest = shown
        .filter(|(_, (limit, _))| limit.dimension().is_shown())
        .min_by_key(|(i, (_, outcome))| (decision.refused() != Some(*i), outcome.remaining()));
    let (_, (limit, outcome)) = tightest?;
    let numbers = [
        u64::from(limit.quota.burst()),
        u64::from(outcome.remaining()),
        seconds(outcome.reset_after_nanos()),
    ];
    Some(Box::new(numbers.map(HeaderValue::from)))
}

/// Whole seconds, rounded up.
#[inline]
const fn seconds(nanos: u64) -> u64 {
    match nanos.checked_sub(1) {
        Some(less) => less / 1_000_000_000 + 1,
        None => 0,
    }
}

const fn window_seconds(quota: Quota) -> u64 {
    seconds(window(quota))
}

/// The text, for as long as the process lives. A static value is copied without a reference count,
/// which two busy threads would pass to and fro with each response. The texts come from policies,
/// so there are few, and each is kept once.
fn kept(text: String) -> &'static str {
    static KEPT: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(text.as_str()) {
        return known;
    }
    let text: &'static str = Box::leak(text.into_boxed_str());
    kept.insert(text);
    text
}

const Q: &KeyRef = KeyRef::constant("q");
const W: &KeyRef = KeyRef::constant("w");
const QU: &KeyRef = KeyRef::constant("qu");
/// The draft's quota unit for limits on requests at once.
const AT_ONCE: &str = "concurrent-requests";
const AT_ONCE_PARAMETER: &[u8; 25] = b";qu=\"concurrent-requests\"";

#[cfg(test)]
mod tests;
