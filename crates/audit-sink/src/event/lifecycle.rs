//! The event of a change to a key or a company.

use countersign_core::{CompanyId, KeyPrefix, LifecycleEvent, MetadataValue};

use super::{AuditEvent, Decision, EventType, Extra, Rare};

impl From<LifecycleEvent> for AuditEvent {
    /// Keeps the event's id and time. The actor's name goes into `metadata.actor` (its first 256
    /// bytes; only the prefix of what looks like a raw key), the other key of a rotation into
    /// `metadata.linked_key`, the companies that a parent's key may act for into
    /// `metadata.subsidiaries`, the scopes that a key got into `metadata.scopes`, the end of its life
    /// into `metadata.ends_at`, what was changed into `metadata.changed`, and the reason is cut to a
    /// label. Of scopes that take more than 16 KiB the first ones are told, and in
    /// `metadata.scopes_left_out` how many are not.
    fn from(change: LifecycleEvent) -> Self {
        let mut rare = Rare {
            reason: change.reason.as_deref().map(label),
            ..Rare::default()
        };
        rare.ours.push(("actor", Extra::Name(name(&change.actor))));
        if let Some(linked) = change.linked_key {
            let linked = MetadataValue::label(&linked.to_string());
            rare.ours.push(("linked_key", Extra::Value(linked)));
        }
        if !change.subsidiaries.is_empty() {
            let all: Vec<&str> = change.subsidiaries.iter().map(CompanyId::as_str).collect();
            let all = all.join(",").into_boxed_str();
            rare.ours.push(("subsidiaries", Extra::Name(all)));
        }
        tell_scopes(&change.scopes, &mut rare);
        if let Some(end) = change.ends_at {
            let end = end.to_string().into_boxed_str();
            rare.ours.push(("ends_at", Extra::Name(end)));
        }
        if let Some(changed) = &change.changed {
            let changed = MetadataValue::label(changed);
            rare.ours.push(("changed", Extra::Value(changed)));
        }
        Self {
            id: Some(change.id),
            decision: Some(Decision::LifecycleChanged),
            environment: change.environment,
            key_id: change.key_id,
            key_prefix: change.key_prefix,
            owner: Some(change.company),
            rare: Some(Box::new(rare)),
            ..Self::new(
                EventType::Lifecycle(change.kind),
                change.time,
                change.actor_type,
            )
        }
    }
}

fn tell_scopes(scopes: &[String], rare: &mut Rare) {
    let mut room = LONGEST_LIST;
    let fits = |scope: &&String| {
        let rest = room.checked_sub(scope.len() + 1);
        room = rest.unwrap_or(0);
        rest.is_some()
    };
    let told: Vec<&str> = scopes.iter().take_while(fits).map(String::as_str).collect();
    if !told.is_empty() {
        let list = told.join(",").into_boxed_str();
        rare.ours.push(("scopes", Extra::Name(list)));
    }
    if told.len() < scopes.len() {
        let left_out = i64::try_from(scopes.len() - told.len()).unwrap_or(i64::MAX);
        let left_out = MetadataValue::Integer(left_out);
        rare.ours.push(("scopes_left_out", Extra::Value(left_out)));
    }
}

fn label(text: &str) -> Box<str> {
    match MetadataValue::label(text) {
        MetadataValue::Label(label) => label,
        // `label` makes nothing else.
        _ => Box::default(),
    }
}

fn name(text: &str) -> Box<str> {
    let secret = text
        .rfind('_')
        .filter(|at| text[..*at].parse::<KeyPrefix>().is_ok());
    let text = secret.map_or(text, |at| &text[..at]);
    let mut end = text.len().min(LONGEST_NAME);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

const LONGEST_NAME: usize = 256;
const LONGEST_LIST: usize = 16 * 1024;
