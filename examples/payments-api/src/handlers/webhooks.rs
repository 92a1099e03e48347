//! Webhooks: register where to be called back, and withdraw it. Nothing is delivered.

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use countersign::{CompanyScope, Denial};
use serde::Deserialize;
use serde_json::json;

use super::body::Body;
use super::{App, data};
use crate::data::new_id;

#[derive(Debug, Deserialize)]
pub(super) struct NewWebhook {
    url: String,
}

pub(super) async fn register(
    State(app): State<App>,
    scope: CompanyScope,
    Body(new): Body<NewWebhook>,
) -> Result<impl IntoResponse, Denial> {
    let https = |uri: &Uri| uri.scheme_str() == Some("https") && uri.host().is_some();
    if new.url.len() > 500 || !new.url.parse().is_ok_and(|uri| https(&uri)) {
        let message = "The url must be an https address of at most 500 characters.";
        return Err(Denial::validation(message).with_detail("field", "url"));
    }
    let id = new_id("wh");
    app.data
        .add_webhook(&scope, id.clone(), new.url.clone())
        .await?;
    let webhook = data(json!({"id": id, "url": new.url}));
    Ok((StatusCode::CREATED, webhook))
}

pub(super) async fn remove(
    State(app): State<App>,
    scope: CompanyScope,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Denial> {
    if app.data.delete_webhook(&scope, id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Denial::not_found())
    }
}
