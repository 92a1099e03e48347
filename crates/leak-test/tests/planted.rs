//! Leaks that were planted are found, each of its kind, and none where there is none.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bank;

use bank::cards::{self, CardLeak};
use bank::{Bank, Leak};
use countersign_leak_test::{Kind, LeakReport, LeakTest, TestCompany};
use http::Method;
use serde_json::{Value, json};

fn company(number: u32) -> TestCompany {
    let id = format!("company_{number}").parse().unwrap();
    TestCompany::new(id, format!("key_of_company_{number}")).body(
        Method::POST,
        "/payments",
        json!({"account_id": format!("acct_{number}01"), "note": "rent"}),
    )
}

async fn test(leak: Leak) -> LeakReport {
    LeakTest::new(bank::contract(), Bank::new(leak).router())
        .company(company(12))
        .company(company(34))
        .claim_query("company_id")
        .claim_header("x-company-id".parse().unwrap())
        .claim_json("/company_id")
        .run()
        .await
        .unwrap()
}

fn has(report: &LeakReport, kind: Kind, endpoint: &str) -> bool {
    let mut findings = report.findings().iter();
    findings.any(|finding| {
        let (method, template) = (finding.endpoint().method(), finding.endpoint().template());
        finding.kind() == kind && format!("{method} {template}") == endpoint
    })
}

#[tokio::test]
async fn nothing_is_found_where_nothing_leaks() {
    let report = test(Leak::None).await;
    report.assert_clean();
    assert!(report.calls() > 50, "{report}");
    assert!(report.facts() >= 6, "{report}");
}

#[tokio::test]
async fn each_planted_leak_is_found() {
    for (leak, kind, endpoint) in [
        (
            Leak::Show,
            Kind::ForeignAccess,
            "GET /payments/{payment_id}",
        ),
        (Leak::Show, Kind::ForeignData, "GET /payments/{payment_id}"),
        (
            Leak::Head,
            Kind::ForeignAccess,
            "GET /payments/{payment_id}",
        ),
        (Leak::List, Kind::ForeignData, "GET /accounts"),
        (Leak::Query, Kind::ForeignData, "GET /accounts"),
        (Leak::Header, Kind::ForeignData, "GET /accounts"),
        (
            Leak::Message,
            Kind::ForeignData,
            "GET /payments/{payment_id}",
        ),
        (
            Leak::Oracle,
            Kind::Distinguishable,
            "GET /payments/{payment_id}",
        ),
        (
            Leak::Field,
            Kind::Distinguishable,
            "GET /payments/{payment_id}",
        ),
        (Leak::Create, Kind::ForeignAccess, "POST /payments"),
        (
            Leak::Delete,
            Kind::ForeignAccess,
            "DELETE /payments/{payment_id}",
        ),
        (Leak::Delete, Kind::Touched, "GET /payments/{payment_id}"),
        (Leak::Quietly, Kind::Touched, "GET /payments/{payment_id}"),
        (Leak::Claim, Kind::ForeignAccess, "GET /accounts"),
        (Leak::Fault, Kind::Failed, "GET /payments/{payment_id}"),
    ] {
        let report = test(leak).await;
        assert!(has(&report, kind, endpoint), "{leak:?} {kind:?}: {report}");
    }
}

fn bare(number: u32) -> TestCompany {
    let id = format!("company_{number}").parse().unwrap();
    TestCompany::new(id, format!("key_of_company_{number}"))
}

#[tokio::test]
async fn ids_of_every_shape_are_tried_and_looked_for() {
    let shapes: [fn(u32) -> Value; 5] = [
        |n| json!(format!("card_5120{n:02}")),
        |n| json!(512_000 + n),
        |n| json!(n),
        |n| json!(n.to_string()),
        |n| json!(format!("{}x", char::from(b'a' + n as u8))),
    ];
    for id in shapes {
        for (leak, kind, endpoint) in [
            (CardLeak::None, Kind::ForeignData, ""),
            (CardLeak::List, Kind::ForeignData, "GET /cards"),
            (CardLeak::Show, Kind::ForeignAccess, "GET /cards/{card_id}"),
            (
                CardLeak::Delete,
                Kind::ForeignAccess,
                "DELETE /cards/{card_id}",
            ),
        ] {
            let router = cards::router(leak, id);
            let test = LeakTest::new(cards::contract(), router);
            let report = test
                .company(bare(12))
                .company(bare(34))
                .run()
                .await
                .unwrap();
            let is_right = match leak {
                CardLeak::None => report.is_clean(),
                _ => has(&report, kind, endpoint),
            };
            assert!(is_right, "{leak:?} with {}: {report}", id(1));
        }
    }
}

#[tokio::test]
async fn a_test_that_looked_for_nothing_is_not_clean() {
    let router = cards::router(CardLeak::None, |_| json!("all the same"));
    let test = LeakTest::new(cards::contract(), router);
    let test = test.company(bare(12)).company(bare(34));
    let test = test.skip(Method::GET, "/cards/{card_id}");
    let test = test.skip(Method::DELETE, "/cards/{card_id}");
    let report = test.run().await.unwrap();
    assert_eq!(report.facts(), 0, "{report}");
    assert_eq!(report.findings().len(), 2, "{report}");
    assert!(has(&report, Kind::NothingKnown, "GET /cards"), "{report}");
}

#[tokio::test]
async fn an_endpoint_that_nobody_reached_is_not_passed_over() {
    let report = LeakTest::new(bank::contract(), Bank::new(Leak::None).router())
        .company(bare(12))
        .company(bare(34))
        .run()
        .await
        .unwrap();
    assert!(has(&report, Kind::Unreached, "POST /payments"), "{report}");
}

#[tokio::test]
async fn a_test_that_could_show_nothing_is_a_mistake() {
    let begun = || LeakTest::new(bank::contract(), Bank::new(Leak::None).router());
    let two = || begun().company(company(12)).company(company(34));
    assert!(begun().company(company(12)).run().await.is_err());
    let twice = begun().company(company(12)).company(company(12));
    assert!(twice.run().await.is_err());
    let unknown = two().skip(Method::GET, "/nowhere");
    assert!(unknown.run().await.is_err());
    let unknown = begun()
        .company(company(12).id("nothing_id", "x"))
        .company(company(34));
    assert!(unknown.run().await.is_err());
}
