//! What is worth a look, one key at a time and without a store.

use std::time::Duration;

use countersign::{
    Contract, KeyId, KeyRecord, KeyStatus, KeyUse, OperationType, Reason, Scope, ScopeSet,
    Timestamp,
};
use serde::Serialize;

/// What a review asks about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) now: Timestamp,
    pub(super) unused_for: Duration,
    pub(super) expires_within: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Unused,
    Expiring,
    ScopesNeverExercised,
    RotatedStillUsed,
    WriteFromAnywhere,
    Wildcard,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Expiring => "expiring",
            Self::ScopesNeverExercised => "scopes_never_exercised",
            Self::RotatedStillUsed => "rotated_still_used",
            Self::WriteFromAnywhere => "write_from_anywhere",
            Self::Wildcard => "wildcard",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) detail: String,
    pub(super) scopes: ScopeSet,
    pub(super) advice: String,
}

/// `issued` tells when a key of the same company was issued, `writes` whether a scope opens more than
/// reading, `whole` which wildcards scopes amount to. A key at its end is no matter.
pub(super) fn findings(
    key: &KeyRecord,
    last: Option<&KeyUse>,
    issued: impl Fn(KeyId) -> Option<Timestamp>,
    writes: impl Fn(Scope) -> bool,
    whole: impl Fn(&ScopeSet) -> Vec<String>,
    window: &Window,
) -> Vec<Finding> {
    let ended = [
        Reason::RevokedApiKey,
        Reason::ExpiredApiKey,
        Reason::RotatedApiKey,
    ];
    if key
        .standing(window.now)
        .is_err_and(|why| ended.contains(&why))
    {
        return Vec::new();
    }
    if let KeyStatus::Rotated { successor, until } = key.status {
        let since = issued(successor);
        return rotated(since, until, last).into_iter().collect();
    }
    let unused = unused(key, last, window);
    let exercised = last.filter(|_| unused.is_none());
    let all = [
        expiring(key, window),
        exercised.and_then(|uses| never_exercised(key, uses, window)),
        write_from_anywhere(key, writes),
        wildcard(key, &whole(&key.scopes)),
    ];
    unused
        .into_iter()
        .chain(all.into_iter().flatten())
        .collect()
}

/// A key that is going has one question left: who still calls with it?
fn rotated(since: Option<Timestamp>, until: Timestamp, last: Option<&KeyUse>) -> Option<Finding> {
    let last = last.filter(|uses| since.is_some_and(|since| uses.at > since))?;
    Some(Finding {
        kind: Kind::RotatedStillUsed,
        detail: format!("{}; it ends {until}", when(last)),
        scopes: ScopeSet::new(),
        advice: "tell the company to use the successor".to_owned(),
    })
}

fn unused(key: &KeyRecord, last: Option<&KeyUse>, window: &Window) -> Option<Finding> {
    let since = last.map_or(key.created_at, |uses| uses.at);
    let long = window.now.duration_since(since) >= window.unused_for;
    long.then(|| Finding {
        kind: Kind::Unused,
        detail: last.map_or_else(|| format!("never, since {since}"), when),
        scopes: ScopeSet::new(),
        advice: revoke(key),
    })
}

fn expiring(key: &KeyRecord, window: &Window) -> Option<Finding> {
    let soon = key.expires_at.duration_since(window.now) <= window.expires_within;
    soon.then(|| Finding {
        kind: Kind::Expiring,
        detail: key.expires_at.to_string(),
        scopes: ScopeSet::new(),
        advice: renew(key),
    })
}

/// Of a key that had the time to need all of its scopes.
fn never_exercised(key: &KeyRecord, uses: &KeyUse, window: &Window) -> Option<Finding> {
    let never = select(&key.scopes, |scope| !uses.scopes.contains(scope));
    let young = window.now.duration_since(key.created_at) < window.unused_for;
    if young || never.is_empty() {
        return None;
    }
    let needed = select(&key.scopes, |scope| uses.scopes.contains(scope));
    let advice = if needed.is_empty() {
        revoke(key)
    } else {
        let scopes = needed.names().join(" --scope ");
        format!("keys set-scopes {} --scope {scopes}", key.prefix)
    };
    Some(Finding {
        kind: Kind::ScopesNeverExercised,
        detail: never.names().join(","),
        scopes: never,
        advice,
    })
}

fn write_from_anywhere(key: &KeyRecord, writes: impl Fn(Scope) -> bool) -> Option<Finding> {
    let writing = select(&key.scopes, writes);
    if !key.networks.is_empty() || writing.is_empty() {
        return None;
    }
    Some(Finding {
        kind: Kind::WriteFromAnywhere,
        detail: writing.names().join(","),
        scopes: writing,
        advice: format!("keys set-networks {} --network CIDR", key.prefix),
    })
}

fn wildcard(key: &KeyRecord, whole: &[String]) -> Option<Finding> {
    (!whole.is_empty()).then(|| Finding {
        kind: Kind::Wildcard,
        detail: whole.join(","),
        scopes: ScopeSet::new(),
        advice: format!("keys set-scopes {} --scope SCOPE", key.prefix),
    })
}

/// Whether an endpoint that asks for the scope does more than read. Without a contract its name
/// decides: every action that is not known to only read may write.
pub(super) fn writes(contract: Option<&Contract>, scope: Scope) -> bool {
    let Some(contract) = contract else {
        let action = scope.as_str().rsplit(':').next();
        return !action.is_some_and(|action| ["read", "list", "view", "get"].contains(&action));
    };
    let mut writing = contract
        .endpoints()
        .filter(|endpoint| endpoint.operation() != OperationType::Read)
        .filter_map(|endpoint| endpoint.required_scopes());
    writing.any(|required| required.scopes().any(|asked| asked == scope))
}

fn select(scopes: &ScopeSet, wanted: impl Fn(Scope) -> bool) -> ScopeSet {
    scopes.iter().filter(|scope| wanted(*scope)).collect()
}

fn when(uses: &KeyUse) -> String {
    match &uses.route {
        Some(route) => format!("last used {} for {route}", uses.at),
        None => format!("last used {}", uses.at),
    }
}

/// Only an active key is rotated.
fn renew(key: &KeyRecord) -> String {
    let prefix = key.prefix;
    match key.status {
        KeyStatus::Pending => {
            format!("let it end, or keys activate {prefix} and then keys rotate {prefix}")
        }
        KeyStatus::Suspended => {
            format!("let it end, or keys reactivate {prefix} and then keys rotate {prefix}")
        }
        _ => format!("keys rotate {prefix}"),
    }
}

fn revoke(key: &KeyRecord) -> String {
    let prefix = key.prefix;
    format!("keys revoke {prefix} --reason scheduled_hygiene --yes")
}
