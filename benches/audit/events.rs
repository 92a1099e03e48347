//! Events as long as real ones.

use countersign::AuditEvent;
use countersign_core::{ActorType, EventId, LifecycleEvent, LifecycleKind, Timestamp};

/// An event whose line takes about 512 bytes.
pub(crate) fn event() -> AuditEvent {
    let time = Timestamp::from_micros(1_767_225_600_000_000);
    AuditEvent::from(LifecycleEvent {
        id: EventId::generate(time),
        time,
        kind: LifecycleKind::TokenRevoked,
        actor_type: ActorType::Operator,
        actor: "x".repeat(130),
        company: "company_12".parse().expect("a company"),
        environment: None,
        key_id: None,
        key_prefix: "acme_live_pBakQVyk6bW4".parse().ok(),
        reason: Some("suspected_leakage".to_owned()),
        linked_key: None,
        subsidiaries: Vec::new(),
        scopes: Vec::new(),
        ends_at: None,
        changed: None,
    })
}
