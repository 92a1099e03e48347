//! The state machine, without a store.

use countersign_core::{KeyId, Timestamp};

use super::{Edited, ManageError};
use crate::record::{CompanyRecord, CompanyStatus, KeyRecord, KeyStatus, RevocationReason};

type Done = Result<Edited, ManageError>;

// pending → active
pub(super) fn activate(record: &mut KeyRecord, now: Timestamp) -> Done {
    in_life(record, now, "activated")?;
    match record.status {
        KeyStatus::Pending => enter(record, KeyStatus::Active),
        KeyStatus::Active => illegal(record, now, "activated", ALREADY),
        _ => illegal(record, now, "activated", "a suspended key is reactivated"),
    }
}

// active → suspended
pub(super) fn suspend(record: &mut KeyRecord, now: Timestamp) -> Done {
    in_life(record, now, "suspended")?;
    match record.status {
        KeyStatus::Active => enter(record, KeyStatus::Suspended),
        KeyStatus::Suspended => illegal(record, now, "suspended", ALREADY),
        _ => illegal(record, now, "suspended", "revoke it to end it for ever"),
    }
}

// suspended → active
pub(super) fn reactivate(record: &mut KeyRecord, now: Timestamp) -> Done {
    in_life(record, now, "reactivated")?;
    match record.status {
        KeyStatus::Suspended => enter(record, KeyStatus::Active),
        KeyStatus::Active => illegal(record, now, "reactivated", ALREADY),
        _ => illegal(record, now, "reactivated", "a pending key is activated"),
    }
}

// active → rotated
pub(super) fn rotate(
    record: &mut KeyRecord,
    successor: KeyId,
    until: Timestamp,
    now: Timestamp,
) -> Done {
    in_life(record, now, "rotated")?;
    match record.status {
        KeyStatus::Active => enter(record, KeyStatus::Rotated { successor, until }),
        _ => illegal(
            record,
            now,
            "rotated",
            "only an active key is; issue a new one",
        ),
    }
}

// active → expired
pub(super) fn expire(record: &mut KeyRecord, now: Timestamp) -> Done {
    match record.due_at() {
        Some(due) if due <= now => enter(record, KeyStatus::Expired),
        Some(_) => illegal(record, now, "expired", "its time has not come"),
        None if record.status == KeyStatus::Expired => illegal(record, now, "expired", ALREADY),
        None => Err(ManageError::IllegalTransition {
            from: record.status.as_str(),
            verb: "expired",
            instead: "only an active key is",
        }),
    }
}

// pending, active, suspended, rotated, expired → revoked, whatever the clock says
pub(super) fn revoke(record: &mut KeyRecord, reason: RevocationReason, now: Timestamp) -> Done {
    match record.status {
        KeyStatus::Revoked { .. } => illegal(record, now, "revoked", ALREADY),
        _ => {
            record.status = KeyStatus::Revoked { at: now, reason };
            Ok(Edited::because(reason.as_str()))
        }
    }
}

/// Whether anything but revocation can still happen to a key.
pub(super) fn in_life(
    record: &KeyRecord,
    now: Timestamp,
    verb: &'static str,
) -> Result<(), ManageError> {
    let ended = matches!(
        record.status,
        KeyStatus::Expired | KeyStatus::Revoked { .. }
    );
    if ended || now >= record.expires_at {
        return illegal(record, now, verb, "issue a new one").map(drop);
    }
    Ok(())
}

pub(super) fn set_company(
    record: &CompanyRecord,
    status: CompanyStatus,
) -> Result<(), ManageError> {
    if record.status != status {
        return Ok(());
    }
    let problem = format!("the company is {} already", status.as_str());
    Err(ManageError::Invalid(problem))
}

fn enter(record: &mut KeyRecord, status: KeyStatus) -> Done {
    record.status = status;
    Ok(Edited::default())
}

fn illegal(record: &KeyRecord, now: Timestamp, verb: &'static str, instead: &'static str) -> Done {
    Err(ManageError::IllegalTransition {
        from: record.status_at(now),
        verb,
        instead,
    })
}

const ALREADY: &str = "it is already";
