//! The life of keys: issue, activate, rotate, suspend, expire, revoke.

mod actor;
mod bounds;
mod builder;
mod companies;
mod error;
mod events;
mod expiry;
mod grants;
mod import;
mod issue;
mod look;
mod rotate;
mod states;
#[cfg(test)]
mod tests;
mod transition;

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{
    Clock, CompanyId, KeyId, LifecycleEvent, LifecycleKind, ScopeSet, StoreError, StoreErrorKind,
    Timestamp,
};

pub use self::actor::Actor;
pub use self::builder::KeyManagerBuilder;
pub use self::error::ManageError;
pub use self::expiry::ExpirySweep;
pub use self::import::{ImportRequest, ImportedHash};
pub use self::issue::{IssueRequest, IssuedKey};
use crate::cache::KeyCache;
use crate::digest::Digester;
use crate::record::KeyRecord;
use crate::store::{Change, KeyStore, Write};

/// Changes keys and companies. Every change follows the state machine
///
/// `pending → active → suspended ⇄ active`, `active → rotated → revoked`, `active → expired`, any of
/// these `→ revoked`,
///
/// names its actor, and is stored together with the event that tells the audit log of it. A key
/// past its expiry can only be revoked. Nothing is ever deleted, and a key never changes its owner.
///
/// Every verb takes the company whose key it is about, so that none can forget it: a key of another
/// company is [`ManageError::NotFound`], whoever asks, as if it did not exist. A company actor finds
/// its own company's keys of its own environment and no others. It may show, suspend, rotate and revoke its keys;
/// everything that gives a key more, or back, is for operators. So a company's rotation gives no
/// more time either, see [`KeyManager::rotate`]. A clone is a handle to the same manager.
#[derive(Debug, Clone)]
pub struct KeyManager(Arc<Settings>);

#[derive(Debug)]
struct Settings {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    digester: Digester,
    brand: String,
    known_scopes: Option<ScopeSet>,
    max_lifetime: Duration,
    max_overlap: Duration,
    caches: Vec<KeyCache>,
}

impl KeyManager {
    /// Begins a manager of the keys in `store`.
    pub fn builder(store: impl KeyStore) -> KeyManagerBuilder {
        KeyManagerBuilder::new(Arc::new(store))
    }

    /// Loads, changes and stores a key; again where another change came in between.
    async fn change(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        kind: LifecycleKind,
        edit: impl Fn(&mut KeyRecord, Timestamp) -> Result<Edited, ManageError>,
    ) -> Result<KeyRecord, ManageError> {
        for _ in 0..MAX_TRIES {
            let mut record = self.load(actor, company, id).await?;
            let expected = record.version;
            let edited = edit(&mut record, self.now())?;
            record.version += 1;
            let mut event = self.event(actor, kind, &record);
            event.reason = edited.reason.map(str::to_owned);
            event.changed = edited.changed.map(str::to_owned);
            let write = Write::UpdateKey {
                record: record.clone(),
                expected,
            };
            match self.commit(vec![write], vec![event]).await {
                Err(ManageError::Conflict) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(record),
            }
        }
        Err(ManageError::Conflict)
    }

    /// Stores a change and makes it felt in the caches. They are told even when the store failed:
    /// the change may have been made.
    async fn commit(
        &self,
        writes: Vec<Write>,
        events: Vec<LifecycleEvent>,
    ) -> Result<(), ManageError> {
        let change = Change { writes, events };
        let (store, caches) = (Arc::clone(&self.0.store), self.0.caches.clone());
        // A task of its own: a caller who leaves half way must not leave a cache that was not told.
        let work = tokio::spawn(async move {
            let done = store.commit(&change).await;
            caches.iter().for_each(|cache| evict(cache, &change));
            done
        });
        match work.await {
            Ok(done) => Ok(done?),
            Err(error) => {
                let error = StoreError::with_source(StoreErrorKind::Unavailable, error);
                Err(ManageError::Store(error))
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now().wall
    }
}

/// What an edit tells the audit log beyond the kind of its event, each in one word.
#[derive(Debug, Clone, Copy, Default)]
struct Edited {
    reason: Option<&'static str>,
    changed: Option<&'static str>,
}

impl Edited {
    const fn because(reason: &'static str) -> Self {
        Self {
            reason: Some(reason),
            changed: None,
        }
    }

    const fn part(changed: &'static str) -> Self {
        Self {
            reason: None,
            changed: Some(changed),
        }
    }
}

fn evict(cache: &KeyCache, change: &Change) {
    for write in &change.writes {
        match write {
            Write::InsertKey(record) | Write::UpdateKey { record, .. } => {
                cache.evict(&record.prefix);
            }
            Write::InsertCompany(record) | Write::UpdateCompany { record, .. } => {
                cache.evict_company(&record.id);
            }
        }
    }
}

fn operators_only(actor: &Actor) -> Result<(), ManageError> {
    if actor.is_operator() {
        Ok(())
    } else {
        Err(ManageError::NotFound)
    }
}

/// 48 bits of time and 80 of randomness, as a ULID has them.
fn new_key_id(now: Timestamp) -> Result<KeyId, ManageError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|_| ManageError::Invalid("the system gives no random numbers".to_owned()))?;
    let random = u128::from_be_bytes(random) >> 48;
    Ok(KeyId::from_u128(u128::from(now.as_millis()) << 80 | random))
}

/// How often a change is tried again when others change the same record.
const MAX_TRIES: usize = 8;
