//! What a company's key may hand on to itself by a rotation: no more than it has.

use countersign_core::{LimitOverride, Quota, Timestamp};
use ipnet::IpNet;

use super::{Actor, KeyManager, ManageError};
use crate::record::{KeyRecord, KeyStatus};

impl KeyManager {
    /// When a successor of `old` ends that `actor` asks for.
    pub(super) async fn end_of_successor(
        &self,
        actor: &Actor,
        old: &KeyRecord,
        now: Timestamp,
    ) -> Result<Timestamp, ManageError> {
        if actor.is_operator() {
            let lifetime = old.expires_at.duration_since(old.created_at);
            return Ok(now.saturating_add(lifetime.min(self.0.max_lifetime)));
        }
        let (scopes, companies) = actor.lacks(old);
        if companies || !scopes.is_empty() {
            return Err(ManageError::BeyondActor { scopes, companies });
        }
        match actor.bounding_key().filter(|key| **key != old.prefix) {
            None => Ok(old.expires_at),
            Some(key) => {
                let found = self.0.store.find(key).await?.map(|found| found.record);
                let own = found.filter(|own| actor.may_touch(own) && own.standing(now).is_ok());
                let own = own.filter(|own| is_within(old, own));
                let own = own.ok_or_else(ManageError::beyond_bounds)?;
                Ok(old.expires_at.min(end(&own)))
            }
        }
    }
}

/// When `key` stops being accepted, as it stands.
fn end(key: &KeyRecord) -> Timestamp {
    match key.status {
        KeyStatus::Rotated { until, .. } => key.expires_at.min(until),
        _ => key.expires_at,
    }
}

/// Whether `key` may do no more than `own` as both stand in the store: the actor may be one that was
/// verified before something was taken from it.
fn is_within(key: &KeyRecord, own: &KeyRecord) -> bool {
    let mut companies = key.subsidiaries.iter();
    key.scopes.iter().all(|scope| own.scopes.contains(scope))
        && companies.all(|company| own.subsidiaries.contains(company))
        && is_inside(&key.networks, &own.networks)
        && is_no_wider(&key.limits, &own.limits)
}

fn is_inside(networks: &[IpNet], own: &[IpNet]) -> bool {
    if own.is_empty() {
        return true;
    }
    // Two halves are a whole.
    let own = IpNet::aggregate(&own.to_vec());
    let inside = |net: &IpNet| own.iter().any(|own| own.contains(net));
    !networks.is_empty() && networks.iter().all(inside)
}

/// Which quota a policy itself has is not known here, so a limit that only one of them has can't be
/// compared, and is not handed on.
fn is_no_wider(limits: &[LimitOverride], own: &[LimitOverride]) -> bool {
    let all = || limits.iter().chain(own).map(|limit| &*limit.policy);
    all().all(|policy| match (quota(limits, policy), quota(own, policy)) {
        (Some(quota), Some(own)) => {
            quota.burst() <= own.burst() && quota.interval_nanos() >= own.interval_nanos()
        }
        _ => false,
    })
}

fn quota(limits: &[LimitOverride], policy: &str) -> Option<Quota> {
    let mut limits = limits.iter();
    let found = limits.find(|limit| limit.policy == policy);
    found.map(|limit| limit.quota)
}
