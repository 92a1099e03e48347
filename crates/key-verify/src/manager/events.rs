//! What the audit log is told.

use countersign_core::{CompanyId, Environment, EventId, LifecycleEvent, LifecycleKind, Timestamp};

use super::{Actor, KeyManager};
use crate::record::{KeyRecord, KeyStatus};

impl KeyManager {
    pub(super) fn issue_events(&self, actor: &Actor, record: &KeyRecord) -> Vec<LifecycleEvent> {
        let mut kinds = vec![
            LifecycleKind::TokenCreated,
            LifecycleKind::TokenDisplayedOnce,
        ];
        if record.status == KeyStatus::Active {
            kinds.push(LifecycleKind::TokenActivated);
        }
        let events = kinds.into_iter();
        events
            .map(|kind| LifecycleEvent {
                linked_key: record.predecessor,
                ..self.event(actor, kind, record)
            })
            .collect()
    }

    pub(super) fn event(
        &self,
        actor: &Actor,
        kind: LifecycleKind,
        record: &KeyRecord,
    ) -> LifecycleEvent {
        let environment: Environment = record.environment();
        let told = self.company_event(actor, kind, record.company);
        LifecycleEvent {
            environment: Some(environment),
            key_id: Some(record.id),
            key_prefix: Some(record.prefix),
            subsidiaries: record.subsidiaries.clone(),
            scopes: scopes_told(kind, record),
            ends_at: end_told(kind, record, told.time),
            ..told
        }
    }

    pub(super) fn company_event(
        &self,
        actor: &Actor,
        kind: LifecycleKind,
        company: CompanyId,
    ) -> LifecycleEvent {
        let time = self.now();
        LifecycleEvent {
            id: EventId::generate(time),
            time,
            kind,
            actor_type: actor.kind(),
            actor: actor.name(),
            company,
            environment: None,
            key_id: None,
            key_prefix: None,
            reason: None,
            linked_key: None,
            subsidiaries: Vec::new(),
            scopes: Vec::new(),
            ends_at: None,
            changed: None,
        }
    }
}

/// What the key may do, told when it is granted.
fn scopes_told(kind: LifecycleKind, record: &KeyRecord) -> Vec<String> {
    use LifecycleKind::{TokenCreated, TokenScopesChanged};
    if !matches!(kind, TokenCreated | TokenScopesChanged) {
        return Vec::new();
    }
    let names = record.scopes.names().into_iter();
    names.map(str::to_owned).collect()
}

/// Until when the key is accepted; a rotated one without an overlap until `now`.
fn end_told(kind: LifecycleKind, record: &KeyRecord, now: Timestamp) -> Option<Timestamp> {
    match kind {
        LifecycleKind::TokenCreated => Some(record.expires_at),
        LifecycleKind::TokenRotated => {
            let until = record.status.accepted_until().unwrap_or(now);
            Some(record.expires_at.min(until))
        }
        _ => None,
    }
}
