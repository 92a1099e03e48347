//! The layer around services: decisions, bodies, and the contract between services.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::convert::Infallible;
use std::future::Future;
use std::task::{Context, Waker};

use bytes::Bytes;
use countersign_company_scope::{
    CompanyScope, CompanyScopeLayer, CompanyScopeService, JsonPointer, OverLimit, Owned,
};
use countersign_core::body::DenialBody;
use countersign_core::testing::{NeverAnswers, ReadinessProbe};
use countersign_core::{AccessContext, Reason};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use static_assertions::{assert_impl_all, assert_not_impl_any};
use support::{Frames, enter, every_claim, post, reason};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Whole = Full<Bytes>;
type Streaming = UnsyncBoxBody<Bytes, std::io::Error>;

assert_impl_all!(CompanyScope: Clone, Send, Sync, std::fmt::Debug);
assert_not_impl_any!(CompanyScope: Copy, Default);
assert_impl_all!(Owned<u8>: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(JsonPointer: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(CompanyScopeLayer: Clone, Send, Sync, std::fmt::Debug);
assert_impl_all!(CompanyScopeService<ReadinessProbe>: Clone, Send, Sync, std::fmt::Debug);

const JSON: Option<&str> = Some("application/json");

async fn through<L, B>(layer: L, mut request: Request<B>) -> (u16, usize, AccessContext)
where
    L: Layer<ReadinessProbe>,
    L::Service: Service<Request<B>, Response = Response<Whole>, Error = Infallible>,
{
    let context = enter(&mut request);
    let probe = ReadinessProbe::default();
    let answer = layer.layer(probe.clone()).oneshot(request).await.unwrap();
    (answer.status().as_u16(), probe.calls(), context)
}

#[tokio::test]
async fn a_request_without_claims_is_its_owners() {
    for body in ["", "{}", r#"{"amount":1}"#] {
        let request = post("/c/company_34", JSON, Whole::from(body));
        let (status, calls, context) = through(every_claim(), request).await;
        assert_eq!((status, calls), (200, 1));
        let scope = CompanyScope::from_context(&context).unwrap();
        assert_eq!(scope.company().as_str(), "company_34");
        assert_eq!(scope.owner(), scope.company());
    }
}

#[tokio::test]
async fn a_claim_in_the_body_is_checked() {
    for (body, status, why) in [
        (r#"{"company_id":"company_34"}"#, 200, None),
        (
            r#"{"company_id":"company_12"}"#,
            403,
            Some(Reason::CompanyMismatch),
        ),
        (r#"{"company_id":34}"#, 403, Some(Reason::CompanyMismatch)),
        (
            r#"{"company_id":"company_34""#,
            400,
            Some(Reason::MalformedRequest),
        ),
        ("not json", 400, Some(Reason::MalformedRequest)),
    ] {
        let request = post("/c/company_34", JSON, Whole::from(body));
        let (answer, calls, context) = through(every_claim(), request).await;
        assert_eq!((answer, reason(&context)), (status, why), "{body}");
        assert_eq!(calls, usize::from(status == 200));
    }
    let request = post(
        "/c/company_34",
        JSON,
        Whole::from(r#"{"company_id":"company_12"}"#),
    );
    let (_, _, context) = through(every_claim(), request).await;
    assert_eq!(context.refused_claim().unwrap().as_str(), "body");
    assert_eq!(context.claimed_company().unwrap().as_str(), "company_12");
    assert_eq!(context.company().unwrap().effective.as_str(), "company_34");
}

#[tokio::test]
async fn a_body_of_another_type_is_left_alone() {
    let claim = r#"{"company_id":"company_12"}"#;
    for (content_type, body, status) in [
        (Some("text/plain"), claim, 200),
        (
            Some("application/x-www-form-urlencoded"),
            "company_id=company_12",
            200,
        ),
        (None, "company_id=company_12", 200),
        (None, claim, 403),
        (None, "\n[1,", 400),
        (None, " \r\n", 200),
    ] {
        let request = post("/c/company_34", content_type, Whole::from(body));
        let (answer, ..) = through(every_claim(), request).await;
        assert_eq!(answer, status, "{content_type:?} {body}");
    }
}

#[tokio::test]
async fn a_get_with_a_body_is_no_way_around_the_check() {
    let mut request = post(
        "/c/company_34",
        JSON,
        Whole::from(r#"{"company_id":"company_12"}"#),
    );
    *request.method_mut() = http::Method::GET;
    assert_eq!(through(every_claim(), request).await.0, 403);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_malformed() {
    let body: Streaming = Frames::split(&[b"{}"]).then_broken().boxed_unsync();
    let (status, calls, context) = through(every_claim(), post("/c/company_34", JSON, body)).await;
    assert_eq!((status, calls), (400, 0));
    assert_eq!(reason(&context), Some(Reason::MalformedRequest));
}

#[tokio::test]
async fn a_layer_twice_or_without_a_caller_fails_closed() {
    let twice = ServiceBuilder::new()
        .layer(every_claim())
        .layer(CompanyScopeLayer::new());
    let request = post("/c/company_34", None, Whole::default());
    let (status, calls, context) = through(twice.into_inner(), request).await;
    assert_eq!((status, calls), (500, 0));
    assert_eq!(reason(&context), Some(Reason::MisconfiguredStack));

    let alone = CompanyScopeLayer::new().layer(ReadinessProbe::default());
    let answer = alone
        .oneshot(post("/c", None, Whole::default()))
        .await
        .unwrap();
    assert_eq!(answer.status(), 500);
    assert!(answer.headers().contains_key("x-request-id"));
}

/// Answers with exactly the request's body.
fn echo()
-> impl Service<Request<Streaming>, Response = Response<Streaming>, Error = Infallible, Future: Send>
+ Clone {
    service_fn(|request: Request<Streaming>| async {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    })
}

async fn frames(mut body: Streaming) -> Vec<Result<Vec<u8>, HeaderMap>> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.unwrap();
        all.push(match frame.into_data() {
            Ok(data) => Ok(data.to_vec()),
            Err(frame) => Err(frame.into_trailers().unwrap()),
        });
    }
    all
}

async fn echoed(
    layer: CompanyScopeLayer,
    content_type: Option<&str>,
    body: Frames,
) -> Response<Streaming> {
    let mut request = post("/c/company_34", content_type, body.boxed_unsync());
    enter(&mut request);
    layer.layer(echo()).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn trailers_reach_the_handler() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "abc".parse().unwrap());
    let sent = [
        Frame::data(Bytes::from_static(b"{\"company_id\":")),
        Frame::data(Bytes::from_static(b"\"company_34\"}")),
        Frame::trailers(trailers.clone()),
    ];
    let answer = echoed(every_claim(), JSON, Frames::of(sent)).await;
    assert_eq!(answer.status(), 200);
    let got = frames(answer.into_body()).await;
    assert_eq!(got.len(), 3);
    assert_eq!(got[2], Err(trailers));
}

#[tokio::test]
async fn a_long_stream_passes_or_is_refused_as_chosen() {
    let parts: Vec<Vec<u8>> = (0..50u8).map(|i| vec![b'0' + i % 10; 10]).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let layer = every_claim().body_limit(64);
    let refused = echoed(layer.clone(), JSON, Frames::split(&parts)).await;
    assert_eq!(refused.status(), 400);
    let passed = echoed(
        layer.over_limit(OverLimit::Pass),
        JSON,
        Frames::split(&parts),
    )
    .await;
    assert_eq!(passed.status(), 200);
    let got = frames(passed.into_body()).await;
    assert!(
        got.iter()
            .map(|f| f.as_deref().unwrap())
            .eq(parts.iter().copied())
    );
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called() {
    // The probe panics when a clone is called; a buffer does so too.
    let probe = ReadinessProbe::default();
    let inside = ServiceBuilder::new()
        .layer(every_claim())
        .buffer(4)
        .service(probe.clone());
    let outside = ServiceBuilder::new()
        .buffer(4)
        .load_shed()
        .layer(every_claim())
        .service(probe.clone());
    let body = r#"{"company_id":"company_34"}"#;
    for round in 0..20 {
        let content_type = if round % 2 == 0 {
            JSON
        } else {
            Some("text/plain")
        };
        let ask = || {
            let mut request = post("/c/company_34", content_type, Whole::from(body));
            enter(&mut request);
            request
        };
        let mut inside = inside.clone();
        let answer = inside.ready().await.unwrap().call(ask()).await.unwrap();
        assert_eq!(answer.status(), 200);
        let again = inside.ready().await.unwrap().call(ask()).await.unwrap();
        assert_eq!(again.status(), 200);
        let answer = outside.clone().oneshot(ask()).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(probe.calls(), 60);
}

#[tokio::test]
async fn errors_of_the_inner_service_pass_through() {
    let failing = service_fn(|_: Request<Whole>| async { Err::<Response<Whole>, _>("broken") });
    for content_type in [JSON, None] {
        let mut request = post("/c/company_34", content_type, Whole::from("{}"));
        enter(&mut request);
        let answer = every_claim().layer(failing).oneshot(request).await;
        assert_eq!(answer.unwrap_err(), "broken");
    }
}

#[tokio::test]
async fn a_future_that_is_dropped_half_way_calls_nobody() {
    let mut cx = Context::from_waker(Waker::noop());
    let body: Streaming = Frames::split(&[b"{}"]).boxed_unsync();
    let mut request = post("/c/company_34", JSON, body);
    let context = enter(&mut request);
    let probe = ReadinessProbe::default();
    let mut service = every_claim().layer(probe.clone());
    let ready = Service::<Request<Streaming>>::poll_ready(&mut service, &mut cx);
    assert!(ready.is_ready());
    let mut future = Box::pin(service.call(request));
    assert!(future.as_mut().poll(&mut cx).is_pending());
    drop(future);
    assert_eq!((probe.calls(), reason(&context)), (0, None));

    let mut request = post("/c/company_34", None, Whole::default());
    enter(&mut request);
    let mut future = Box::pin(every_claim().layer(NeverAnswers).call(request));
    assert!(future.as_mut().poll(&mut cx).is_pending());
}

/// A claim in one place: absent, the owner's, or another's.
fn claim() -> impl Strategy<Value = Option<String>> {
    let others = proptest::sample::select(vec![
        "company_12",
        "company_3",
        "company_345",
        "COMPANY_34",
        "",
        "company_34,company_12",
        "company_34%00",
    ]);
    prop_oneof![
        2 => Just(None),
        3 => Just(Some("company_34".to_owned())),
        3 => others.prop_map(|other| Some(other.to_owned())),
    ]
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_combination_of_other_claims_reaches_the_handler(
        path in claim(),
        query in proptest::collection::vec(claim(), 0..3),
        header in proptest::collection::vec(claim(), 0..3),
        body in claim(),
        declared in proptest::bool::ANY,
        cut in 0usize..12,
    ) {
        let claims = [&[path.clone(), body.clone()], &query[..], &header[..]].concat();
        let own = |claim: &Option<String>| claim.as_deref().is_none_or(|c| c == "company_34");
        let all_own = claims.iter().all(own);

        let mut target = format!("/c/{}?x=1", path.as_deref().unwrap_or("company_34"));
        for value in query.iter().flatten() {
            target.push_str(&format!("&company_id={value}"));
        }
        let document = match &body {
            Some(value) => format!(r#"{{"amount":1,"company_id":"{value}"}}"#),
            None => "{}".to_owned(),
        };
        let (start, end) = document.as_bytes().split_at(cut.min(document.len()));
        let body: Streaming = Frames::split(&[start, end]).boxed_unsync();
        let mut request = post(&target, declared.then_some("application/json"), body);
        for value in header.iter().flatten() {
            request.headers_mut().append("x-company-id", value.parse().unwrap());
        }
        let (status, calls, context) = run(through(every_claim(), request));
        prop_assert_eq!(calls, usize::from(all_own), "{:?}", claims);
        if all_own {
            let scope = CompanyScope::from_context(&context).unwrap();
            prop_assert_eq!(scope.company().as_str(), "company_34");
        } else {
            prop_assert_eq!(status, 403);
        }
    }

    #[test]
    fn a_body_reaches_the_handler_frame_by_frame(
        parts in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..30), 0..12),
        trailers in proptest::bool::ANY,
    ) {
        let mut sent: Vec<Frame<Bytes>> =
            parts.iter().map(|p| Frame::data(Bytes::copy_from_slice(p))).collect();
        if trailers {
            sent.push(Frame::trailers(HeaderMap::new()));
        }
        let whole = parts.concat();
        let first = whole.iter().find(|b| !b.is_ascii_whitespace());
        // What begins like JSON is a case of its own.
        prop_assume!(!first.is_some_and(|b| matches!(b, b'{' | b'[')));
        let answer = run(echoed(every_claim(), None, Frames::of(sent)));
        prop_assert_eq!(answer.status(), 200);
        let mut expected: Vec<Result<Vec<u8>, HeaderMap>> = parts.into_iter().map(Ok).collect();
        if trailers {
            expected.push(Err(HeaderMap::new()));
        }
        prop_assert_eq!(run(frames(answer.into_body())), expected);
    }

    #[test]
    fn a_document_reaches_the_handler_frame_by_frame(
        texts in proptest::collection::vec("[ -~]{0,20}", 0..6),
        cuts in proptest::collection::vec(0usize..200, 0..6),
    ) {
        let mut document = serde_json::json!({ "company_id": "company_34", "texts": texts });
        document["more"] = document.clone();
        let document = document.to_string().into_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(document.len())).collect();
        cuts.sort_unstable();
        cuts.push(document.len());
        let mut parts: Vec<&[u8]> = Vec::new();
        cuts.into_iter().fold(0, |from, to| {
            parts.push(&document[from..to]);
            to
        });
        let answer = run(echoed(every_claim(), Some("application/json"), Frames::split(&parts)));
        prop_assert_eq!(answer.status(), 200);
        let got = run(frames(answer.into_body()));
        prop_assert!(got.iter().map(|f| f.as_deref().unwrap()).eq(parts));
    }
}

#[test]
fn a_denial_fits_the_bodies_in_use() {
    let bytes = Bytes::from_static(b"x");
    let _: (Whole, Streaming) = (
        DenialBody::from_denial(bytes.clone()),
        DenialBody::from_denial(bytes),
    );
}
