//! What a company is told of its keys: field by field, so that no new field of a record gets out by
//! itself.

use axum::Json;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use countersign_core::{Environment, KeyId, KeyPrefix, ScopeSet, Timestamp};
use countersign_key_verify::{IssuedKey, KeyRecord, KeyStatus};
use serde::Serialize;
use serde_json::json;

pub(super) fn list(records: &[KeyRecord], page: u32, now: Timestamp) -> impl IntoResponse + use<> {
    let tokens: Vec<_> = records.iter().map(|key| Token::new(key, now)).collect();
    let full = records.len() == page as usize;
    let next = records.last().filter(|_| full).map(|key| key.id);
    let mut answer = json!({"data": tokens});
    if let Some(next) = next {
        answer["next"] = json!(next);
    }
    private(answer)
}

/// The one time that a raw key is seen.
pub(super) fn issued(issued: &IssuedKey, old: KeyId) -> impl IntoResponse + use<> {
    let token = Token::new(&issued.record, issued.record.created_at);
    let mut answer = json!({"data": token});
    answer["data"]["key"] = json!(issued.key.expose().as_str());
    answer["data"]["replaces"] = json!(old);
    private(answer)
}

pub(super) fn revoked(id: KeyId) -> impl IntoResponse {
    private(json!({"data": {"id": id, "status": "revoked"}}))
}

/// No cache between here and the caller keeps it.
fn private(answer: serde_json::Value) -> impl IntoResponse {
    let never = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ([never], Json(answer))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Token<'a> {
    id: KeyId,
    prefix: KeyPrefix,
    label: &'a str,
    environment: Environment,
    status: &'static str,
    scopes: &'a ScopeSet,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_until: Option<Timestamp>,
}

impl<'a> Token<'a> {
    fn new(record: &'a KeyRecord, now: Timestamp) -> Self {
        let replaced_by = match record.status {
            KeyStatus::Rotated { successor, .. } => Some(successor),
            _ => None,
        };
        Self {
            id: record.id,
            prefix: record.prefix,
            label: &record.label,
            environment: record.environment(),
            status: record.status_at(now),
            scopes: &record.scopes,
            created_at: record.created_at,
            expires_at: record.expires_at,
            replaced_by,
            accepted_until: record.status.accepted_until(),
        }
    }
}
