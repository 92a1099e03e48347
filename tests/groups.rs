//! A parent's key acts for the subsidiaries that it was granted, and for nobody else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use countersign::{Actor, Change, CompanyId, KeyManager, KeyPrefix, KeyStore, Write};
use serde_json::Value;
use support::{Answer, Server};

const ACCOUNTS: &str = "/external/v1/accounts";

fn prefix(key: &str) -> KeyPrefix {
    key[..key.rfind('_').unwrap()].parse().unwrap()
}

/// The key of company_12 is granted company_34.
async fn group() -> Server {
    let server = Server::start().await;
    let manager = KeyManager::builder(server.store.clone())
        .clock(server.clock.clone())
        .build()
        .unwrap();
    let found = server.store.find(&prefix(&server.keys.full)).await.unwrap();
    let record = found.unwrap().record;
    manager
        .set_subsidiaries(
            &Actor::operator("ada").unwrap(),
            &record.company,
            record.id,
            vec!["company_34".parse().unwrap()],
        )
        .await
        .unwrap();
    server
}

fn fields<'a>(key: &'a str, claim: &'a str) -> [(&'static str, &'a str); 2] {
    [("x-api-key", key), ("x-company-id", claim)]
}

async fn event(server: &Server, answer: &Answer) -> Value {
    server.events(answer).await.pop().unwrap()
}

fn company(answer: &Answer) -> String {
    let body = answer.json();
    body["data"]["company"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_effective_company_is_chosen_by_a_claim_and_audited_with_its_owner() {
    let server = group().await;
    let key = server.keys.full.clone();
    let by = [("x-api-key", key.as_str())];
    let header = [("x-api-key", key.as_str()), ("x-company-id", "company_34")];
    let query = format!("{ACCOUNTS}?company_id=company_34");
    let path = "/external/v1/companies/company_34/accounts";
    for answer in [
        server.get(ACCOUNTS, &header).await,
        server.get(&query, &by).await,
        server.get(path, &by).await,
    ] {
        assert_eq!((answer.status, &*company(&answer)), (200, "company_34"));
        let event = event(&server, &answer).await;
        assert_eq!(event["owner_company"], "company_12");
        assert_eq!(event["effective_company"], "company_34");
        assert_eq!(event["claimed_company"], "company_34");
    }
    let body = r#"{"company_id":"company_34"}"#;
    let json = [by[0], ("content-type", "application/json")];
    let request = support::request("POST", "/external/v1/payments", &json, body);
    let answer = server.send(&request).await;
    assert_eq!(company(&answer), "company_34");
    // The intent of a sensitive call names both as well.
    let events = server.events(&answer).await;
    assert_eq!(events.len(), 2);
    for event in events {
        assert_eq!(event["owner_company"], "company_12");
        assert_eq!(event["effective_company"], "company_34");
    }
    let own = server.get(ACCOUNTS, &by).await;
    assert_eq!(company(&own), "company_12", "nobody said otherwise");
}

#[tokio::test]
async fn claims_outside_the_group_or_against_each_other_are_refused() {
    let server = group().await;
    let key = server.keys.full.clone();
    let cases = [
        (ACCOUNTS.to_owned(), "company_56"),
        (format!("{ACCOUNTS}?company_id=company_12"), "company_34"),
        (format!("{ACCOUNTS}?company_id=company_34"), "company_12"),
    ];
    for (target, claim) in cases {
        let answer = server.get(&target, &fields(&key, claim)).await;
        assert_eq!(answer.status, 403, "{target} {claim}");
        assert_eq!(answer.error(), "company_boundary_violation");
        let event = event(&server, &answer).await;
        assert_eq!(event["owner_company"], "company_12");
        assert_eq!(event["reason"], "company_mismatch");
    }
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn a_grant_is_one_keys_and_of_one_direction() {
    let server = group().await;
    let sibling = server
        .get(ACCOUNTS, &fields(&server.keys.read_only, "company_34"))
        .await;
    assert_eq!(sibling.status, 403, "another key of the parent");
    let child = server
        .get(ACCOUNTS, &fields(&server.keys.other_company, "company_12"))
        .await;
    assert_eq!(child.status, 403, "the subsidiary's own key");
}

#[tokio::test]
async fn a_record_that_was_stored_before_there_were_groups_grants_nothing() {
    let server = Server::start().await;
    let found = server.store.find(&prefix(&server.keys.full)).await.unwrap();
    let record = found.unwrap().record;
    let text = record.encode().unwrap();
    assert!(!text.contains("subsidiaries"), "as it always was: {text}");
    let read = countersign::KeyRecord::decode(&text).unwrap();
    assert!(read.subsidiaries.is_empty());
    let mut granted = read;
    let child: CompanyId = "company_34".parse().unwrap();
    granted.subsidiaries = vec![child];
    granted.version += 1;
    let write = Write::UpdateKey {
        record: granted.clone(),
        expected: record.version,
    };
    let change = Change {
        writes: vec![write],
        events: Vec::new(),
    };
    server.store.commit(&change).await.unwrap();
    let found = server.store.find(&record.prefix).await.unwrap().unwrap();
    assert_eq!(found.record.subsidiaries, [child]);
}
