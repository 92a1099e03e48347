//! A cache, its clock, and a store that does as it is told.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use countersign_core::{
    KeyId, LifecycleEvent, ManualClock, ScopeSet, StoreError, StoreErrorKind, Timestamp,
};
use tokio::sync::Semaphore;

use super::*;
use crate::digest::SecretDigest;
use crate::record::{CompanyRecord, CompanyStatus, KeyRecord, KeyStatus};
use crate::store::{Change, FoundKey};

pub(super) const BOUND: Duration = Duration::from_secs(4);
pub(super) const FALLBACK: Duration = Duration::from_secs(2);
pub(super) const TICK: Duration = Duration::from_nanos(1);

/// Reads its record, then waits at the gate, then answers, as over a slow network.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) found: Mutex<HashMap<KeyPrefix, FoundKey>>,
    pub(super) asked: AtomicUsize,
    pub(super) gate: Semaphore,
    pub(super) down: AtomicBool,
    pub(super) panics: AtomicBool,
}

impl Script {
    pub(super) fn set(&self, found: FoundKey) {
        self.set_under(found.record.prefix, found);
    }

    pub(super) fn set_under(&self, prefix: KeyPrefix, found: FoundKey) {
        self.found.lock().unwrap().insert(prefix, found);
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) async fn until_asked(&self, times: usize) {
        for _ in 0..1_000_000 {
            if self.asked() >= times {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the store was not asked {times} times");
    }
}

#[async_trait]
impl KeyStore for Script {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        assert!(!self.panics.load(Ordering::SeqCst), "the store panics");
        let found = self.found.lock().unwrap().get(prefix).cloned();
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreErrorKind::Unavailable.into());
        }
        Ok(found)
    }

    async fn get(&self, _: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn list(
        &self,
        _: &CompanyId,
        _: Option<KeyId>,
        _: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn due_keys(&self, _: Timestamp, _: u32) -> Result<Vec<KeyRecord>, StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn company(&self, _: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn companies(
        &self,
        _: Option<&CompanyId>,
        _: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn commit(&self, _: &Change) -> Result<(), StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn pending_events(&self, _: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn acknowledge_events(&self, _: &[LifecycleEvent]) -> Result<(), StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }
}

pub(super) struct World {
    pub(super) store: Arc<Script>,
    pub(super) clock: ManualClock,
    pub(super) cache: KeyCache,
}

impl World {
    pub(super) fn new(bound: Duration, open: usize) -> Self {
        let clock = ManualClock::default();
        let store = Arc::new(Script {
            found: Mutex::default(),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(open),
            down: AtomicBool::new(false),
            panics: AtomicBool::new(false),
        });
        let settings = CacheSettings {
            bound,
            absent_for: bound.min(Duration::from_secs(1)),
            keys: 100,
            absent: 10,
            deadline: Duration::from_secs(2),
            fallback: bound.min(FALLBACK),
            look_ups: 8,
            nothing: SecretDigest::Sha256([0; 32]),
        };
        let cache = KeyCache::new(
            Arc::new(Arc::clone(&store)),
            Arc::new(clock.clone()),
            settings,
        );
        Self {
            store,
            clock,
            cache,
        }
    }

    /// The version of the key that the cache would serve now.
    pub(super) fn peek(&self) -> Option<u64> {
        let now = self.clock.monotonic();
        self.cache.peek(&prefix(1), now, |key| key.version)
    }

    pub(super) async fn look_up(&self) -> Option<u64> {
        version(&self.cache.look_up(prefix(1)).await)
    }

    /// Lets the tasks of other callers and of refreshes come to their ends.
    pub(super) async fn settle(&self) {
        while !self.cache.0.flights.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

/// The version of what stands in the place of a key that the store doesn't know.
pub(super) const ABSENT: u64 = 0;

pub(super) fn prefix(number: usize) -> KeyPrefix {
    format!("acme_live_{number:012}").parse().unwrap()
}

pub(super) fn key(number: usize, version: u64) -> FoundKey {
    let record = KeyRecord {
        id: KeyId::from_u128(number as u128),
        prefix: prefix(number),
        company: "company_12".parse().unwrap(),
        digest: SecretDigest::Sha256([0; 32]),
        scopes: ScopeSet::new(),
        status: KeyStatus::Active,
        label: String::new(),
        created_at: Timestamp::default(),
        expires_at: Timestamp::from_micros(i64::MAX),
        networks: Vec::new(),
        limits: Vec::new(),
        subsidiaries: Vec::new(),
        predecessor: None,
        origin: None,
        version,
    };
    FoundKey {
        record,
        company: CompanyStatus::Active,
    }
}

pub(super) fn version(outcome: &Outcome) -> Option<u64> {
    match outcome {
        Outcome::Found(key) => key.known.then_some(key.version),
        Outcome::Unavailable => None,
    }
}
