//! What the endpoints do. Who calls, and that it may, was decided before.

use std::time::Duration;

use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::response::IntoResponse;
use bytes::Bytes;
use countersign_company_scope::CompanyScope;
use countersign_core::{
    AccessContext, CompanyId, Denial, KeyId, Reason, Resource, Scope, ScopeSet,
};
use countersign_key_verify::{Actor, KeyManager, ManageError, RevocationReason};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answers;

/// The company that looks after its keys.
pub(super) struct Caller {
    context: AccessContext,
    company: CompanyId,
    actor: Actor,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Denial;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denial> {
        let scope = CompanyScope::from_request_parts(parts, state).await?;
        let context = AccessContext::from_request_parts(parts, state).await?;
        if scope.company() != scope.owner() {
            return Err(Reason::CompanyMismatch.into());
        }
        let actor = context.identity().and_then(Actor::caller);
        let actor = actor.ok_or_else(|| {
            context.misconfigured("self-service", "an API key: a key-verify layer around it")
        })?;
        Ok(Self {
            context,
            company: *scope.company(),
            actor,
        })
    }
}

impl Caller {
    /// The id of a key of this company; one that is none is answered like one that never existed.
    /// Whose it is comes before a look at the body: what is wrong with that says nothing of a key
    /// that is not there.
    async fn own_token(&self, manager: &KeyManager, text: &str) -> Result<KeyId, Denial> {
        let id: KeyId = text.parse().map_err(|_| Denial::not_found())?;
        let resource = Resource::new("token", &id.to_string());
        self.context.note(|notes| notes.resource = Some(resource));
        let shown = manager.show(&self.actor, &self.company, id).await;
        shown.map(|_| id).map_err(refusal)
    }
}

#[derive(Deserialize)]
pub(super) struct Page {
    after: Option<String>,
}

pub(super) async fn list(
    State(manager): State<KeyManager>,
    caller: Caller,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<impl IntoResponse, Denial> {
    let Query(page) = page.map_err(|_| Reason::MalformedRequest)?;
    let after = page.after.map(|id| id.parse());
    let after: Option<KeyId> = after.transpose().map_err(|_| {
        Denial::validation("`after` is the id of a token, such as key_ and 26 characters.")
    })?;
    let listed = manager.list(&caller.actor, &caller.company, after, PAGE);
    let records = listed.await.map_err(refusal)?;
    let context = caller.context;
    Ok(answers::list(&records, PAGE, context.received().wall))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rotation {
    overlap_seconds: Option<u64>,
}

pub(super) async fn rotate(
    State(manager): State<KeyManager>,
    caller: Caller,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, Denial> {
    let id = caller.own_token(&manager, &id).await?;
    let rotation: Rotation = read(body)?;
    let overlap = rotation.overlap_seconds.map_or(DAY, Duration::from_secs);
    let rotated = manager.rotate(&caller.actor, &caller.company, id, overlap);
    let issued = rotated.await.map_err(|error| match error {
        ManageError::IllegalTransition { .. } => {
            Denial::validation("Only an active token can be rotated.")
        }
        ManageError::Invalid(_) => Denial::validation(
            "The overlap is too long, or the token before this one still works: revoke that one \
             first.",
        ),
        error => refusal(error),
    })?;
    Ok(answers::issued(&issued, id))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Revocation {
    reason: Option<RevocationReason>,
}

pub(super) async fn revoke(
    State(manager): State<KeyManager>,
    caller: Caller,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, Denial> {
    let id = caller.own_token(&manager, &id).await?;
    let revocation: Revocation = read(body)?;
    let reason = revocation.reason;
    let reason = reason.unwrap_or(RevocationReason::CompanyRequest);
    let revoked = manager.revoke(&caller.actor, &caller.company, id, reason);
    match revoked.await {
        // Of a revoked key the company has what it asked for.
        Ok(_) | Err(ManageError::IllegalTransition { .. }) => Ok(answers::revoked(id)),
        Err(error) => Err(refusal(error)),
    }
}

/// An object, or nothing at all. What is not known is refused: a misspelt overlap is not a day.
fn read<T: DeserializeOwned + Default>(body: Result<Bytes, BytesRejection>) -> Result<T, Denial> {
    let body = body.map_err(|_| Denial::validation("The body can't be read, or is too large."))?;
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&body).map_err(|error| {
        if error.is_data() {
            Denial::validation("The body has a member that is not known, or one of a wrong kind.")
        } else {
            Reason::MalformedRequest.into()
        }
    })
}

/// What the caller may know of an error.
fn refusal(error: ManageError) -> Denial {
    match error {
        ManageError::NotFound => Denial::not_found(),
        ManageError::BeyondActor { scopes, companies } => beyond(&scopes, companies),
        error => {
            tracing::error!(target: "countersign", %error, "a company's change of its key failed");
            Reason::KeyStoreUnavailable.into()
        }
    }
}

fn beyond(scopes: &ScopeSet, companies: bool) -> Denial {
    let denial = Denial::new(Reason::ScopeMissing);
    if !scopes.is_empty() {
        let missing: Vec<Scope> = scopes.iter().collect();
        return denial.with_required_scopes(&missing);
    }
    if companies {
        return Reason::CompanyMismatch.into();
    }
    denial.with_message("The token has other networks or limits than the one that asks for it.")
}

const PAGE: u32 = 100;
const DAY: Duration = Duration::from_secs(86_400);
