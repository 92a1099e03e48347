//! What changed between two entries of one endpoint: scope, cost, limit, stage.

use countersign_core::{Endpoint, RequiredScopes, Stage};

use super::changes::Changes;

/// Compares what both documents ask of a caller, and how long they promise the endpoint.
pub(super) fn compare(old: &Endpoint, new: &Endpoint, changes: &mut Changes) {
    if let (Some(old), Some(new)) = (old.required_scopes(), new.required_scopes())
        && old != new
    {
        let text = format!("the scope was {old} and is {new}");
        match is_met_whenever(old, new) {
            true if is_met_whenever(new, old) => {}
            true => changes.harmless(text),
            false => changes.breaking(text),
        }
    }
    let (old_cost, new_cost) = (old.call_cost(), new.call_cost());
    if new_cost > old_cost {
        changes.breaking(format!("a call cost {old_cost} and costs {new_cost}"));
    } else if new_cost < old_cost {
        changes.harmless(format!("a call cost {old_cost} and costs {new_cost}"));
    }
    match (old.quota(), new.quota()) {
        (Some(old), Some(new)) if old == new => {}
        (Some(old), Some(new))
            if new.burst() >= old.burst() && new.interval_nanos() <= old.interval_nanos() =>
        {
            changes.harmless("the endpoint's own limit is higher");
        }
        (Some(_), Some(_)) => changes.breaking("the endpoint's own limit is lower"),
        (None, Some(_)) => changes.breaking("the endpoint has a limit of its own"),
        (Some(_), None) => changes.breaking("the endpoint has no limit of its own any more"),
        (None, None) => {}
    }
    compare_stages(old, new, changes);
}

fn compare_stages(old: &Endpoint, new: &Endpoint, changes: &mut Changes) {
    if old.stage() != new.stage() {
        let text = format!("it was {} and is {}", old.stage(), new.stage());
        match new.stage() {
            Stage::Beta => changes.breaking(text),
            _ => changes.harmless(text),
        }
    }
    let sunset = |endpoint: &Endpoint| endpoint.deprecation().and_then(|it| it.sunset());
    match (sunset(old), sunset(new)) {
        (Some(old), Some(new)) if new < old => {
            changes.breaking(format!("its sunset was {old} and is {new}"));
        }
        (Some(old), Some(new)) if new > old => {
            changes.harmless(format!("its sunset was {old} and is {new}"));
        }
        // Who read of the deprecation alone took it to last.
        (None, Some(new)) if old.deprecation().is_some() => {
            changes.breaking(format!("it had no sunset and has one: {new}"));
        }
        (Some(old), None) => changes.harmless(format!("its sunset was {old} and is none")),
        _ => {}
    }
}

/// Whether every caller that the `old` rule lets through is let through by the `new` one.
fn is_met_whenever(old: &RequiredScopes, new: &RequiredScopes) -> bool {
    old.alternatives().all(|held| {
        new.alternatives()
            .any(|asked| asked.iter().all(|scope| held.contains(scope)))
    })
}
