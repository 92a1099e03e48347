//! The in-memory store passes the suite, and stores that are wrong in one thing do not.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use async_trait::async_trait;
use countersign_core::{
    CompanyId, KeyId, KeyPrefix, LifecycleEvent, StoreError, StoreErrorKind, Timestamp,
};
use countersign_key_verify::{
    Change, CompanyRecord, EventClaim, FoundKey, HeldClaim, KeyRecord, KeyStore, MemoryKeyStore,
    Write, conformance,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_store_conforms() {
    conformance::run(async || MemoryKeyStore::default()).await;
}

async fn run(flaw: Flaw) {
    conformance::run(async || Flawed(MemoryKeyStore::default(), flaw)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "another version")]
async fn the_suite_finds_a_store_that_ignores_versions() {
    run(Flaw::IgnoresVersions).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "half a change was made")]
async fn the_suite_finds_a_store_that_keeps_half_of_a_change() {
    run(Flaw::HalfOfAChange).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "a change that was not made")]
async fn the_suite_finds_a_store_that_keeps_events_of_refused_changes() {
    run(Flaw::EventsOfRefused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "an event comes back as it was given")]
async fn the_suite_finds_a_store_that_keeps_half_of_an_event() {
    run(Flaw::HalfOfAnEvent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "an event was lost")]
async fn the_suite_finds_a_store_that_forgets_events_of_companies() {
    run(Flaw::NoCompanyEvents).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "a prefix in other letters")]
async fn the_suite_finds_a_store_that_takes_letters_for_the_same() {
    run(Flaw::IgnoresCase).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "nobody else may bring events over")]
async fn the_suite_finds_a_store_that_lets_nobody_bring_events_over() {
    run(Flaw::NoClaim).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "two have it")]
async fn the_suite_finds_a_store_without_a_feed_whose_claim_two_have() {
    run(Flaw::ClaimOfMany).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "keys of another company")]
async fn the_suite_finds_a_store_that_lists_by_how_an_id_begins() {
    run(Flaw::ListsByBeginning).await;
}

/// A store that is right but for one thing.
#[derive(Debug)]
struct Flawed(MemoryKeyStore, Flaw);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    /// It writes whatever version it is told to expect.
    IgnoresVersions,
    /// A change that fails with `Conflict` or `NotFound` leaves what was written before that.
    HalfOfAChange,
    /// A change that fails leaves its events.
    EventsOfRefused,
    /// Events come back without some of their members, as from a table that lacks the columns.
    HalfOfAnEvent,
    /// Events of companies are not kept.
    NoCompanyEvents,
    /// A key is found by its prefix in other letters too.
    IgnoresCase,
    /// Nobody ever has the right to bring events over.
    NoClaim,
    /// Whoever asks has it.
    ClaimOfMany,
    /// A company's keys are those of all whose ids begin with its own.
    ListsByBeginning,
}

struct NoLock;

#[async_trait]
impl HeldClaim for NoLock {
    async fn is_held(&self) -> bool {
        true
    }
}

impl Flawed {
    async fn without_versions(&self, change: &Change) -> Result<(), StoreError> {
        let mut change = change.clone();
        for write in &mut change.writes {
            if let Write::UpdateKey { record, expected } = write
                && let Some(stored) = self.0.get(record.id).await?
            {
                *expected = stored.version;
            }
        }
        self.0.commit(&change).await
    }

    async fn or_half_of_it(&self, change: &Change) -> Result<(), StoreError> {
        let made = self.0.commit(change).await;
        let is_lost = |error: &StoreError| error.kind() != StoreErrorKind::AlreadyExists;
        if made.as_ref().is_err_and(is_lost) {
            for write in change.writes.iter().cloned() {
                let (writes, events) = (vec![write], Vec::new());
                let part = Change { writes, events };
                if self.0.commit(&part).await.is_err() {
                    break;
                }
            }
        }
        made
    }

    async fn or_its_events(&self, change: &Change) -> Result<(), StoreError> {
        let made = self.0.commit(change).await;
        if made.is_err() {
            let (writes, events) = (Vec::new(), change.events.clone());
            self.0.commit(&Change { writes, events }).await?;
        }
        made
    }

    async fn without_company_events(&self, change: &Change) -> Result<(), StoreError> {
        let mut change = change.clone();
        change
            .events
            .retain(|event| event.kind.as_str().contains("token"));
        self.0.commit(&change).await
    }
}

#[async_trait]
impl KeyStore for Flawed {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        let found = self.0.find(prefix).await?;
        if self.1 != Flaw::IgnoresCase || found.is_some() {
            return Ok(found);
        }
        let swapped = prefix.as_str().chars().enumerate().map(|(at, letter)| {
            let is_random = at >= "acme_live_".len();
            match (is_random, letter.is_ascii_uppercase()) {
                (true, true) => letter.to_ascii_lowercase(),
                (true, false) => letter.to_ascii_uppercase(),
                (false, _) => letter,
            }
        });
        let swapped: String = swapped.collect();
        self.0.find(&swapped.parse().unwrap()).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.0.get(id).await
    }

    async fn list(
        &self,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        if self.1 != Flaw::ListsByBeginning {
            return self.0.list(company, after, limit).await;
        }
        let mut all = Vec::new();
        for other in self.0.companies(None, 1000).await? {
            if other.id.as_str().starts_with(company.as_str()) {
                all.extend(self.0.list(&other.id, after, limit).await?);
            }
        }
        all.sort_by_key(|key| key.id);
        all.truncate(limit as usize);
        Ok(all)
    }

    async fn claim_events(&self) -> Result<Option<EventClaim>, StoreError> {
        match self.1 {
            Flaw::NoClaim => Ok(None),
            Flaw::ClaimOfMany => Ok(Some(EventClaim::held_by(NoLock))),
            _ => self.0.claim_events().await,
        }
    }

    async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        self.0.due_keys(now, limit).await
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        self.0.company(id).await
    }

    async fn companies(
        &self,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        self.0.companies(after, limit).await
    }

    async fn commit(&self, change: &Change) -> Result<(), StoreError> {
        match self.1 {
            Flaw::IgnoresVersions => self.without_versions(change).await,
            Flaw::HalfOfAChange => self.or_half_of_it(change).await,
            Flaw::EventsOfRefused => self.or_its_events(change).await,
            Flaw::NoCompanyEvents => self.without_company_events(change).await,
            _ => self.0.commit(change).await,
        }
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        let mut events = self.0.pending_events(limit).await?;
        if self.1 == Flaw::HalfOfAnEvent {
            for event in &mut events {
                (event.reason, event.changed, event.linked_key) = (None, None, None);
                (event.environment, event.key_prefix) = (None, None);
            }
        }
        Ok(events)
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        self.0.acknowledge_events(events).await
    }
}
