//! Handlers of axum take the scope as an argument.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::Router;
use axum::body::Body;
use axum::extract::Json;
use axum::routing::post as on_post;
use countersign_company_scope::{CompanyScope, Owned, VerifiedKey};
use countersign_core::{
    AccessContext, Edge, Environment, Identity, KeyId, Reason, RequestId, Resource, ScopeSet,
};
use http::Request;
use http_body_util::BodyExt;
use support::{Frames, enter, every_claim, post, reason};
use tower::ServiceExt;

const CLAIM: &[u8] = br#"{"company_id":"company_34"}"#;

async fn text(app: Router, request: Request<Body>) -> (u16, String) {
    let answer = app.oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

async fn company(scope: CompanyScope, body: String) -> String {
    format!("{} {body}", scope.company())
}

#[tokio::test]
async fn a_handler_gets_the_scope_and_the_body() {
    let app = Router::new()
        .route("/c/{company}", on_post(company))
        .layer(every_claim());
    for body in [
        Body::from(CLAIM),
        Body::new(Frames::split(&[&CLAIM[..9], &CLAIM[9..]])),
    ] {
        let mut request = post("/c/company_34", Some("application/json"), body);
        enter(&mut request);
        let (status, text) = text(app.clone(), request).await;
        assert_eq!(
            (status, &*text),
            (200, r#"company_34 {"company_id":"company_34"}"#)
        );
    }
}

#[derive(Debug, serde::Deserialize)]
struct Order {
    amount: String,
    company_id: Option<String>,
}

/// axum's own `Json` reads another company from each of these.
#[tokio::test]
async fn what_axum_takes_for_json_is_looked_at() {
    let read = |Json(order): Json<Order>| async move {
        format!("{} {}", order.amount, order.company_id.unwrap_or_default())
    };
    let app = Router::new().route("/c/{company}", on_post(read));
    let layered = app.clone().layer(every_claim());
    let named = r#"{"amount":"1","company_id":"company_12"}"#;
    let by_order = r#"["1","company_12"]"#;
    for (content_type, body, why) in [
        ("application/json", named, Reason::CompanyMismatch),
        ("application/json+x", named, Reason::CompanyMismatch),
        (
            "Application/JSON+x; charset=utf-8",
            named,
            Reason::CompanyMismatch,
        ),
        ("application/grpc+json", named, Reason::CompanyMismatch),
        ("application/json", by_order, Reason::MalformedRequest),
        ("application/json+x", by_order, Reason::MalformedRequest),
    ] {
        let unseen = post("/c/company_34", Some(content_type), Body::from(body));
        let handled = text(app.clone(), unseen).await;
        assert_eq!(handled, (200, "1 company_12".to_owned()), "{content_type}");
        let mut request = post("/c/company_34", Some(content_type), Body::from(body));
        let context = enter(&mut request);
        let answer = text(layered.clone(), request).await;
        assert_eq!(reason(&context), Some(why), "{content_type} {body}");
        assert!(!answer.1.contains("company_12"), "{content_type} {body}");
    }
}

#[tokio::test]
async fn without_the_layer_there_is_no_scope() {
    let app = Router::new().route("/c/{company}", on_post(company));
    let unseen = post("/c/company_34", None, Body::empty());
    assert_eq!(text(app.clone(), unseen).await.0, 500);
    // Identified, but placed by nobody.
    let mut request = post("/c/company_34", None, Body::empty());
    enter(&mut request);
    assert_eq!(text(app, request).await.0, 500);
}

#[tokio::test]
async fn another_companys_resource_does_not_exist() {
    let look = |scope: CompanyScope, owner: String| async move {
        let found = Owned::new(owner.parse().unwrap(), "balance");
        found.open(&scope).map(ToOwned::to_owned)
    };
    let app = Router::new()
        .route("/c/{company}", on_post(look))
        .layer(every_claim());
    for (owner, status) in [("company_34", 200), ("company_12", 404)] {
        let mut request = post("/c/company_34", Some("text/plain"), Body::from(owner));
        enter(&mut request);
        assert_eq!(text(app.clone(), request).await.0, status, "{owner}");
    }
}

#[tokio::test]
async fn a_handler_gets_the_key_the_id_and_the_record() {
    let handler = |key: VerifiedKey, id: RequestId, context: AccessContext| async move {
        context.note(|notes| notes.resource = Some(Resource::new("payment", "pay_1")));
        assert_eq!(context.request_id(), &id);
        format!("{} {} {:?}", key.prefix, key.company, key.scopes)
    };
    let app = Router::new().route("/", on_post(handler));
    let mut request = post("/", None, Body::empty());
    let entered = Edge::default().enter(&mut request);
    let context = entered.context(&request).clone();
    assert_eq!(
        text(app.clone(), post("/", None, Body::empty())).await.0,
        500
    );

    let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
    let prefix = "acme_live_pBakQVyk6bW4".parse().unwrap();
    let identity = Identity::new("company_34".parse().unwrap(), Environment::Live, scopes)
        .with_key(KeyId::from_u128(7), prefix);
    context.identify(identity).unwrap();
    let (status, text) = text(app, request).await;
    assert_eq!(status, 200);
    assert_eq!(
        text,
        r#"acme_live_pBakQVyk6bW4 company_34 {"accounts:read"}"#
    );
    let noted = context.take_notes().unwrap().resource.unwrap();
    assert_eq!(noted.id(), "pay_1");
}

#[tokio::test]
async fn a_caller_without_a_key_has_no_verified_key() {
    let app = Router::new().route("/c/{company}", on_post(|_: VerifiedKey| async {}));
    let mut request = post("/c/company_34", None, Body::empty());
    enter(&mut request);
    assert_eq!(text(app, request).await.0, 500);
}
