//! Cards whose ids have the shape of one's choice.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router, middleware};
use countersign_company_scope::{CompanyScope, CompanyScopeLayer};
use countersign_core::{Denial, Endpoint};
use countersign_scope_guard::{Contract, ContractLayer};
use serde_json::{Value, json};

/// What the cards' service forgets the company in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CardLeak {
    None,
    /// Its list believes a query parameter.
    List,
    Show,
    Delete,
}

type Cards = Arc<Mutex<Vec<(String, Value)>>>;

pub(crate) fn contract() -> Contract {
    let scope = "cards:use".parse().unwrap();
    let endpoints = [
        Endpoint::get("/cards"),
        Endpoint::get("/cards/{card_id}"),
        Endpoint::delete("/cards/{card_id}"),
    ];
    let endpoints = endpoints.map(|endpoint| endpoint.scope(scope));
    Contract::builder().endpoints(endpoints).build().unwrap()
}

/// Twelve cards of each company, numbered through, with `id` of their numbers.
pub(crate) fn router(leak: CardLeak, id: fn(u32) -> Value) -> Router {
    let of = |n: u32| {
        if n.is_multiple_of(2) {
            "company_12"
        } else {
            "company_34"
        }
    };
    let all = (1..=24).map(|n| (of(n).to_owned(), id(n)));
    let cards: Cards = Arc::new(Mutex::new(all.collect()));
    let (listed, shown) = (cards.clone(), cards.clone());
    let list = async move |scope: CompanyScope, Query(query): Query<Vec<(String, String)>>| {
        let tenant = query.into_iter().find(|(name, _)| name == "tenant");
        let company = tenant.filter(|_| leak == CardLeak::List);
        let company = company.map_or_else(|| scope.company().to_string(), |(_, tenant)| tenant);
        let cards = listed.lock().unwrap();
        let own = cards.iter().filter(|(owner, _)| *owner == company);
        Json(json!({"data": own.map(|(_, id)| json!({"id": id})).collect::<Vec<_>>()}))
    };
    let show = async move |scope: CompanyScope, Path(id): Path<String>| {
        let at = find(&shown, &scope, &id, leak == CardLeak::Show)?;
        let (_, id) = shown.lock().unwrap()[at].clone();
        Ok::<_, Denial>(Json(json!({"id": id})))
    };
    let remove = async move |scope: CompanyScope, Path(id): Path<String>| {
        let at = find(&cards, &scope, &id, leak == CardLeak::Delete)?;
        cards.lock().unwrap().remove(at);
        Ok::<_, Denial>(StatusCode::NO_CONTENT)
    };
    Router::new()
        .route("/cards", get(list))
        .route("/cards/{card_id}", get(show).delete(remove))
        .layer(CompanyScopeLayer::new())
        .layer(middleware::from_fn(super::identify))
        .layer(ContractLayer::new(contract()))
}

fn find(cards: &Cards, scope: &CompanyScope, id: &str, is_anybodys: bool) -> Result<usize, Denial> {
    let text = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    let cards = cards.lock().unwrap();
    let mut all = cards.iter();
    all.position(|(owner, known)| {
        text(known) == id && (is_anybodys || owner == scope.company().as_str())
    })
    .ok_or_else(|| Denial::not_found().with_detail("card", id))
}
