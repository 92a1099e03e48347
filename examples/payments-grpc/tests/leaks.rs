//! The example's methods, called across its two companies: nothing of one comes back to the other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use countersign::Contract;
use countersign::leak_test::{LeakTest, TestCompany};
use http_body_util::Full;
use prost::Message;
use support::Service;
use support::proto::{Amount, CreatePaymentRequest};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::{Channel, Endpoint};
use tower::{Service as _, ServiceExt};

const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/payments.v1.bin"));

/// Sends a call over a real connection.
async fn forward(
    mut channel: Channel,
    call: Request<Full<Bytes>>,
) -> Result<Response<Body>, tonic::transport::Error> {
    let mut call = call.map(Body::new);
    // HTTP/2 has it in the target, where the connection puts it.
    call.headers_mut().remove("host");
    channel.ready().await?.call(call).await
}

fn company(service: &Service, number: u32) -> TestCompany {
    let name = format!("company_{number}");
    let order = CreatePaymentRequest {
        source_account_id: format!("acct_{number}01"),
        amount: Some(Amount {
            currency: "GBP".to_owned(),
            value: "25.00".to_owned(),
        }),
        reference: "Invoice 7".to_owned(),
    };
    let order = order.encode_to_vec();
    TestCompany::new(name.parse().unwrap(), service.key(&name, "full"))
        .id("payment_id", format!("pay_{number}01"))
        .message("/payments.v1.Payments/CreatePayment", order.clone())
        .message("/payments.v1.Payments/CreatePayments", order)
}

#[tokio::test]
async fn nothing_of_one_company_comes_back_to_the_other() {
    let service = Service::start();
    let channel = Endpoint::from_shared(format!("http://{}", service.production)).unwrap();
    let channel = channel.connect().await.unwrap();
    let calls = Contract::builder().descriptor_set(DESCRIPTOR_SET).unwrap();
    let report = LeakTest::new(
        calls.build().unwrap(),
        tower::service_fn(move |call| forward(channel.clone(), call)),
    )
    .descriptor_set(DESCRIPTOR_SET)
    .unwrap()
    .company(company(&service, 12))
    .company(company(&service, 34))
    .claim_header("x-company-id".parse().unwrap())
    .run()
    .await
    .unwrap();
    report.assert_clean();
    assert!(report.calls() > 100, "{report}");
    println!("{report}");
}
