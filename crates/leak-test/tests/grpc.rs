//! Leaks that were planted in gRPC methods are found, each of its kind, and none where there is none.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod grpc_bank;

use countersign_leak_test::{Kind, LeakReport, LeakTest, TestCompany};
use grpc_bank::{Ask, Leak, Order};
use http::Method;
use prost::Message;
use serde_json::json;

fn bare(number: u32) -> TestCompany {
    let id = format!("company_{number}").parse().unwrap();
    TestCompany::new(id, format!("key_of_company_{number}"))
}

/// With one message for each method that makes something; the ids come from what it is shown.
fn company(number: u32) -> TestCompany {
    let order = Order {
        account_id: format!("acct_{number}01"),
        note: "rent".to_owned(),
    };
    bare(number)
        .message("/bank.v1.Bank/CreatePayment", order.encode_to_vec())
        .message("/bank.v1.Bank/ImportPayments", order.encode_to_vec())
        .message("/bank.v1.Bank/ImportPayments", order.encode_to_vec())
}

fn begin(leak: Leak) -> LeakTest<axum::Router> {
    LeakTest::new(grpc_bank::contract(), grpc_bank::router(leak))
        .descriptor_set(&grpc_bank::descriptor_set())
        .unwrap()
        .claim_header("x-company-id".parse().unwrap())
}

async fn test(leak: Leak) -> LeakReport {
    let test = begin(leak).company(company(12)).company(company(34));
    test.run().await.unwrap()
}

fn has(report: &LeakReport, kind: Kind, method: &str) -> bool {
    let mut findings = report.findings().iter();
    findings.any(|finding| {
        finding.kind() == kind
            && finding
                .endpoint()
                .template()
                .ends_with(&format!("/{method}"))
    })
}

#[tokio::test]
async fn nothing_is_found_where_nothing_leaks() {
    let report = test(Leak::None).await;
    report.assert_clean();
    assert!(report.calls() > 100, "{report}");
    assert!(report.facts() >= 4, "{report}");
}

#[tokio::test]
async fn each_planted_leak_is_found() {
    for (leak, kind, method) in [
        (Leak::Show, Kind::ForeignAccess, "GetPayment"),
        (Leak::Show, Kind::ForeignData, "GetPayment"),
        (Leak::List, Kind::ForeignData, "ListPayments"),
        (Leak::Field, Kind::ForeignData, "ListPayments"),
        (Leak::Metadata, Kind::ForeignData, "ListPayments"),
        (Leak::Watch, Kind::ForeignAccess, "WatchPayments"),
        (Leak::Watch, Kind::ForeignData, "WatchPayments"),
        (Leak::Later, Kind::ForeignAccess, "GetPayments"),
        (Leak::StatusMessage, Kind::ForeignData, "GetPayment"),
        (Leak::Details, Kind::ForeignData, "GetPayment"),
        (Leak::Trailer, Kind::ForeignData, "GetPayment"),
        (Leak::Binary, Kind::ForeignData, "WatchPayments"),
        (Leak::Oracle, Kind::Distinguishable, "GetPayment"),
        (Leak::Create, Kind::ForeignAccess, "CreatePayment"),
        (Leak::Import, Kind::ForeignAccess, "ImportPayments"),
        (Leak::Cancel, Kind::ForeignAccess, "CancelPayment"),
        (Leak::Cancel, Kind::Touched, "GetPayment"),
        (Leak::Quietly, Kind::Touched, "ListPayments"),
        (Leak::Fault, Kind::Failed, "GetPayment"),
    ] {
        let report = test(leak).await;
        assert!(has(&report, kind, method), "{leak:?} {kind:?}: {report}");
    }
}

#[tokio::test]
async fn a_method_that_nobody_called_is_not_passed_over() {
    // Without the shape of its messages no method can be called.
    let contract = grpc_bank::contract();
    let report = LeakTest::new(contract, grpc_bank::router(Leak::None))
        .company(bare(12))
        .company(bare(34))
        .run()
        .await
        .unwrap();
    let methods = ["ListPayments", "GetPayment", "WatchPayments", "GetPayments"];
    for method in methods
        .into_iter()
        .chain(["CreatePayment", "CancelPayment"])
    {
        assert!(has(&report, Kind::Unreached, method), "{method}: {report}");
    }
    assert!(
        report
            .to_string()
            .contains("no descriptor set has this method")
    );
    assert!(!report.is_clean());

    // With it, what the lists tell is enough for the rest.
    let test = || begin(Leak::None).company(bare(12)).company(bare(34));
    test().run().await.unwrap().assert_clean();

    // Without the lists nobody says what there is.
    let unknown = test()
        .skip(Method::POST, "/bank.v1.Bank/ListPayments")
        .skip(Method::POST, "/bank.v1.Bank/WatchPayments");
    let report = unknown.run().await.unwrap();
    assert!(has(&report, Kind::Unreached, "GetPayment"), "{report}");
    assert!(has(&report, Kind::Unreached, "ImportPayments"), "{report}");
    assert!(!has(&report, Kind::Unreached, "ListPayments"), "{report}");
}

#[tokio::test]
async fn messages_may_be_written_as_documents() {
    let ask = |number: u32| json!({"paymentId": format!("pay_{number}01")});
    let order = |number: u32| json!({"accountId": format!("acct_{number}01"), "note": "rent"});
    let company = |number: u32| {
        bare(number)
            .body(Method::POST, "/bank.v1.Bank/GetPayment", ask(number))
            .body(Method::POST, "/bank.v1.Bank/CreatePayment", order(number))
            .body(
                Method::POST,
                "/bank.v1.Bank/ImportPayments",
                json!([order(number)]),
            )
    };
    for (leak, is_clean) in [
        (Leak::None, true),
        (Leak::Show, false),
        (Leak::Import, false),
    ] {
        let test = begin(leak).company(company(12)).company(company(34));
        let report = test.run().await.unwrap();
        assert_eq!(report.is_clean(), is_clean, "{leak:?}: {report}");
    }
}

#[tokio::test]
async fn a_message_that_no_method_takes_is_a_mistake() {
    let ask = || Ask {
        payment_id: "pay_1201".to_owned(),
    };
    let unknown = company(12).message("/bank.v1.Bank/Refund", ask().encode_to_vec());
    let junk = company(12).message("/bank.v1.Bank/GetPayment", *b"\xff");
    let twice = company(12)
        .message("/bank.v1.Bank/GetPayment", ask().encode_to_vec())
        .message("/bank.v1.Bank/GetPayment", ask().encode_to_vec());
    let other = company(12).body(Method::POST, "/bank.v1.Bank/GetPayment", json!({"x": 1}));
    let several = company(12).body(Method::POST, "/bank.v1.Bank/GetPayment", json!([{}, {}]));
    for wrong in [unknown, junk, twice, other, several] {
        let test = begin(Leak::None).company(wrong).company(company(34));
        assert!(test.run().await.is_err());
    }
    let contract = grpc_bank::contract();
    let test = LeakTest::new(contract, grpc_bank::router(Leak::None));
    assert!(test.descriptor_set(b"\xff").is_err());
}
