//! What the endpoints do. No handler asks who is calling or whether they may: that is decided
//! before it runs, and it is handed the company whose data it may touch.

mod body;
pub(crate) mod payments;
mod reads;
mod webhooks;

use axum::Json;
use axum::routing::{Router, delete, get, post};
use countersign::{ConfigError, KeyManager, SelfService};
use serde::Serialize;

use crate::data::Data;

/// What the handlers work with.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) data: Data,
}

/// The routes for outside companies. Those by which they look after their own keys are the library's.
pub(crate) fn external(app: App, keys: KeyManager) -> Result<Router, ConfigError> {
    Ok(routes(keys)?.with_state(app))
}

fn routes(keys: KeyManager) -> Result<Router<App>, ConfigError> {
    let tokens = SelfService::new(keys).at("/external/v1/tokens")?;
    Ok(Router::new()
        .route("/external/v1/banks", get(reads::banks))
        .route("/external/v1/accounts", get(reads::accounts))
        .route("/external/v1/notifications", get(reads::notifications))
        .route("/external/v1/payments", post(payments::create))
        .route("/external/v1/payments/{payment_id}", get(payments::show))
        .route(
            "/external/v1/payment-status/{payment_id}",
            get(payments::status),
        )
        .route("/external/v1/webhooks", post(webhooks::register))
        .route(
            "/external/v1/webhooks/{webhook_id}",
            delete(webhooks::remove),
        )
        .merge(tokens.router()))
}

/// The routes for the platform's own services, on a listener of their own.
pub(crate) fn internal() -> Router {
    Router::new().route("/internal/v1/health", get(async || "ok"))
}

/// `{"data": …}`
#[derive(Debug, Serialize)]
struct Envelope<T> {
    data: T,
}

fn data<T: Serialize>(data: T) -> Json<impl Serialize> {
    Json(Envelope { data })
}

#[cfg(test)]
mod tests {
    use countersign::{KeyManager, MemoryKeyStore};

    #[test]
    fn the_router_answers_what_the_contract_opens_and_nothing_else() {
        let contract = crate::contract::contract().unwrap();
        let keys = KeyManager::builder(MemoryKeyStore::default()).build();
        let routes = super::routes(keys.unwrap()).unwrap();
        countersign::routes::assert_same(&routes, &contract);
    }
}
