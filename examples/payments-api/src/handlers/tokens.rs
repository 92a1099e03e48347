//! A company revokes a key of its own.

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use countersign::{
    AccessContext, Actor, CompanyScope, Denial, KeyId, ManageError, Reason, Resource,
    RevocationReason, VerifiedKey,
};
use serde::Deserialize;
use serde_json::json;

use super::body::Body;
use super::{App, data};

#[derive(Debug, Deserialize)]
pub(super) struct Revocation {
    #[serde(default = "company_request")]
    reason: RevocationReason,
}

pub(super) async fn revoke(
    State(app): State<App>,
    scope: CompanyScope,
    key: VerifiedKey,
    context: AccessContext,
    Path(id): Path<String>,
    Body(revocation): Body<Revocation>,
) -> Result<impl IntoResponse, Denial> {
    // An id that is none is answered like an id that never existed.
    let id: KeyId = id.parse().map_err(|_| Denial::not_found())?;
    context.note(|notes| notes.resource = Some(Resource::new("token", &id.to_string())));
    // The actor is the company, and the key must be its own: anybody else's is not found.
    let actor = Actor::company(*scope.company(), key.prefix);
    let revoked = app
        .keys
        .revoke(&actor, scope.company(), id, revocation.reason)
        .await;
    match revoked {
        Ok(_) => {}
        // Revoking a revoked key is no error: the company has what it asked for.
        Err(ManageError::IllegalTransition { .. }) => {}
        Err(ManageError::NotFound) => return Err(Denial::not_found()),
        Err(error) => {
            tracing::error!(%error, "a key could not be revoked");
            return Err(Reason::KeyStoreUnavailable.into());
        }
    }
    Ok(data(json!({"id": id, "status": "revoked"})))
}

fn company_request() -> RevocationReason {
    RevocationReason::CompanyRequest
}
