//! Companies that own keys.

use countersign_core::{CompanyId, LifecycleKind};

use super::{Actor, KeyManager, MAX_TRIES, ManageError, operators_only, transition};
use crate::record::{CompanyRecord, CompanyStatus};
use crate::store::Write;

impl KeyManager {
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

    /// Companies by ascending id: those after `after`, at most `limit`.
    ///
    /// # Errors
    /// `NotFound` when the actor is a company.
    pub async fn companies(
        &self,
        actor: &Actor,
        after: Option<&CompanyId>,
        limit: u32,
    ) -> Result<Vec<CompanyRecord>, ManageError> {
        operators_only(actor)?;
        Ok(self.0.store.companies(after, limit).await?)
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
}
