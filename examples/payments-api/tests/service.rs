//! The example as its user runs it: the built program, its own files, real HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Answer, Service, key_id};

fn payment(account: &str) -> Value {
    let amount = json!({"currency": "GBP", "value": "25.00"});
    json!({"source_account_id": account, "amount": amount, "reference": "Invoice 7"})
}

#[tokio::test]
async fn every_endpoint_does_what_it_says() {
    let service = Service::start();
    let full = service.key("company_12", "full");
    for (target, id) in [
        ("/external/v1/banks", "bank_1201"),
        ("/external/v1/accounts", "acct_1201"),
        ("/external/v1/notifications", "note_1201"),
    ] {
        let answer = service.call(full, "GET", target, &Value::Null).await;
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.json()["data"][0]["id"], id);
    }
    let created = service
        .call(full, "POST", "/external/v1/payments", &payment("acct_1201"))
        .await;
    assert_eq!(created.status, 201);
    let id = created.json()["data"]["id"].as_str().unwrap().to_owned();
    let read = service
        .call(
            full,
            "GET",
            &format!("/external/v1/payments/{id}"),
            &Value::Null,
        )
        .await;
    assert_eq!(read.json(), created.json());
    let status = service
        .call(
            full,
            "GET",
            &format!("/external/v1/payment-status/{id}"),
            &Value::Null,
        )
        .await;
    assert_eq!(status.json()["data"]["status"], "pending");
    let hook = json!({"url": "https://hooks.example.com/x"});
    let hook = service
        .call(full, "POST", "/external/v1/webhooks", &hook)
        .await;
    assert_eq!(hook.status, 201);
    let hook = hook.json()["data"]["id"].as_str().unwrap().to_owned();
    let target = format!("/external/v1/webhooks/{hook}");
    assert_eq!(
        service
            .call(full, "DELETE", &target, &Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(
        service
            .call(full, "DELETE", &target, &Value::Null)
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn what_is_sent_wrong_is_refused_in_the_same_envelope() {
    let service = Service::start();
    let full = service.key("company_12", "full");
    let mut wrong = payment("acct_1201");
    wrong["amount"]["value"] = json!("-1");
    for body in [
        wrong,
        json!({}),
        json!({"url": "http://plain.example"}),
        json!(7),
    ] {
        let target = if body["url"].is_string() {
            "webhooks"
        } else {
            "payments"
        };
        let answer = service
            .call(full, "POST", &format!("/external/v1/{target}"), &body)
            .await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (422, "validation_failed"),
            "{body}"
        );
        assert_eq!(
            answer.json()["requestId"],
            answer.header("x-request-id").unwrap()
        );
    }
}

/// With company_34's key nothing of company_12 is readable or writable, and its ids are answered
/// like ids that never existed.
#[tokio::test]
async fn one_company_never_meets_anothers_data() {
    let mut service = Service::start();
    let (own, other) = (
        service.key("company_12", "full").to_owned(),
        service.key("company_34", "full").to_owned(),
    );
    let token = key_id(&mut service, &own).await;
    let none = Value::Null;
    let pairs = [
        (
            "GET",
            "/external/v1/payments/",
            "pay_1201",
            "pay_9999",
            none.clone(),
        ),
        (
            "GET",
            "/external/v1/payment-status/",
            "pay_1201",
            "pay_9999",
            none.clone(),
        ),
        (
            "DELETE",
            "/external/v1/webhooks/",
            "wh_1201",
            "wh_9999",
            none.clone(),
        ),
    ];
    for (method, path, foreign, nobody, body) in pairs {
        let foreign = service
            .call(&other, method, &format!("{path}{foreign}"), &body)
            .await;
        let nobody = service
            .call(&other, method, &format!("{path}{nobody}"), &body)
            .await;
        assert_same_refusal(&foreign, &nobody);
    }
    let create = "/external/v1/payments";
    let foreign = service
        .call(&other, "POST", create, &payment("acct_1201"))
        .await;
    let nobody = service
        .call(&other, "POST", create, &payment("acct_9999"))
        .await;
    assert_same_refusal(&foreign, &nobody);
    let revoke = |id: &str| format!("/external/v1/tokens/{id}/revoke");
    let never = "key_01M7XRJ3TJWH8WWD42CF98HV4F";
    let foreign = service
        .call(&other, "POST", &revoke(&token), &json!({}))
        .await;
    let nobody = service
        .call(&other, "POST", &revoke(never), &json!({}))
        .await;
    assert_same_refusal(&foreign, &nobody);

    for list in ["banks", "accounts", "notifications"] {
        let target = format!("/external/v1/{list}");
        let answer = service.call(&other, "GET", &target, &none).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text().contains("_12"), "{list}: {}", answer.text());
        let claimed = format!("{target}?company_id=company_12");
        assert_eq!(
            service.call(&other, "GET", &claimed, &none).await.status,
            403
        );
        let header = [("x-company-id", "company_12")];
        let answer = service
            .call_with(&other, "GET", &target, &header, &none)
            .await;
        assert_eq!(answer.status, 403);
    }
    let mut claimed = payment("acct_3401");
    claimed["company_id"] = json!("company_12");
    assert_eq!(
        service.call(&other, "POST", create, &claimed).await.status,
        403
    );
    // Nothing of the owner's was touched by any of it.
    let answer = service
        .call(&own, "GET", "/external/v1/payments/pay_1201", &none)
        .await;
    assert_eq!(answer.status, 200);
    let answer = service
        .call(&own, "DELETE", "/external/v1/webhooks/wh_1201", &none)
        .await;
    assert_eq!(answer.status, 204);
}

fn assert_same_refusal(foreign: &Answer, nobody: &Answer) {
    assert_eq!(
        (foreign.status, foreign.error().as_str()),
        (404, "resource_not_found")
    );
    let strip = |answer: &Answer| {
        let id = answer.header("x-request-id").unwrap();
        let mut headers = answer.headers.clone();
        for name in ["x-request-id", "date", "ratelimit"] {
            headers.remove(name);
        }
        let body = String::from_utf8(answer.body.clone()).unwrap();
        (answer.status, headers, body.replace(id, "ID"))
    };
    assert_eq!(strip(foreign), strip(nobody));
}

#[tokio::test]
async fn a_company_revokes_its_own_key_at_once() {
    let mut service = Service::start();
    let full = service.key("company_12", "full").to_owned();
    let read_only = service.key("company_12", "read_only").to_owned();
    let id = key_id(&mut service, &read_only).await;
    let target = format!("/external/v1/tokens/{id}/revoke");
    let revoked = service
        .call(
            &full,
            "POST",
            &target,
            &json!({"reason": "suspected_leakage"}),
        )
        .await;
    assert_eq!(revoked.status, 200);
    let answer = service
        .call(&read_only, "GET", "/external/v1/banks", &Value::Null)
        .await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (401, "token_revoked")
    );
    service.stop();
    let told = |event: &&Value| {
        event["type"] == "external_api.token.revoked" && event["key_id"] == id.as_str()
    };
    let events = service.audit();
    let event = events
        .iter()
        .find(told)
        .expect("the revocation is in the audit log");
    assert_eq!(event["reason"], "suspected_leakage");
    assert_eq!(event["actor"], "api_key");
}

/// The company is handed a new key once, and both work until the overlap ends.
#[tokio::test]
async fn a_company_renews_its_own_key() {
    let service = Service::start();
    let full = service.key("company_12", "full");
    let tokens = "/external/v1/tokens";
    let listed = service.call(full, "GET", tokens, &Value::Null).await.json();
    let own: Vec<&Value> = listed["data"].as_array().unwrap().iter().collect();
    let prefix = |key: &Value| key["prefix"].as_str().unwrap().to_owned();
    let own = own.into_iter().find(|key| full.starts_with(&prefix(key)));
    let id = own.expect("it sees itself")["id"].as_str().unwrap();
    let other = service.key("company_34", "full");
    let target = format!("{tokens}/{id}/rotate");
    let foreign = service.call(other, "POST", &target, &json!({})).await;
    assert_eq!(foreign.status, 404);
    let misspelt = json!({"overlap": 60});
    let refused = service.call(full, "POST", &target, &misspelt).await;
    assert_eq!(refused.status, 422);
    let hour = json!({"overlapSeconds": 3600});
    let renewed = service.call(full, "POST", &target, &hour).await;
    assert_eq!(renewed.status, 200);
    assert_eq!(renewed.header("cache-control").unwrap(), "no-store");
    let renewed = renewed.json();
    assert_eq!(renewed["data"]["replaces"], id);
    let new = renewed["data"]["key"].as_str().unwrap();
    for key in [new, full] {
        let read = service.call(key, "GET", "/external/v1/banks", &Value::Null);
        assert_eq!(read.await.status, 200);
    }
    let again = service.call(full, "POST", &target, &hour).await;
    assert_eq!(again.status, 422, "it is rotated already");
}

#[tokio::test]
async fn no_secret_is_anywhere() {
    let mut service = Service::start();
    let mut raw = Vec::new();
    for company in service.keys.as_object().unwrap().values() {
        let keys = company.as_object().unwrap().values();
        raw.extend(keys.map(|key| key.as_str().unwrap().to_owned()));
    }
    assert_eq!(raw.len(), 8);
    let mut answers = String::new();
    for key in &raw {
        for (method, target) in [
            ("GET", "/external/v1/accounts".to_owned()),
            ("GET", format!("/external/v1/accounts?api_key={key}")),
            ("GET", format!("/external/v1/payments/{key}")),
            ("POST", "/external/v1/payments".to_owned()),
            ("GET", format!("/{key}")),
        ] {
            let body = if method == "POST" {
                json!({"reference": key})
            } else {
                Value::Null
            };
            let bearer = format!("Bearer {key}");
            let more = [
                ("authorization", bearer.as_str()),
                ("user-agent", key.as_str()),
            ];
            let answer = service.call_with(key, method, &target, &more, &body).await;
            answers.push_str(&answer.text());
        }
    }
    let log = service.stop();
    // The secret part alone: the prefix is public.
    let secrets: Vec<&str> = raw
        .iter()
        .map(|key| key.rsplit('_').next().unwrap())
        .collect();
    let mut searched = 0;
    for secret in secrets {
        assert!(!answers.contains(secret), "in an answer");
        assert!(!log.contains(secret), "in the log");
        searched += search(&service.directory.path().join("data"), secret);
    }
    assert!(searched >= 8 * 3, "keys, payments and audit were searched");
}

/// Looks for `secret` in every file below `directory`; returns how many there were.
fn search(directory: &Path, secret: &str) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += search(&path, secret);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!found, "in {}", path.display());
        files += 1;
    }
    files
}

#[cfg(unix)]
#[tokio::test]
async fn the_demo_keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let service = Service::start();
    let file = service.directory.path().join("keys.json");
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_audit_is_whole_after_an_orderly_end() {
    let mut service = Service::start();
    let full = service.key("company_12", "full").to_owned();
    let mut ids = Vec::new();
    for _ in 0..50 {
        let answer = service
            .call(&full, "GET", "/external/v1/banks", &Value::Null)
            .await;
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    service.stop();
    let events = service.audit();
    for (seq, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], seq, "no line is missing");
    }
    for id in ids {
        let told = events
            .iter()
            .filter(|event| event["request_id"] == id.as_str());
        assert_eq!(told.count(), 1);
    }
}

/// A deployment that is taken back at once.
#[test]
fn a_service_that_is_told_to_stop_as_soon_as_it_is_ready_ends() {
    for _ in 0..10 {
        let log = Service::start().stop();
        assert!(log.contains("the audit log is closed"), "{log}");
    }
}
