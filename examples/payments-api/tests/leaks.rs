//! The example, called across its two companies: nothing of one comes back to the other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../src/contract.rs"]
#[allow(dead_code, reason = "the limits are for the service")]
mod contract;
mod support;

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::http::{Method, Request, Response};
use bytes::Bytes;
use countersign::leak_test::{LeakTest, TestCompany};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use support::{Service, exchange, key_id, request};

/// Sends a request over a real connection.
async fn forward(
    address: SocketAddr,
    call: Request<Full<Bytes>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = call.into_parts();
    let body = body.collect().await?.to_bytes();
    let fields: Vec<(&str, &str)> = parts
        .headers
        .iter()
        .filter(|(name, _)| *name != "host")
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let target = parts.uri.to_string();
    let body = std::str::from_utf8(&body).unwrap();
    let bytes = request(parts.method.as_str(), &target, &fields, body);
    let answer = exchange(address, &bytes).await;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::from(answer.body)).unwrap())
}

#[tokio::test]
async fn nothing_of_one_company_comes_back_to_the_other() {
    let mut service = Service::start();
    let mut companies = Vec::new();
    for number in [12, 34] {
        let name = format!("company_{number}");
        let key = service.key(&name, "full").to_owned();
        let token = key_id(&mut service, &key).await;
        let payment = json!({
            "source_account_id": format!("acct_{number}01"),
            "amount": {"currency": "GBP", "value": "25.00"},
            "reference": "Invoice 7",
        });
        let webhook = json!({"url": format!("https://hooks.example.com/{name}")});
        companies.push(
            TestCompany::new(name.parse().unwrap(), key)
                .id("token_id", token)
                .id("webhook_id", format!("wh_{number}01"))
                .body(Method::POST, "/external/v1/payments", payment)
                .body(Method::POST, "/external/v1/webhooks", webhook)
                .body(
                    Method::POST,
                    "/external/v1/tokens/{token_id}/revoke",
                    json!({}),
                ),
        );
    }
    let address = service.address;
    let mut test = LeakTest::new(
        contract::contract().unwrap(),
        tower::service_fn(move |call| forward(address, call)),
    );
    for company in companies {
        test = test.company(company);
    }
    let report = test
        .claim_query("company_id")
        .claim_header("x-company-id".parse().unwrap())
        .claim_json("/company_id")
        .run()
        .await
        .unwrap();
    report.assert_clean();
    assert!(report.calls() > 100, "{report}");
    println!("{report}");
}
