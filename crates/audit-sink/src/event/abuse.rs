//! The event of an abuse signal, and who writes it.

use countersign_core::{AbuseObserver, AbuseSignal, ActorType, MetadataValue};

use super::notice::number;
use super::{AuditEvent, AuditSource, EventType, Extra, Rare, SourceForm};
use crate::AuditSink;

/// Writes every [`AbuseSignal`] into an audit log: queued with the log's next batch, without
/// waiting. A log that can't take the event counts it as lost, and its gap event tells.
#[derive(Debug, Clone)]
pub struct AbuseLog {
    sink: AuditSink,
    form: SourceForm,
}

impl AbuseLog {
    /// Writes into the log behind `sink`, with plain source addresses.
    #[must_use]
    pub const fn new(sink: AuditSink) -> Self {
        let form = SourceForm::Plain;
        Self { sink, form }
    }

    /// Another form for source addresses.
    #[must_use]
    pub fn with_source_form(mut self, form: SourceForm) -> Self {
        self.form = form;
        self
    }
}

impl AbuseObserver for AbuseLog {
    fn signal(&self, signal: &AbuseSignal) {
        if !self.sink.append(AuditEvent::abuse(signal, &self.form)) {
            tracing::error!(
                target: "countersign",
                kind = signal.kind.as_str(),
                request_id = %signal.request_id,
                "the audit log has no room for an abuse signal"
            );
        }
    }
}

impl AuditEvent {
    /// What the log tells of `signal`, with its id and its request's. `reason` is its kind.
    /// `metadata.subject` says whom it is about: the `source`, the `prefix` (in `key_prefix`), the
    /// `key` (in `key_id`) or the whole `platform`. `metadata.reaction` says what is done, and for a
    /// penalty `metadata.penalty_ms` and `metadata.level` for how long and which in a row it is.
    ///
    /// How often something was seen, and in what time, is not in it: that would tell the threshold
    /// to every reader of the log. The [`AbuseObserver`](countersign_core::AbuseObserver) knows.
    #[must_use]
    pub fn abuse(signal: &AbuseSignal, form: &SourceForm) -> Self {
        let rare = Rare {
            reason: Some(signal.kind.as_str().into()),
            ours: metadata(signal),
            ..Rare::default()
        };
        Self {
            id: Some(signal.id),
            monotonic: signal.at.monotonic,
            request_id: Some(signal.request_id.clone()),
            trace_id: signal.trace_id,
            environment: signal.key_prefix.map(|prefix| prefix.environment()),
            key_id: signal.key_id,
            key_prefix: signal.key_prefix,
            owner: signal.company,
            source: signal
                .source
                .map(|source| AuditSource::new(source.address(), form)),
            rare: Some(Box::new(rare)),
            ..Self::new(EventType::AbuseSignal, signal.at.wall, ActorType::System)
        }
    }
}

fn metadata(signal: &AbuseSignal) -> Vec<(&'static str, Extra)> {
    let label = |text: &str| Extra::Value(MetadataValue::label(text));
    let mut entries = vec![
        ("subject", label(signal.subject.as_str())),
        ("reaction", label(signal.reaction.as_str())),
    ];
    if let Some(penalty) = signal.penalty {
        let millis = u64::try_from(penalty.lasts.as_millis()).unwrap_or(u64::MAX);
        entries.push(("penalty_ms", number(millis)));
        entries.push(("level", number(penalty.level.into())));
    }
    entries
}
