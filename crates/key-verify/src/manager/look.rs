//! Looking at keys changes nothing.

use countersign_core::{CompanyId, KeyId, KeyPrefix, StoreErrorKind};

use super::{Actor, KeyManager, ManageError, operators_only};
use crate::record::KeyRecord;
use crate::uses::KeyUse;

impl KeyManager {
    /// A company's keys by ascending id: those after `after`, at most `limit`. A company actor is
    /// shown those of its key's environment.
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
        let (mut after, mut found) = (after, Vec::new());
        // Again where some of a page were of the other environment.
        loop {
            let wanted = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(limit));
            let page = self.0.store.list(company, after, wanted).await?;
            let full = page.len() == wanted as usize;
            after = page.last().map(|record| record.id);
            found.extend(page.into_iter().filter(|record| actor.may_touch(record)));
            if !full || found.len() == limit as usize {
                return Ok(found);
            }
        }
    }

    /// When and for what these keys were used; one that never was is left out. The times are up to
    /// an interval of [`UseWriter`](crate::UseWriter) late. For operators.
    ///
    /// # Errors
    /// `NotFound` when the actor is a company, `Store` when the store fails or keeps no uses.
    pub async fn last_uses(
        &self,
        actor: &Actor,
        keys: &[KeyId],
    ) -> Result<Vec<KeyUse>, ManageError> {
        operators_only(actor)?;
        match self.0.store.uses() {
            Some(uses) => Ok(uses.last_uses(keys).await?),
            None => Err(ManageError::Store(
                StoreErrorKind::UnsupportedVersion.into(),
            )),
        }
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
    pub(super) async fn load(
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
            .filter(|record| record.company == *company && actor.may_touch(record))
            .ok_or(ManageError::NotFound)
    }
}
