//! Refusals of callers who are nobody, when there are too many of them from one place.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use countersign_core::{ActorType, Monotonic, Reason};

use crate::event::SourceGroup;
use crate::{AuditEvent, Decision, EventType};

/// Lets so many refusals of unauthenticated requests through for each source and second; those
/// beyond are held, and told at the end of the second by one event for each source and reason.
/// Nothing else is ever held. What it remembers is bounded: of sources that it has no room for
/// every refusal goes through.
#[derive(Debug)]
pub(super) struct Flood {
    limit: Option<NonZeroU32>,
    began: Monotonic,
    seen: HashMap<Option<SourceGroup>, u32>,
    held: HashMap<(Option<SourceGroup>, Option<Reason>), Held>,
    /// How many events are held.
    count: u64,
}

#[derive(Debug)]
struct Held {
    /// The first of those that are held.
    event: AuditEvent,
    count: u64,
}

impl Flood {
    pub(super) fn new(limit: Option<NonZeroU32>) -> Self {
        Self {
            limit,
            began: Monotonic::default(),
            seen: HashMap::new(),
            held: HashMap::new(),
            count: 0,
        }
    }

    /// Whether `event` is to be told by itself; else it is held.
    pub(super) fn admits(&mut self, event: &AuditEvent, now: Monotonic) -> bool {
        let Some(limit) = self.limit.filter(|_| is_refusal_of_nobody(event)) else {
            return true;
        };
        if self.is_empty() && now.duration_since(self.began) >= WINDOW {
            self.seen.clear();
            self.began = now;
        }
        let source = event.source().map(|source| source.group());
        if self.seen.len() >= MOST_SOURCES && !self.seen.contains_key(&source) {
            return true;
        }
        let seen = self.seen.entry(source).or_insert(0);
        *seen = seen.saturating_add(1);
        if *seen <= limit.get() {
            return true;
        }
        self.count += 1;
        let key = (source, event.refusal());
        let first = || Held {
            event: event.clone(),
            count: 0,
        };
        self.held.entry(key).or_insert_with(first).count += 1;
        false
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many events are held.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// What is held, once its time is over or when it is asked for `now` in any case.
    pub(super) fn release(&mut self, now: Monotonic, all: bool) -> Vec<AuditEvent> {
        let over = now.duration_since(self.began) >= WINDOW;
        if self.is_empty() || !(over || all) {
            return Vec::new();
        }
        if over {
            self.seen.clear();
            self.began = now;
        }
        self.count = 0;
        let told = |held: Held| match held.count {
            1 => held.event,
            count => held.event.standing_for(count),
        };
        self.held.drain().map(|(_, held)| told(held)).collect()
    }
}

fn is_refusal_of_nobody(event: &AuditEvent) -> bool {
    event.actor() == ActorType::Anonymous
        && event.key_id().is_none()
        && matches!(
            event.decision(),
            Some(Decision::Denied | Decision::RateLimited)
        )
        && matches!(
            event.kind(),
            EventType::DeniedAuthentication
                | EventType::DeniedContract
                | EventType::RateLimited
                | EventType::AbuseDenied
        )
}

const WINDOW: Duration = Duration::from_secs(1);
const MOST_SOURCES: usize = 4096;
