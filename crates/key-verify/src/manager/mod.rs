//! The life of keys: issue, activate, rotate, suspend, revoke.

mod actor;
mod builder;
mod error;
mod issue;
#[cfg(test)]
mod tests;
mod transition;

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{
    Clock, CompanyId, Environment, EventId, KeyId, KeyPrefix, LifecycleEvent, LifecycleKind,
    LimitOverride, ScopeSet, StoreError, StoreErrorKind, Timestamp,
};
use ipnet::IpNet;

pub use self::actor::Actor;
pub use self::builder::KeyManagerBuilder;
pub use self::error::ManageError;
pub use self::issue::{IssueRequest, IssuedKey};
use crate::cache::KeyCache;
use crate::digest::Digester;
use crate::key::RawKey;
use crate::record::{CompanyRecord, CompanyStatus, KeyRecord, KeyStatus, RevocationReason};
use crate::store::{Change, KeyStore, Write};

/// Changes keys and companies. Every change follows the state machine
///
/// `pending → active → suspended ⇄ active`, `active → rotated → revoked`, any of these `→ revoked`,
///
/// names its actor, and is stored together with the event that tells the audit log of it. A key
/// past its expiry can only be revoked. Nothing is ever deleted, and a key never changes its owner.
///
/// Every verb takes the company whose key it is about, so that none can forget it: a key of another
/// company is [`ManageError::NotFound`], whoever asks, as if it did not exist. A company actor finds
/// its own company's keys and no others. It may show, suspend, rotate and revoke its
/// keys; everything that gives a key more, or back, is for operators. A clone is a handle to the
/// same manager.
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

    /// Makes a company known, so that it can own keys.
    ///
    /// # Errors
    /// `AlreadyExists`, or `NotFound` when the actor is a company.
    pub async fn create_company(
        &self,
        actor: &Actor,
        id: CompanyId,
    ) -> Result<CompanyRecord, ManageError> {
        operators_only(actor)?;
        let record = CompanyRecord {
            id,
            status: CompanyStatus::Active,
            version: 1,
        };
        let write = Write::InsertCompany(record.clone());
        self.commit(vec![write], Vec::new()).await?;
        Ok(record)
    }

    /// Issues a key. The raw key is returned here and never again.
    ///
    /// # Errors
    /// `Invalid` when an expiry, a scope, a label or a subsidiary is not acceptable, `NotFound` when
    /// the company is not known or the actor is a company.
    pub async fn issue(
        &self,
        actor: &Actor,
        request: IssueRequest,
    ) -> Result<IssuedKey, ManageError> {
        operators_only(actor)?;
        let now = self.now();
        self.check_request(&request, now)?;
        let company = self.0.store.company(&request.company).await?;
        company.ok_or(ManageError::NotFound)?;
        let subsidiaries = self
            .check_subsidiaries(&request.company, request.subsidiaries)
            .await?;
        let key = RawKey::generate(&self.0.brand, request.environment)?;
        let record = KeyRecord {
            id: new_key_id(now)?,
            prefix: *key.prefix(),
            company: request.company,
            digest: self.0.digester.digest(key.secret()),
            scopes: request.scopes,
            status: if request.active {
                KeyStatus::Active
            } else {
                KeyStatus::Pending
            },
            label: request.label,
            created_at: now,
            expires_at: request.expires_at,
            networks: request.networks,
            limits: request.limits,
            subsidiaries,
            predecessor: None,
            version: 1,
        };
        let events = self.issue_events(actor, &record);
        let writes = vec![Write::InsertKey(record.clone())];
        self.commit(writes, events).await?;
        Ok(IssuedKey { record, key })
    }

    /// Brings a pending key into use.
    ///
    /// # Errors
    /// `IllegalTransition` when it is not pending or is expired.
    pub async fn activate(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
    ) -> Result<KeyRecord, ManageError> {
        operators_only(actor)?;
        let kind = LifecycleKind::TokenActivated;
        self.change(actor, company, id, kind, transition::activate)
            .await
    }

    /// Takes an active key out of use for a while.
    ///
    /// # Errors
    /// `IllegalTransition` when it is not active or is expired.
    pub async fn suspend(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
    ) -> Result<KeyRecord, ManageError> {
        let kind = LifecycleKind::TokenSuspended;
        self.change(actor, company, id, kind, transition::suspend)
            .await
    }

    /// Brings a suspended key back into use.
    ///
    /// # Errors
    /// `IllegalTransition` when it is not suspended or is expired.
    pub async fn reactivate(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
    ) -> Result<KeyRecord, ManageError> {
        // A company must not undo what an operator did about it.
        operators_only(actor)?;
        let kind = LifecycleKind::TokenReactivated;
        self.change(actor, company, id, kind, transition::reactivate)
            .await
    }

    /// Replaces what a key may do.
    ///
    /// # Errors
    /// `Invalid` for no scope or an unknown one, `IllegalTransition` for a key at its end.
    pub async fn set_scopes(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        scopes: ScopeSet,
    ) -> Result<KeyRecord, ManageError> {
        // A company that could widen its own scopes would have all of them.
        operators_only(actor)?;
        self.check_scopes(&scopes)?;
        let kind = LifecycleKind::TokenScopesChanged;
        self.change(actor, company, id, kind, |record, now| {
            transition::in_life(record, now, "given other scopes")?;
            record.scopes = scopes.clone();
            Ok(None)
        })
        .await
    }

    /// Replaces a key's own quotas.
    ///
    /// # Errors
    /// `IllegalTransition` for a key at its end.
    pub async fn set_limits(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        limits: Vec<LimitOverride>,
    ) -> Result<KeyRecord, ManageError> {
        operators_only(actor)?;
        let kind = LifecycleKind::TokenLimitsChanged;
        self.change(actor, company, id, kind, |record, now| {
            transition::in_life(record, now, "given other limits")?;
            record.limits = limits.clone();
            Ok(None)
        })
        .await
    }

    /// Replaces the networks that a key may be used from; none means any.
    ///
    /// # Errors
    /// `IllegalTransition` for a key at its end.
    pub async fn set_networks(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        networks: Vec<IpNet>,
    ) -> Result<KeyRecord, ManageError> {
        operators_only(actor)?;
        let kind = LifecycleKind::TokenLimitsChanged;
        self.change(actor, company, id, kind, |record, now| {
            transition::in_life(record, now, "given other networks")?;
            record.networks = networks.clone();
            Ok(Some("networks"))
        })
        .await
    }

    /// Replaces the companies that a parent's key may act for besides its owner; none takes all
    /// grants back. The audit log names them in `metadata.subsidiaries`.
    ///
    /// # Errors
    /// `NotFound` when the actor is a company: nobody grants itself another company's data.
    /// `Invalid` when a company is not known to the store, is the owner itself, or when there are
    /// more than 64; `IllegalTransition` for a key at its end.
    pub async fn set_subsidiaries(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        subsidiaries: Vec<CompanyId>,
    ) -> Result<KeyRecord, ManageError> {
        operators_only(actor)?;
        let subsidiaries = self.check_subsidiaries(company, subsidiaries).await?;
        let kind = LifecycleKind::TokenScopesChanged;
        self.change(actor, company, id, kind, |record, now| {
            transition::in_life(record, now, "given other subsidiaries")?;
            record.subsidiaries.clone_from(&subsidiaries);
            Ok(Some("subsidiaries"))
        })
        .await
    }

    /// Gives a key a successor of the same company, scopes, limits, networks and subsidiaries, with as long a
    /// life as the old key had from its issue. The old key goes on for `overlap`, 0 allowed.
    ///
    /// # Errors
    /// `IllegalTransition` when the key is not active or is expired, `Invalid` when the overlap is
    /// longer than allowed.
    pub async fn rotate(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        overlap: Duration,
    ) -> Result<IssuedKey, ManageError> {
        if overlap > self.0.max_overlap {
            let most = self.0.max_overlap.as_secs() / 3600;
            let problem = format!("the overlap is too long: {most} hours at most");
            return Err(ManageError::Invalid(problem));
        }
        for _ in 0..MAX_TRIES {
            let mut old = self.load(actor, company, id).await?;
            let now = self.now();
            let expected = old.version;
            let key = RawKey::generate(old.prefix.brand(), old.environment())?;
            let new = self.successor(&old, &key, now)?;
            transition::rotate(&mut old, new.id, now.saturating_add(overlap), now)?;
            old.version += 1;
            let mut rotated = self.event(actor, LifecycleKind::TokenRotated, &old);
            rotated.linked_key = Some(new.id);
            let mut events = vec![rotated];
            events.extend(self.issue_events(actor, &new));
            let writes = vec![
                Write::UpdateKey {
                    record: old,
                    expected,
                },
                Write::InsertKey(new.clone()),
            ];
            match self.commit(writes, events).await {
                Err(ManageError::Conflict) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(IssuedKey { record: new, key }),
            }
        }
        Err(ManageError::Conflict)
    }

    /// Ends a key for ever.
    ///
    /// # Errors
    /// `IllegalTransition` when it is revoked already.
    pub async fn revoke(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        reason: RevocationReason,
    ) -> Result<KeyRecord, ManageError> {
        let kind = LifecycleKind::TokenRevoked;
        self.change(actor, company, id, kind, |record, now| {
            transition::revoke(record, reason, now)
        })
        .await
    }

    /// Suspends a company and with it all of its keys at once.
    ///
    /// # Errors
    /// `Invalid` when it is suspended already.
    pub async fn suspend_company(
        &self,
        actor: &Actor,
        company: CompanyId,
    ) -> Result<CompanyRecord, ManageError> {
        let kind = LifecycleKind::CompanySuspended;
        self.set_company(actor, company, CompanyStatus::Suspended, kind)
            .await
    }

    /// Brings a suspended company back: its keys are what they were.
    ///
    /// # Errors
    /// `Invalid` when it is not suspended.
    pub async fn reactivate_company(
        &self,
        actor: &Actor,
        company: CompanyId,
    ) -> Result<CompanyRecord, ManageError> {
        let kind = LifecycleKind::CompanyReactivated;
        self.set_company(actor, company, CompanyStatus::Active, kind)
            .await
    }

    /// The company with this id.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is not the actor's.
    pub async fn company(
        &self,
        actor: &Actor,
        company: &CompanyId,
    ) -> Result<CompanyRecord, ManageError> {
        let found = self.0.store.company(company).await?;
        found
            .filter(|found| actor.may_touch_company(&found.id))
            .ok_or(ManageError::NotFound)
    }

    /// A company's keys by ascending id: those after `after`, at most `limit`.
    ///
    /// # Errors
    /// `NotFound` when the company is not known or not the actor's.
    pub async fn list(
        &self,
        actor: &Actor,
        company: &CompanyId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, ManageError> {
        self.company(actor, company).await?;
        Ok(self.0.store.list(company, after, limit).await?)
    }

    /// One key of `company`.
    ///
    /// # Errors
    /// `NotFound` when it has none of this id, or is not the actor's.
    pub async fn show(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
    ) -> Result<KeyRecord, ManageError> {
        self.load(actor, company, id).await
    }

    /// The key with this prefix.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is not the actor's.
    pub async fn find(&self, actor: &Actor, prefix: &KeyPrefix) -> Result<KeyRecord, ManageError> {
        let found = self.0.store.find(prefix).await?;
        found
            .map(|found| found.record)
            .filter(|record| actor.may_touch(record))
            .ok_or(ManageError::NotFound)
    }

    /// The key with this id, for an operator who doesn't know whose it is. Every other verb asks
    /// for the company; this one finds it.
    ///
    /// # Errors
    /// `NotFound` when there is none, or the actor is a company.
    pub async fn locate(&self, actor: &Actor, id: KeyId) -> Result<KeyRecord, ManageError> {
        operators_only(actor)?;
        let found = self.0.store.get(id).await?;
        found.ok_or(ManageError::NotFound)
    }

    /// The one place where a key is loaded to be shown or changed: it must be the company's, and
    /// the company the actor's.
    async fn load(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
    ) -> Result<KeyRecord, ManageError> {
        if !actor.may_touch_company(company) {
            return Err(ManageError::NotFound);
        }
        let found = self.0.store.get(id).await?;
        found
            .filter(|record| record.company == *company)
            .ok_or(ManageError::NotFound)
    }

    /// Loads, changes and stores a key; again where another change came in between. `edit` names
    /// the reason for the event, if there is one.
    async fn change(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        kind: LifecycleKind,
        edit: impl Fn(&mut KeyRecord, Timestamp) -> Result<Option<&'static str>, ManageError>,
    ) -> Result<KeyRecord, ManageError> {
        for _ in 0..MAX_TRIES {
            let mut record = self.load(actor, company, id).await?;
            let expected = record.version;
            let reason = edit(&mut record, self.now())?;
            record.version += 1;
            let mut event = self.event(actor, kind, &record);
            event.reason = reason.map(str::to_owned);
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

    async fn set_company(
        &self,
        actor: &Actor,
        id: CompanyId,
        status: CompanyStatus,
        kind: LifecycleKind,
    ) -> Result<CompanyRecord, ManageError> {
        operators_only(actor)?;
        for _ in 0..MAX_TRIES {
            let mut record = self.company(actor, &id).await?;
            transition::set_company(&record, status)?;
            let expected = record.version;
            record.status = status;
            record.version += 1;
            let event = self.company_event(actor, kind, id);
            let write = Write::UpdateCompany {
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

    fn successor(
        &self,
        old: &KeyRecord,
        key: &RawKey,
        now: Timestamp,
    ) -> Result<KeyRecord, ManageError> {
        let lifetime = old.expires_at.duration_since(old.created_at);
        let lifetime = lifetime.min(self.0.max_lifetime);
        Ok(KeyRecord {
            id: new_key_id(now)?,
            prefix: *key.prefix(),
            digest: self.0.digester.digest(key.secret()),
            status: KeyStatus::Active,
            created_at: now,
            expires_at: now.saturating_add(lifetime),
            predecessor: Some(old.id),
            version: 1,
            ..old.clone()
        })
    }

    fn check_request(&self, request: &IssueRequest, now: Timestamp) -> Result<(), ManageError> {
        let refuse = |problem: String| Err(ManageError::Invalid(problem));
        self.check_scopes(&request.scopes)?;
        if request.expires_at <= now {
            return refuse("the expiry is in the past; give a time to come".to_owned());
        }
        if request.expires_at.duration_since(now) > self.0.max_lifetime {
            let days = self.0.max_lifetime.as_secs() / 86_400;
            return refuse(format!("the expiry is too far away; {days} days at most"));
        }
        if request.label.chars().count() > 100 || request.label.chars().any(char::is_control) {
            return refuse("the label must be at most 100 printable characters".to_owned());
        }
        Ok(())
    }

    /// In order and each one once.
    async fn check_subsidiaries(
        &self,
        owner: &CompanyId,
        mut companies: Vec<CompanyId>,
    ) -> Result<Vec<CompanyId>, ManageError> {
        companies.sort_unstable();
        companies.dedup();
        let refuse = |problem: String| Err(ManageError::Invalid(problem));
        if companies.len() > MAX_SUBSIDIARIES {
            return refuse(format!("{MAX_SUBSIDIARIES} subsidiaries at most"));
        }
        for company in &companies {
            if company == owner {
                return refuse("a key acts for its owner anyway".to_owned());
            }
            if self.0.store.company(company).await?.is_none() {
                return refuse(format!(
                    "the company {company} is not known; create it first"
                ));
            }
        }
        Ok(companies)
    }

    fn check_scopes(&self, scopes: &ScopeSet) -> Result<(), ManageError> {
        if scopes.is_empty() {
            let problem = "a key needs one scope at least".to_owned();
            return Err(ManageError::Invalid(problem));
        }
        let Some(known) = &self.0.known_scopes else {
            return Ok(());
        };
        match scopes.iter().find(|scope| !known.contains(*scope)) {
            None => Ok(()),
            Some(unknown) => Err(ManageError::Invalid(format!(
                "no endpoint asks for the scope {unknown}; known are {}",
                known.names().join(", ")
            ))),
        }
    }

    fn issue_events(&self, actor: &Actor, record: &KeyRecord) -> Vec<LifecycleEvent> {
        let mut kinds = vec![
            LifecycleKind::TokenCreated,
            LifecycleKind::TokenDisplayedOnce,
        ];
        if record.status == KeyStatus::Active {
            kinds.push(LifecycleKind::TokenActivated);
        }
        let events = kinds.into_iter();
        events
            .map(|kind| LifecycleEvent {
                linked_key: record.predecessor,
                ..self.event(actor, kind, record)
            })
            .collect()
    }

    fn event(&self, actor: &Actor, kind: LifecycleKind, record: &KeyRecord) -> LifecycleEvent {
        let environment: Environment = record.environment();
        LifecycleEvent {
            environment: Some(environment),
            key_id: Some(record.id),
            key_prefix: Some(record.prefix),
            subsidiaries: record.subsidiaries.clone(),
            ..self.company_event(actor, kind, record.company)
        }
    }

    fn company_event(
        &self,
        actor: &Actor,
        kind: LifecycleKind,
        company: CompanyId,
    ) -> LifecycleEvent {
        let time = self.now();
        LifecycleEvent {
            id: EventId::generate(time),
            time,
            kind,
            actor_type: actor.kind(),
            actor: actor.name(),
            company,
            environment: None,
            key_id: None,
            key_prefix: None,
            reason: None,
            linked_key: None,
            subsidiaries: Vec::new(),
        }
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now().wall
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

/// How many companies one key may act for besides its owner: each request compares its claim with
/// all of them.
const MAX_SUBSIDIARIES: usize = 64;

/// How often a change is tried again when others change the same record.
const MAX_TRIES: usize = 8;
