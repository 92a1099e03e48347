//! A bank with a leak of one's choice.

pub(crate) mod cards;

use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use countersign_company_scope::{CompanyScope, CompanyScopeLayer};
use countersign_core::{Denial, Edge, Endpoint, Environment, Identity, Reason, ScopeSet};
use countersign_scope_guard::{Contract, ContractLayer};
use serde_json::{Value, json};

/// Where the bank forgets the company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leak {
    /// Nowhere.
    None,
    /// It shows every payment by its id.
    Show,
    /// Only in what answers `HEAD`.
    Head,
    /// It lists everybody's accounts.
    List,
    /// It believes a query parameter that nobody checks.
    Query,
    /// It believes a header field that nobody checks.
    Header,
    /// Its refusal says whose the payment is.
    Message,
    /// It refuses what is somebody else's in another way than what is not there.
    Oracle,
    /// As before, in a header field.
    Field,
    /// It pays from any account.
    Create,
    /// It deletes any payment.
    Delete,
    /// It deletes any payment and says that it did not find it.
    Quietly,
    /// The layer that checks claims looks for none.
    Claim,
    /// It breaks over what is somebody else's.
    Fault,
}

#[derive(Clone)]
pub(crate) struct Bank {
    leak: Leak,
    /// Company, id and account.
    payments: Arc<Mutex<Vec<[String; 3]>>>,
}

pub(crate) fn contract() -> Contract {
    let scope = "bank:use".parse().unwrap();
    let endpoints = [
        Endpoint::get("/accounts"),
        Endpoint::post("/payments"),
        Endpoint::get("/payments/{payment_id}"),
        Endpoint::delete("/payments/{payment_id}"),
    ];
    let endpoints = endpoints.map(|endpoint| endpoint.scope(scope));
    Contract::builder().endpoints(endpoints).build().unwrap()
}

impl Bank {
    pub(crate) fn new(leak: Leak) -> Self {
        let payment = |number: u32| {
            let company = format!("company_{number}");
            [
                company,
                format!("pay_{number}01"),
                format!("acct_{number}01"),
            ]
        };
        let payments = Arc::new(Mutex::new(vec![payment(12), payment(34)]));
        Self { leak, payments }
    }

    pub(crate) fn router(self) -> Router {
        let mut claims = CompanyScopeLayer::new();
        if self.leak != Leak::Claim {
            claims = claims
                .claim_query("company_id")
                .claim_header("x-company-id".parse().unwrap())
                .claim_json("/company_id".parse().unwrap());
        }
        Router::new()
            .route("/accounts", get(accounts))
            .route("/payments", axum::routing::post(create))
            .route("/payments/{payment_id}", get(show).delete(remove))
            .with_state(self)
            .layer(claims)
            .layer(middleware::from_fn(identify))
            .layer(ContractLayer::new(contract()))
    }

    /// The payment, and whether it is the company's.
    fn find(&self, scope: &CompanyScope, id: &str) -> Option<([String; 3], bool)> {
        let payments = self.payments.lock().unwrap();
        let found = payments.iter().find(|[_, known, _]| known == id)?;
        Some((found.clone(), found[0] == scope.company().as_str()))
    }
}

/// In the place of a layer that verifies keys.
async fn identify(mut request: Request, next: Next) -> Response {
    let key = request.headers().get("x-api-key").unwrap();
    let company = key.to_str().unwrap().strip_prefix("key_of_").unwrap();
    let identity = Identity::new(company.parse().unwrap(), Environment::Test, ScopeSet::new());
    let entered = Edge::default().enter(&mut request);
    entered.context(&request).identify(identity).unwrap();
    next.run(request).await
}

async fn accounts(
    State(bank): State<Bank>,
    scope: CompanyScope,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Json<Value> {
    let query = query.into_iter().find(|(name, _)| name == "tenant");
    let header = headers.get("x-tenant-id").map(|id| id.to_str().unwrap());
    let company = match (bank.leak, query, header) {
        (Leak::Query, Some((_, tenant)), _) => tenant,
        (Leak::Header, _, Some(tenant)) => tenant.to_owned(),
        _ => scope.company().to_string(),
    };
    let numbers = ["12", "34"].into_iter();
    let own = numbers.filter(|n| bank.leak == Leak::List || company.ends_with(n));
    let own =
        own.map(|n| json!({"id": format!("acct_{n}01"), "first_payment_id": format!("pay_{n}01")}));
    Json(json!({"data": own.collect::<Vec<_>>()}))
}

async fn show(
    State(bank): State<Bank>,
    method: http::Method,
    scope: CompanyScope,
    Path(id): Path<String>,
) -> Result<Response, Denial> {
    let (payment, is_own) = bank.find(&scope, &id).ok_or_else(Denial::not_found)?;
    let [company, id, account] = payment;
    let shown = || Json(json!({"id": id, "account_id": account})).into_response();
    match bank.leak {
        _ if is_own => Ok(shown()),
        Leak::Show => Ok(shown()),
        Leak::Head if method == http::Method::HEAD => Ok(shown()),
        Leak::Message => Err(Denial::not_found().with_detail("account", account)),
        Leak::Oracle => Err(Denial::validation("This payment is not yours.")),
        Leak::Field => {
            let mut refused = Denial::not_found().into_response();
            refused
                .headers_mut()
                .insert("x-shard", "2".parse().unwrap());
            Ok(refused)
        }
        Leak::Fault => Err(Reason::HandlerFailed.into()),
        _ => {
            assert_ne!(company, scope.company().as_str());
            Err(Denial::not_found())
        }
    }
}

async fn create(
    State(bank): State<Bank>,
    scope: CompanyScope,
    Json(body): Json<Value>,
) -> Result<(StatusCode, Json<Value>), Denial> {
    let account = body["account_id"].as_str().unwrap_or_default().to_owned();
    let number = scope.company().as_str().strip_prefix("company_").unwrap();
    let is_own = account == format!("acct_{number}01");
    let is_there = account == "acct_1201" || account == "acct_3401";
    let is_forgotten = bank.leak == Leak::Create && is_there;
    if !(is_own || is_forgotten) {
        return Err(Denial::not_found());
    }
    let mut payments = bank.payments.lock().unwrap();
    let id = format!("pay_{number}{:02}", payments.len());
    payments.push([scope.company().to_string(), id.clone(), account.clone()]);
    let body = json!({"id": id, "account_id": account, "note": body["note"]});
    Ok((StatusCode::CREATED, Json(body)))
}

async fn remove(
    State(bank): State<Bank>,
    scope: CompanyScope,
    Path(id): Path<String>,
) -> Result<StatusCode, Denial> {
    let (_, is_own) = bank.find(&scope, &id).ok_or_else(Denial::not_found)?;
    if !is_own && !matches!(bank.leak, Leak::Delete | Leak::Quietly) {
        return Err(Denial::not_found());
    }
    bank.payments
        .lock()
        .unwrap()
        .retain(|[_, known, _]| *known != id);
    if !is_own && bank.leak == Leak::Quietly {
        return Err(Denial::not_found());
    }
    Ok(StatusCode::NO_CONTENT)
}
