//! A service that forgets the company leaks, and row-level security stops that same leak.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use countersign_company_scope::CompanyScope;
use countersign_core::Endpoint;
use countersign_leak_test::{Kind, LeakReport, LeakTest, TestCompany};
use countersign_postgres::rls::{BindScope, Bound};
use countersign_scope_guard::Contract;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use support::bank::Bank;
use tokio::sync::Mutex;
use tokio_postgres::Client;

/// Handlers that bind their transaction and then forget the company in every query.
struct Service {
    bank: Bank,
    client: Mutex<Client>,
}

impl Service {
    async fn new(bank: Bank) -> Arc<Self> {
        let client = Mutex::new(bank.app().await);
        Arc::new(Self { bank, client })
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
        let key = request.headers()["x-api-key"].to_str().unwrap();
        let company = key.strip_prefix("key_of_").unwrap().parse().unwrap();
        let mut client = self.client.lock().await;
        let mut transaction = client.transaction().await.unwrap();
        let scope = CompanyScope::for_tests(company);
        let rows = scope.bind(&mut transaction).await.unwrap();
        let id = request.uri().path().strip_prefix("/payments/");
        let (status, body) = match (request.method(), id) {
            (_, None) => (StatusCode::OK, self.list(&rows).await),
            (&Method::DELETE, Some(id)) => (self.delete(&rows, id).await, String::new()),
            (_, Some(id))
                if self
                    .bank
                    .every_payment(&rows)
                    .await
                    .contains(&id.to_owned()) =>
            {
                (StatusCode::OK, format!(r#"{{"id":"{id}"}}"#))
            }
            _ => (StatusCode::NOT_FOUND, String::new()),
        };
        transaction.commit().await.unwrap();
        let answer = Response::builder().status(status);
        answer.body(Full::from(body)).unwrap()
    }

    async fn list(&self, rows: &Bound<'_, '_>) -> String {
        let ids = self.bank.every_payment(rows).await;
        let items = ids.iter().map(|id| format!(r#"{{"id":"{id}"}}"#));
        format!(r#"{{"data":[{}]}}"#, items.collect::<Vec<_>>().join(","))
    }

    async fn delete(&self, rows: &Bound<'_, '_>, id: &str) -> StatusCode {
        let query = format!("DELETE FROM {}.payments WHERE id = $1", self.bank.schema);
        match rows.execute(&query, &[&id]).await.unwrap() {
            0 => StatusCode::NOT_FOUND,
            _ => StatusCode::NO_CONTENT,
        }
    }
}

async fn test(bank: Bank) -> LeakReport {
    let scope = || "payments:use".parse().unwrap();
    let contract = Contract::builder()
        .endpoint(Endpoint::get("/payments").scope(scope()))
        .endpoint(Endpoint::get("/payments/{payment_id}").scope(scope()))
        .endpoint(Endpoint::delete("/payments/{payment_id}").scope(scope()))
        .build()
        .unwrap();
    let company = |number: u32| {
        let id = format!("company_{number}").parse().unwrap();
        TestCompany::new(id, format!("key_of_company_{number}"))
            .id("payment_id", format!("pay_{number}"))
    };
    let service = Service::new(bank).await;
    let service = tower::service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let test = LeakTest::new(contract, service);
    test.company(company(12))
        .company(company(34))
        .run()
        .await
        .unwrap()
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn without_policies_the_leak_is_found() {
    let report = test(Bank::unguarded().await).await;
    for kind in [Kind::ForeignData, Kind::ForeignAccess] {
        let found = report.findings().iter().any(|it| it.kind() == kind);
        assert!(found, "{kind:?}: {report}");
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server: cargo xtask test gives it one"]
async fn behind_policies_the_same_service_leaks_nothing() {
    let report = test(Bank::open().await).await;
    report.assert_clean();
    assert!(report.calls() > 20, "{report}");
}
