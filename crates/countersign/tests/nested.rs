//! Paths below a nested router that none of its routes has.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use countersign::CompanyScope;
use support::World;
use tower::ServiceExt;

fn external() -> Router {
    let accounts = async |scope: CompanyScope| scope.company().to_string();
    Router::new().route("/accounts", get(accounts))
}

/// The statuses of answers, and how many of them have an id.
async fn ask(world: &World, external: Router) -> (Vec<u16>, usize) {
    let service = Router::new().nest("/v1", external.layer(world.stack.clone()));
    let (mut statuses, mut ids) = (Vec::new(), 0);
    for path in ["/v1/accounts", "/v1/nope", "/v1"] {
        let answer = service.clone().oneshot(world.request(path)).await.unwrap();
        statuses.push(answer.status().as_u16());
        ids += usize::from(answer.headers().contains_key("x-request-id"));
    }
    (statuses, ids)
}

#[tokio::test]
async fn the_outer_router_answers_them_past_the_stack() {
    let world = World::new().await;
    assert_eq!(ask(&world, external()).await, (vec![200, 404, 404], 1));
    assert_eq!(world.events().await.len(), 1);
}

#[tokio::test]
async fn a_fallback_of_the_nested_router_brings_them_to_the_stack() {
    let world = World::new().await;
    let external = external().fallback(async || StatusCode::NOT_FOUND);
    assert_eq!(ask(&world, external).await, (vec![200, 403, 403], 3));
    let events = world.events().await;
    let reasons: Vec<_> = events.iter().map(|event| &event["reason"]).collect();
    assert_eq!(reasons[1..], ["endpoint_unknown", "endpoint_unknown"]);
    assert_eq!(events.len(), 3);
}
