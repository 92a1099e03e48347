//! Keys in memory, for tests.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use countersign_core::{
    CompanyId, KeyId, KeyPrefix, LifecycleEvent, StoreError, StoreErrorKind, Timestamp,
};

use crate::record::{CompanyRecord, CompanyStatus, KeyRecord};
use crate::store::{Change, FoundKey, KeyStore, Write};
use crate::uses::{KeyUse, UseStore};

/// A store that is gone with its process. For tests: it can be told to fail.
#[derive(Debug, Default)]
pub struct MemoryKeyStore {
    tables: Mutex<Tables>,
    down: AtomicBool,
}

#[derive(Debug, Default)]
struct Tables {
    keys: BTreeMap<KeyId, KeyRecord>,
    prefixes: HashMap<KeyPrefix, KeyId>,
    companies: BTreeMap<CompanyId, CompanyRecord>,
    uses: HashMap<KeyId, KeyUse>,
    events: Vec<LifecycleEvent>,
}

impl MemoryKeyStore {
    /// Lets every verb fail as `Unavailable`, or work again.
    pub fn set_available(&self, available: bool) {
        self.down.store(!available, Ordering::SeqCst);
    }

    fn tables(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreErrorKind::Unavailable.into());
        }
        Ok(self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn find(&self, prefix: &KeyPrefix) -> Result<Option<FoundKey>, StoreError> {
        let tables = self.tables()?;
        let id = tables.prefixes.get(prefix);
        let Some(record) = id.and_then(|id| tables.keys.get(id)).cloned() else {
            return Ok(None);
        };
        // A key whose company is not known belongs to nobody who could use it.
        let company = tables
            .companies
            .get(&record.company)
            .map_or(CompanyStatus::Suspended, |company| company.status);
        Ok(Some(FoundKey { record, company }))
    }

    async fn get(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.tables()?.keys.get(&id).cloned())
    }

    async fn list(
        &self,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let tables = self.tables()?;
        let keys = tables.keys.values();
        Ok(keys
            .filter(|key| key.company == *company && after.is_none_or(|after| key.id > after))
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        let tables = self.tables()?;
        let keys = tables.keys.values();
        let mut due: Vec<&KeyRecord> = keys
            .filter(|key| key.due_at().is_some_and(|due| due <= now))
            .collect();
        due.sort_by_key(|key| (key.expires_at, key.id));
        due.truncate(limit as usize);
        Ok(due.into_iter().cloned().collect())
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<CompanyRecord>, StoreError> {
        Ok(self.tables()?.companies.get(id).cloned())
    }

    async fn companies(
        &self,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, StoreError> {
        let tables = self.tables()?;
        let companies = tables.companies.values();
        Ok(companies
            .filter(|company| after.is_none_or(|after| company.id > *after))
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn commit(&self, change: &Change) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        // Every write is looked at before the first one is made, so that nothing is half made.
        let mut made = Tables::default();
        for write in &change.writes {
            tables.allows(write, &made)?;
            made.write(write);
        }
        change.writes.iter().for_each(|write| tables.write(write));
        tables.events.extend(change.events.iter().cloned());
        Ok(())
    }

    async fn pending_events(&self, limit: u32) -> Result<Vec<LifecycleEvent>, StoreError> {
        let tables = self.tables()?;
        Ok(tables.events.iter().take(limit as usize).cloned().collect())
    }

    async fn acknowledge_events(&self, events: &[LifecycleEvent]) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        let told = |event: &LifecycleEvent| events.iter().any(|told| told.id == event.id);
        tables.events.retain(|event| !told(event));
        Ok(())
    }

    fn uses(&self) -> Option<&dyn UseStore> {
        Some(self)
    }
}

#[async_trait]
impl UseStore for MemoryKeyStore {
    async fn record_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        let Tables {
            keys, uses: all, ..
        } = &mut *tables;
        for new in uses.iter().filter(|new| keys.contains_key(&new.key)) {
            all.entry(new.key)
                .and_modify(|before| before.add(new))
                .or_insert_with(|| new.clone());
        }
        Ok(())
    }

    async fn last_uses(&self, keys: &[KeyId]) -> Result<Vec<KeyUse>, StoreError> {
        let tables = self.tables()?;
        Ok(keys
            .iter()
            .filter_map(|key| tables.uses.get(key))
            .cloned()
            .collect())
    }
}

impl Tables {
    /// Whether `write` can be made after those that are in `made`.
    fn allows(&self, write: &Write, made: &Self) -> Result<(), StoreErrorKind> {
        let key = |id: &KeyId| made.keys.get(id).or_else(|| self.keys.get(id));
        let company = |id: &CompanyId| made.companies.get(id).or_else(|| self.companies.get(id));
        let taken = |prefix: &KeyPrefix| {
            self.prefixes.contains_key(prefix) || made.prefixes.contains_key(prefix)
        };
        match write {
            Write::InsertKey(record) if key(&record.id).is_some() || taken(&record.prefix) => {
                Err(StoreErrorKind::AlreadyExists)
            }
            Write::InsertCompany(record) if company(&record.id).is_some() => {
                Err(StoreErrorKind::AlreadyExists)
            }
            Write::InsertKey(record) if company(&record.company).is_none() => {
                Err(StoreErrorKind::NotFound)
            }
            Write::InsertKey(_) | Write::InsertCompany(_) => Ok(()),
            Write::UpdateKey { record, expected } => {
                let stored = key(&record.id);
                let same = |stored: &&KeyRecord| {
                    stored.prefix == record.prefix && stored.company == record.company
                };
                if stored.is_some() && !stored.as_ref().is_some_and(same) {
                    return Err(StoreErrorKind::Conflict);
                }
                expect(stored.map(|stored| stored.version), *expected)
            }
            Write::UpdateCompany { record, expected } => {
                expect(company(&record.id).map(|stored| stored.version), *expected)
            }
        }
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::InsertKey(record) | Write::UpdateKey { record, .. } => {
                self.prefixes.insert(record.prefix, record.id);
                self.keys.insert(record.id, record.clone());
            }
            Write::InsertCompany(record) | Write::UpdateCompany { record, .. } => {
                self.companies.insert(record.id, record.clone());
            }
        }
    }
}

fn expect(stored: Option<u64>, expected: u64) -> Result<(), StoreErrorKind> {
    match stored {
        None => Err(StoreErrorKind::NotFound),
        Some(version) if version == expected => Ok(()),
        Some(_) => Err(StoreErrorKind::Conflict),
    }
}
