//! One key takes another's place.

use std::time::Duration;

use countersign_core::{CompanyId, KeyId, LifecycleKind, Timestamp};

use super::{Actor, IssuedKey, KeyManager, MAX_TRIES, ManageError, new_key_id, transition};
use crate::key::RawKey;
use crate::record::{KeyRecord, KeyStatus};
use crate::store::Write;

impl KeyManager {
    /// Gives a key a successor of the same company, scopes, limits, networks and
    /// subsidiaries. The old key goes on for `overlap`, by this manager's clock; at 0 it ends at once,
    /// by every clock. The successor of a key that was taken over from another system is one of our
    /// format.
    ///
    /// Where an operator rotates, the successor lives as long as the old key was issued for. Where a
    /// company does, it ends when the old key would have: a company renews its secret and never its
    /// time. A company also rotates a key only when the key before it has ended, so that rotating
    /// again and again leaves it two keys that work and no more.
    ///
    /// A [caller](Actor::caller) who rotates another key than its own gets nothing beyond its own key:
    /// a key with other scopes or subsidiaries, without the networks of its own, or with wider limits
    /// is refused; of two keys, limits of its own for a policy that only one has count as wider,
    /// because the policy's are not known here. The successor ends when the first of the two would have.
    ///
    /// # Errors
    /// `IllegalTransition` when the key is not active or is expired; `Invalid` when the overlap is
    /// longer than allowed, or a company's key before this one still works; `BeyondActor` when the
    /// actor is a caller whose key may not do all that this one may, or does not work any more.
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
            let key = RawKey::generate(self.brand_after(&old), old.environment())?;
            let end = self.end_of_successor(actor, &old, now).await?;
            if !actor.is_operator() {
                self.check_chain(&old, now).await?;
            }
            let new = self.successor(&old, &key, now, end)?;
            transition::rotate(&mut old, new.id, end_of_overlap(now, overlap), now)?;
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

    /// A successor begins as its predecessor does, unless that is of another system's format.
    fn brand_after<'a>(&'a self, old: &'a KeyRecord) -> &'a str {
        match old.prefix.brand() {
            RawKey::IMPORTED_BRAND => &self.0.brand,
            brand => brand,
        }
    }

    /// Whether the key before this one has ended.
    async fn check_chain(&self, key: &KeyRecord, now: Timestamp) -> Result<(), ManageError> {
        let Some(id) = key.predecessor else {
            return Ok(());
        };
        let before = self.0.store.get(id).await?;
        match before.filter(|before| before.standing(now).is_ok()) {
            None => Ok(()),
            Some(before) => Err(ManageError::Invalid(format!(
                "the key before it, {}, still works; revoke that one first",
                before.prefix
            ))),
        }
    }

    fn successor(
        &self,
        old: &KeyRecord,
        key: &RawKey,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<KeyRecord, ManageError> {
        Ok(KeyRecord {
            id: new_key_id(now)?,
            prefix: *key.prefix(),
            digest: self.0.digester.digest(key.secret()),
            status: KeyStatus::Active,
            created_at: now,
            expires_at,
            predecessor: Some(old.id),
            origin: Some(old.counted_by()),
            version: 1,
            ..old.clone()
        })
    }
}

fn end_of_overlap(now: Timestamp, overlap: Duration) -> Timestamp {
    if overlap.is_zero() {
        KeyStatus::AT_ONCE
    } else {
        now.saturating_add(overlap)
    }
}
