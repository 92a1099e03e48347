//! Lists of what the company has.

use axum::extract::State;
use axum::response::IntoResponse;
use countersign::{CompanyScope, Denial};

use super::{App, data};

pub(super) async fn banks(
    State(app): State<App>,
    scope: CompanyScope,
) -> Result<impl IntoResponse, Denial> {
    app.data.banks(&scope).await.map(data)
}

pub(super) async fn accounts(
    State(app): State<App>,
    scope: CompanyScope,
) -> Result<impl IntoResponse, Denial> {
    app.data.accounts(&scope).await.map(data)
}

pub(super) async fn notifications(
    State(app): State<App>,
    scope: CompanyScope,
) -> Result<impl IntoResponse, Denial> {
    app.data.notifications(&scope).await.map(data)
}
