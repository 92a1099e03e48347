//! Refusals of callers who are nobody, when there are too many of them from one place.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use countersign_core::{ActorType, Monotonic};

use crate::event::SourceGroup;
use crate::{AuditEvent, Decision, EventType};

/// Lets so many refusals of unauthenticated requests through for each source and second; those
/// beyond are held, and told together at the end of the second.
/// Nothing else is ever held. What it remembers is bounded: of sources that it has no room for
/// every refusal goes through.
#[derive(Debug)]
pub(super) struct Flood {
    limit: Option<NonZeroU32>,
    began: Monotonic,
    seen: HashMap<Option<SourceGroup>, u32>,
    held: HashMap<Option<SourceGroup>, Held>,
    /// How many events are held.
    count: u64,
}

/// The refusals of one source that are held.
#[derive(Debug, Default)]
struct Held {
    /// By reason, key and endpoint, as many as there is room for: whoever makes keys up makes no
    /// lines.
    apart: Vec<Told>,
    /// All the others, by reason alone.
    rest: Vec<Told>,
}

/// What is told together.
#[derive(Debug)]
struct Told {
    /// What is true of all of them.
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
        self.held.entry(source).or_default().add(event);
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
        let held = self.held.drain().flat_map(|(_, held)| held.into_all());
        held.map(Told::into_event).collect()
    }
}

impl Held {
    fn add(&mut self, event: &AuditEvent) {
        let mut apart = self.apart.iter_mut();
        if let Some(told) = apart.find(|told| told.event.is_repeated_by(event)) {
            return told.add(event);
        }
        if self.apart.len() < MOST_APART {
            return self.apart.push(Told::first(event));
        }
        let mut rest = self.rest.iter_mut();
        match rest.find(|told| told.event.is_refused_as(event)) {
            Some(told) => told.add(event),
            None => self.rest.push(Told::first(event)),
        }
    }

    fn into_all(self) -> impl Iterator<Item = Told> {
        self.apart.into_iter().chain(self.rest)
    }
}

impl Told {
    fn first(event: &AuditEvent) -> Self {
        Self {
            event: event.clone(),
            count: 1,
        }
    }

    fn add(&mut self, event: &AuditEvent) {
        self.event.keep_common(event);
        self.count += 1;
    }

    fn into_event(self) -> AuditEvent {
        match self.count {
            1 => self.event,
            count => self.event.standing_for(count),
        }
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
/// Of a source and second: so many lines, and one for each reason, are all that it can make.
const MOST_APART: usize = 16;
