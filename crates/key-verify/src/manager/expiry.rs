//! Keys whose time has come.

use countersign_core::{LifecycleKind, Timestamp};

use super::{Actor, KeyManager, ManageError, transition};
use crate::record::KeyRecord;
use crate::store::Write;

/// What one call of [`KeyManager::expire_due`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExpirySweep {
    /// How many keys it stored as expired, each with its event.
    pub expired: u32,
    /// Whether more may be due: ask again.
    pub more: bool,
}

impl KeyManager {
    /// Stores active keys that ended at `until` or before as expired, and tells the audit log of
    /// each: at most `limit` of them, the longest due first, in one change. A time to come is taken
    /// as now, by the manager's clock.
    ///
    /// No request waits for this: a key is refused from its expiry on, with the same answer, whether
    /// this ever ran or not. It is how the end of a key gets into the audit log, and the event's time
    /// is that of the change. Who is not certain of its clock takes an `until` that lies a little
    /// back: what is stored as expired stays so.
    ///
    /// Only active keys expire. One that is pending, suspended or rotated when it ends keeps its
    /// state, without an event; like every key at its end it can only be revoked.
    ///
    /// Any number of processes may do this at the same time, and while others change the same keys:
    /// of each key one change is made and one event told.
    ///
    /// # Errors
    /// `NotFound` when the actor is a company, `Store` when the store fails; what was not stored then
    /// is due the next time.
    pub async fn expire_due(
        &self,
        actor: &Actor,
        until: Timestamp,
        limit: u32,
    ) -> Result<ExpirySweep, ManageError> {
        if actor.is_company() {
            return Err(ManageError::NotFound);
        }
        let until = until.min(self.now());
        let due = self.0.store.due_keys(until, limit).await?;
        let full = due.len() == limit as usize;
        let expired = match self.expire_together(actor, &due, until).await {
            // Somebody changed one of them: each by itself then, so that the others don't wait.
            Err(ManageError::Conflict) => self.expire_each(actor, &due, until).await?,
            done => done?,
        };
        // Where nothing was done, others are doing it, and asking again would only be in their way.
        let more = full && expired > 0;
        Ok(ExpirySweep { expired, more })
    }

    async fn expire_together(
        &self,
        actor: &Actor,
        due: &[KeyRecord],
        until: Timestamp,
    ) -> Result<u32, ManageError> {
        let (mut writes, mut events) = (Vec::new(), Vec::new());
        for key in due {
            let mut record = key.clone();
            if transition::expire(&mut record, until).is_err() {
                continue;
            }
            record.version += 1;
            events.push(self.event(actor, LifecycleKind::TokenExpired, &record));
            let expected = key.version;
            writes.push(Write::UpdateKey { record, expected });
        }
        let expired = writes.len();
        if expired > 0 {
            self.commit(writes, events).await?;
        }
        Ok(count(expired))
    }

    async fn expire_each(
        &self,
        actor: &Actor,
        due: &[KeyRecord],
        until: Timestamp,
    ) -> Result<u32, ManageError> {
        let kind = LifecycleKind::TokenExpired;
        let mut expired: usize = 0;
        for key in due {
            let change = self.change(actor, &key.company, key.id, kind, |record, _| {
                transition::expire(record, until)
            });
            match change.await {
                Ok(_) => expired += 1,
                // Others were faster, or are changing it now: then it is due the next time.
                Err(ManageError::IllegalTransition { .. } | ManageError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count(expired))
    }
}

/// No more than the limit, which is a `u32`.
fn count(keys: usize) -> u32 {
    u32::try_from(keys).unwrap_or(u32::MAX)
}
