//! An endpoint whose answer never ends, or never begins, does not keep the test from ending.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::pin::Pin;
use std::task::{Context, Poll, ready as wait};
use std::time::Duration;

use bytes::Bytes;
use countersign_core::Endpoint;
use countersign_leak_test::{Kind, LeakReport, LeakTest, TestCompany};
use countersign_scope_guard::Contract;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use tokio::time::Sleep;
use tower::service_fn;

/// The same text again and again: after each pause, or without one.
struct Endless {
    text: &'static [u8],
    pause: Option<Pin<Box<Sleep>>>,
}

impl Endless {
    fn at_once(text: &'static [u8]) -> Self {
        Self { text, pause: None }
    }

    fn every_tenth(text: &'static [u8]) -> Self {
        let pause = Some(Box::pin(tokio::time::sleep(TENTH)));
        Self { text, pause }
    }
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            wait!(pause.as_mut().poll(cx));
            pause.set(tokio::time::sleep(TENTH));
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.text)))))
    }
}

fn answer(body: Endless) -> Ready<Result<Response<Endless>, Infallible>> {
    ready(Ok(Response::new(body)))
}

fn test<S>(endpoint: Endpoint, service: S) -> LeakTest<S> {
    let endpoint = endpoint.scope("events:read".parse().unwrap());
    let contract = Contract::builder().endpoint(endpoint).build().unwrap();
    let company = |id: &str| TestCompany::new(id.parse().unwrap(), format!("key of {id}"));
    LeakTest::new(contract, service)
        .company(company("company_12").owns("event_12"))
        .company(company("company_34").owns("event_34"))
}

fn has(report: &LeakReport, kind: Kind) -> bool {
    report
        .findings()
        .iter()
        .any(|finding| finding.kind() == kind)
}

#[tokio::test(start_paused = true)]
async fn events_that_never_end_are_searched_as_far_as_they_came() {
    for (text, leaks) in [("data: tick\n\n", false), ("data: event_34\n\n", true)] {
        let service = service_fn(move |_: Request<Full<Bytes>>| {
            answer(Endless::every_tenth(text.as_bytes()))
        });
        let report = test(Endpoint::get("/events"), service).run().await.unwrap();
        assert_eq!(has(&report, Kind::ForeignData), leaks, "{report}");
        assert!(!has(&report, Kind::Failed) && !has(&report, Kind::Touched));
    }
}

#[tokio::test]
async fn no_more_of_an_answer_is_read_than_the_bound() {
    let service = service_fn(|_: Request<Full<Bytes>>| answer(Endless::at_once(&[b'x'; 4000])));
    let endless = test(Endpoint::get("/export"), service).answer_bytes(10_000);
    endless.run().await.unwrap();
}

#[tokio::test]
async fn a_body_that_always_has_a_frame_has_its_time_too() {
    let service = service_fn(|_: Request<Full<Bytes>>| answer(Endless::at_once(b"")));
    let endless = test(Endpoint::get("/export"), service).answer_time(Duration::from_millis(1));
    endless.run().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_answers_is_a_finding() {
    let never = pending::<Result<Response<Endless>, Infallible>>;
    let service = service_fn(move |_: Request<Full<Bytes>>| never());
    let report = test(Endpoint::get("/never"), service).run().await.unwrap();
    assert!(has(&report, Kind::Failed));
    let told = report.to_string();
    assert!(
        told.contains("GET /never: gave no answer within 5s"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_grpc_stream_that_never_falls_silent_is_left() {
    // A whole message without a field, and the beginning of the next.
    const FRAMES: &[u8] = &[0, 0, 0, 0, 0];
    let service = service_fn(|_: Request<Full<Bytes>>| answer(Endless::every_tenth(FRAMES)));
    let report = test(Endpoint::grpc("/feed.v1.Feed/Watch"), service)
        .descriptor_set(&descriptors())
        .unwrap()
        .answer_bytes(FRAMES.len() * 3 + 2)
        .run()
        .await
        .unwrap();
    assert!(
        !has(&report, Kind::Failed) && !has(&report, Kind::Unreached),
        "{report}"
    );
}

fn descriptors() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let source = r#"
        syntax = "proto3";
        package feed.v1;
        service Feed { rpc Watch(Nothing) returns (stream Nothing); }
        message Nothing {}
    "#;
    std::fs::write(directory.path().join("feed.proto"), source).unwrap();
    let set = protox::compile(["feed.proto"], [directory.path()]).unwrap();
    prost::Message::encode_to_vec(&set)
}

const TENTH: Duration = Duration::from_millis(100);
