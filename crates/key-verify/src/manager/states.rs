//! Where a key stands: activate, suspend, reactivate, revoke, stop.

use countersign_core::{CompanyId, KeyId, LifecycleKind};

use super::{Actor, KeyManager, ManageError, operators_only, transition};
use crate::record::{KeyRecord, KeyStatus, RevocationReason};

impl KeyManager {
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

    /// Stops a key that works, as far as its state lets it come back: an active one is suspended; one
    /// that was replaced and goes on for an overlap is revoked, for `reason`. The event is the one
    /// of what was done. Its successor is a key of its own and stays what it is.
    ///
    /// # Errors
    /// `IllegalTransition` when the key is not accepted anyway.
    pub async fn stop(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        reason: RevocationReason,
    ) -> Result<KeyRecord, ManageError> {
        let refused = match self.suspend(actor, company, id).await {
            Err(refused @ ManageError::IllegalTransition { .. }) => refused,
            done => return done,
        };
        // A rotated key is not made active again, so nothing but its end can come in between.
        let record = self.load(actor, company, id).await?;
        let is_rotated = matches!(record.status, KeyStatus::Rotated { .. });
        if is_rotated && record.standing(self.now()).is_ok() {
            return self.revoke(actor, company, id, reason).await;
        }
        Err(refused)
    }
}
