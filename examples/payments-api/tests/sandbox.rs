//! Production and its sandbox in one process: keys of the one are refused by the other, and neither
//! sees the other's data.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;

use countersign::{Environment, RawKey};
use serde_json::{Value, json};
use support::{Answer, Service, exchange, key_id, request};

async fn get(address: SocketAddr, target: &str, key: &str) -> Answer {
    exchange(address, &request("GET", target, &[("x-api-key", key)], "")).await
}

async fn post(address: SocketAddr, target: &str, key: &str, body: &Value) -> Answer {
    let json = ("content-type", "application/json");
    let fields = [("x-api-key", key), json];
    exchange(
        address,
        &request("POST", target, &fields, &body.to_string()),
    )
    .await
}

fn keys(service: &Service) -> [String; 2] {
    let live = service.key("company_12", "full").to_owned();
    [live, service.key("sandbox", "full").to_owned()]
}

#[tokio::test]
async fn a_key_of_the_other_environment_is_refused_and_audited_before_anything_else() {
    let mut service = Service::start();
    let [live, test] = keys(&service);
    let mut ids = Vec::new();
    for (address, good, bad, environment) in [
        (service.address, &live, &test, "test"),
        (service.sandbox, &test, &live, "live"),
    ] {
        for (method, target) in [
            ("GET", "/external/v1/accounts"),
            ("GET", "/external/v1/payments/pay_1201"),
            ("POST", "/external/v1/payments"),
        ] {
            let call = request(method, target, &[("x-api-key", bad)], "");
            let answer = exchange(address, &call).await;
            assert_eq!(
                (answer.status, answer.error().as_str()),
                (401, "authentication_failed")
            );
            // Like a key that nobody ever issued, to the byte.
            let unknown = RawKey::generate("acme", Environment::Live).unwrap();
            let unknown = unknown.expose();
            let call = request(method, target, &[("x-api-key", &unknown)], "");
            let unknown = exchange(address, &call).await;
            assert_eq!(outline(&answer), outline(&unknown));
            let id = answer.header("x-request-id").unwrap().to_owned();
            ids.push((id, target, environment));
        }
        let answer = get(address, "/external/v1/accounts", good).await;
        assert_eq!(answer.status, 200);
    }
    service.stop();
    let events = service.audit();
    for (id, target, environment) in ids {
        let told: Vec<_> = events.iter().filter(|e| e["request_id"] == *id).collect();
        let [event] = told[..] else {
            panic!("one event for {target}: {told:?}");
        };
        assert_eq!(event["type"], "external_api.request.denied_authentication");
        assert_eq!(event["decision"], "denied");
        assert_eq!(event["reason"], "environment_mismatch");
        assert_eq!(event["status"], 401);
        assert_eq!(event["environment"], environment);
        assert_eq!(event["owner_company"], "company_12");
        assert_eq!(event.get("effective_company"), None);
    }
}

fn outline(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let id = answer.header("x-request-id").unwrap();
    let mut headers = answer.headers.clone();
    headers.remove("x-request-id");
    headers.remove("date");
    let body = String::from_utf8(answer.body.clone()).unwrap();
    let headers = headers.into_iter().collect();
    (answer.status, headers, body.replace(id, "ID"))
}

#[tokio::test]
async fn neither_sees_what_the_other_has() {
    let mut service = Service::start();
    let [live, test] = keys(&service);
    let mut created = Vec::new();
    for (address, key, own, other) in [
        (service.address, &live, "12", "99"),
        (service.sandbox, &test, "99", "12"),
    ] {
        for list in ["banks", "accounts", "notifications"] {
            let answer = get(address, &format!("/external/v1/{list}"), key).await;
            assert_eq!(answer.status, 200);
            let json = answer.json();
            let [one] = &json["data"].as_array().unwrap()[..] else {
                panic!("what was seeded and nothing more: {json}");
            };
            assert!(one["id"].as_str().unwrap().ends_with(&format!("_{own}01")));
        }
        let payment = |account: &str| {
            let amount = json!({"currency": "GBP", "value": "25.00"});
            let account = format!("acct_{account}01");
            json!({"source_account_id": account, "amount": amount, "reference": "Invoice 7"})
        };
        let target = "/external/v1/payments";
        let foreign = post(address, target, key, &payment(other)).await;
        assert_eq!(foreign.status, 404);
        let made = post(address, target, key, &payment(own)).await;
        assert_eq!(made.status, 201);
        let id = made.json()["data"]["id"].as_str().unwrap().to_owned();
        created.push((address, key, id));
    }
    for (address, key, _) in &created {
        for (home, _, id) in &created {
            let answer = get(*address, &format!("/external/v1/payments/{id}"), key).await;
            let expected = if home == address { 200 } else { 404 };
            assert_eq!(answer.status, expected);
        }
    }
    service.stop();
    let holds = |file: &str, id: &str| {
        let file = service.directory.path().join("data").join(file);
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(id.len()).any(|w| w == id.as_bytes())
    };
    for (file, own, other) in [("payments.db", 0, 1), ("sandbox.db", 1, 0)] {
        assert!(holds(file, &created[own].2), "{file}");
        assert!(!holds(file, &created[other].2), "{file}");
    }
}

/// Both keys are the same company's; a sandbox key leaks more easily than one for production.
#[tokio::test]
async fn a_sandbox_key_ends_no_key_for_production() {
    let mut service = Service::start();
    let [live, test] = keys(&service);
    let id = key_id(&mut service, &live).await;
    let revoke = format!("/external/v1/tokens/{id}/revoke");
    let answer = post(service.sandbox, &revoke, &test, &json!({})).await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (404, "resource_not_found")
    );
    let answer = get(service.address, "/external/v1/banks", &live).await;
    assert_eq!(answer.status, 200);
}
