//! One event for several refusals.

use super::{AuditEvent, OtherCompany, Rare, notice};

impl AuditEvent {
    /// Whether the other request was refused for the same reason.
    pub(crate) fn is_refused_as(&self, other: &Self) -> bool {
        (self.kind, self.reason) == (other.kind, other.reason)
    }

    /// Whether the other request named the same key and endpoint and was refused for the same reason.
    pub(crate) fn is_repeated_by(&self, other: &Self) -> bool {
        let key_and_call = |event: &Self| (event.key_prefix, event.environment, event.method);
        self.is_refused_as(other)
            && key_and_call(self) == key_and_call(other)
            && self.route() == other.route()
    }

    /// Leaves what is true of the other request too. The time stays that of the first one.
    pub(crate) fn keep_common(&mut self, other: &Self) {
        // These name one request, whatever another one says.
        (self.request_id, self.trace_id, self.latency_us) = (None, None, None);
        keep(&mut self.decision, &other.decision);
        keep(&mut self.status, &other.status);
        keep(&mut self.environment, &other.environment);
        keep(&mut self.key_id, &other.key_id);
        keep(&mut self.key_prefix, &other.key_prefix);
        keep(&mut self.method, &other.method);
        keep(&mut self.endpoint, &other.endpoint);
        keep(&mut self.agent, &other.agent);
        keep(&mut self.messages, &other.messages);
        self.keep_common_companies(other);
        self.keep_common_source(other);
        match (&mut self.rare, &other.rare) {
            (Some(rare), Some(other)) => rare.keep_common(other),
            _ => self.rare = None,
        }
    }

    /// The event, told once for `count` of its kind.
    pub(crate) fn standing_for(mut self, count: u64) -> Self {
        self.rare().ours.push(("coalesced", notice::number(count)));
        self
    }

    fn keep_common_companies(&mut self, other: &Self) {
        if self.effective_company() != other.effective_company() {
            self.effective = OtherCompany::Absent;
        }
        if self.claimed_company() != other.claimed_company() {
            self.claimed = OtherCompany::Absent;
        }
        keep(&mut self.owner, &other.owner);
    }

    /// Of addresses that count as one, their network.
    fn keep_common_source(&mut self, other: &Self) {
        if self.source != other.source {
            let network = other.source.map(|source| source.network());
            self.source = self.source.map(|source| source.network());
            keep(&mut self.source, &network);
        }
    }
}

impl Rare {
    fn keep_common(&mut self, other: &Self) {
        keep(&mut self.reason, &other.reason);
        keep(&mut self.required_scope, &other.required_scope);
        keep(&mut self.limit_policy, &other.limit_policy);
        keep(&mut self.resource, &other.resource);
        self.ours.retain(|entry| other.ours.contains(entry));
        self.handlers.retain(|entry| other.handlers.contains(entry));
    }
}

fn keep<T: PartialEq>(value: &mut Option<T>, other: &Option<T>) {
    if value != other {
        *value = None;
    }
}
