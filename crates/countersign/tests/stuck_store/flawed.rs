//! A store that fails as no store should.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use countersign::{
    Change, CompanyId, CompanyRecord, EventClaim, FoundKey, HeldClaim, KeyId, KeyPrefix, KeyRecord,
    KeyStore, LifecycleEvent, MemoryKeyStore, StoreError, Timestamp,
};

/// What background tasks ask of a store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Question {
    Claim,
    Held,
    Get,
    Due,
    Pending,
    Acknowledge,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Panics,
    Hangs,
}

/// Fails in its way, so many times, when it is asked one question.
#[derive(Debug)]
pub(crate) struct Flawed {
    pub(crate) inner: MemoryKeyStore,
    fault: Arc<Fault>,
}

#[derive(Debug)]
struct Fault {
    question: Question,
    way: Way,
    times: AtomicU32,
    /// Whether another process has the claim, and how often it was asked for in vain.
    taken: AtomicBool,
    in_vain: AtomicU32,
    granted: AtomicU32,
}

impl Flawed {
    pub(crate) fn new(question: Question, way: Way, times: u32) -> Arc<Self> {
        let fault = Fault {
            question,
            way,
            times: AtomicU32::new(times),
            taken: AtomicBool::new(false),
            in_vain: AtomicU32::new(0),
            granted: AtomicU32::new(0),
        };
        Arc::new(Self {
            inner: MemoryKeyStore::default(),
            fault: Arc::new(fault),
        })
    }

    async fn asked(&self, question: Question) {
        self.fault.asked(question).await;
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.fault.times.load(Ordering::SeqCst) == 0
    }

    /// Gives the claim to another process, or takes it back.
    pub(crate) fn give_away(&self, taken: bool) {
        self.fault.taken.store(taken, Ordering::SeqCst);
    }

    /// How often the claim was given.
    pub(crate) fn granted(&self) -> u32 {
        self.fault.granted.load(Ordering::SeqCst)
    }

    pub(crate) fn asked_in_vain(&self) -> u32 {
        self.fault.in_vain.load(Ordering::SeqCst)
    }
}

impl Fault {
    async fn asked(&self, question: Question) {
        let less = |times: u32| times.checked_sub(1);
        let (set, get) = (Ordering::SeqCst, Ordering::SeqCst);
        if question != self.question || self.times.fetch_update(set, get, less).is_err() {
            return;
        }
        match self.way {
            Way::Panics => panic!("a row that can't be read"),
            Way::Hangs => std::future::pending().await,
        }
    }
}

struct Lock(Arc<Fault>);

#[async_trait]
impl HeldClaim for Lock {
    async fn is_held(&self) -> bool {
        self.0.asked(Question::Held).await;
        !self.0.taken.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl KeyStore for Flawed {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        self.inner.find(prefix).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.asked(Question::Get).await;
        self.inner.get(id).await
    }

    async fn list(
        &self,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.inner.list(company, after, limit).await
    }

    async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        self.asked(Question::Due).await;
        self.inner.due_keys(now, limit).await
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        self.inner.company(id).await
    }

    async fn companies(
        &self,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        self.inner.companies(after, limit).await
    }

    async fn commit(&self, change: &Change) -> Result<(), StoreError> {
        self.inner.commit(change).await
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        self.asked(Question::Pending).await;
        self.inner.pending_events(limit).await
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        self.asked(Question::Acknowledge).await;
        self.inner.acknowledge_events(events).await
    }

    async fn claim_events(&self) -> Result<Option<EventClaim>, StoreError> {
        self.asked(Question::Claim).await;
        if self.fault.taken.load(Ordering::SeqCst) {
            self.fault.in_vain.fetch_add(1, Ordering::SeqCst);
            return Ok(None);
        }
        self.fault.granted.fetch_add(1, Ordering::SeqCst);
        Ok(Some(EventClaim::held_by(Lock(Arc::clone(&self.fault)))))
    }
}
