//! Request targets and what is made of each, as recorded.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use countersign_core::Reason;
use countersign_core::testing::ReadinessProbe;
use countersign_scope_guard::ContractLayer;
use http::{Request, Uri};
use http_body_util::Full;
use support::{contract, enter, reason};
use tower::{Layer, ServiceExt};

#[tokio::test]
async fn every_recorded_target_is_treated_as_recorded() {
    let rows: serde_json::Value =
        serde_json::from_str(include_str!("vectors/request_targets.json")).unwrap();
    let rows = rows["rows"].as_array().unwrap();
    assert!(rows.len() > 50);
    for row in rows {
        let text = |name: &str| row[name].as_str().unwrap();
        let answer = replay(text("method"), text("target")).await;
        match text("strict_policy") {
            "pass" => assert!(answer.is_ok(), "{row} was refused: {answer:?}"),
            "reject" => assert_eq!(answer, Err(Reason::AmbiguousTarget), "{row}"),
            other => panic!("unknown policy {other}"),
        }
    }
}

/// Whether the target rules let the request pass, whatever the contract says of it.
async fn replay(method: &str, target: &str) -> Result<(), Reason> {
    // What is no URI never becomes a request: a server refuses it as it reads it.
    let Ok(uri) = Uri::try_from(target.as_bytes()) else {
        return Err(Reason::AmbiguousTarget);
    };
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "127.0.0.1")
        .body(Full::<bytes::Bytes>::default())
        .unwrap();
    let context = enter(&mut request);
    let probe = ReadinessProbe::default();
    let service = ContractLayer::new(contract(&[("GET", "/admin/users")])).layer(probe.clone());
    let status = service.oneshot(request).await.unwrap().status();
    match reason(&context) {
        None => assert_eq!((status.as_u16(), probe.calls()), (200, 1)),
        Some(Reason::EndpointUnknown) => assert_eq!((status.as_u16(), probe.calls()), (403, 0)),
        Some(reason) => {
            assert_eq!((status.as_u16(), probe.calls()), (400, 0));
            return Err(reason);
        }
    }
    Ok(())
}
