//! The audit layer: one outcome for every request, whatever becomes of it.

mod calls;
mod ends;
mod room;

use std::convert::Infallible;
use std::future::ready;
use std::task::Poll;
use std::time::Duration;

use crate::common::*;
use bytes::Bytes;
use countersign_audit_sink::*;
use countersign_core::source::TrustedProxies;
use countersign_core::testing::{NeverAnswers, ReadinessProbe};
use countersign_core::{
    AccessContext, ClaimPlace, CompanyBinding, Denial, Deprecation, Edge, Endpoint, LimitNote,
    ManualClock, MatchedEndpoint, MetadataValue, Reason, Resource,
};
use http::uri::PathAndQuery;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

static_assertions::assert_impl_all!(AuditLayer: Send, Sync, Clone);
static_assertions::assert_impl_all!(IntentLayer: Send, Sync, Clone);
static_assertions::assert_impl_all!(Audit<ReadinessProbe>: Send, Sync, Clone);
static_assertions::assert_impl_all!(Intent<ReadinessProbe>: Send, Sync, Clone);
static_assertions::assert_impl_all!(
    ResponseFuture<ReadinessProbe, std::future::Ready<()>, Full<Bytes>, Full<Bytes>>: Send
);
static_assertions::assert_impl_all!(AuditSink: Send, Sync, Clone);
static_assertions::assert_impl_all!(AuditEvent: Send, Sync);

#[tokio::test]
async fn an_allowed_request_is_recorded_with_all_that_is_known() {
    let (sink, _writer, log) = memory_log().await;
    let clock = ManualClock::default();
    let edge = Edge::builder().clock(clock.clone()).build();
    let handler = service_fn(move |request: Request<Full<Bytes>>| {
        clock.advance(Duration::from_micros(1500));
        let context = AccessContext::of(&request).unwrap();
        let company = "company_12".parse().unwrap();
        context
            .bind_company(CompanyBinding {
                owner: company,
                effective: company,
            })
            .unwrap();
        context.claim_company(company);
        context.note(|notes| {
            notes.resource = Some(Resource::new("payment", "pay_17"));
            notes.insert("retries", 2).unwrap();
            notes
                .insert("forged", MetadataValue::Label("a b\n\"c".into()))
                .unwrap();
        });
        ready(ok())
    });
    let service = ServiceBuilder::new()
        .layer(AuditLayer::new(sink.clone()).with_edge(edge))
        .service(Identify::new(payments(), handler));
    let mut sent = request();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    sent.headers_mut()
        .insert("traceparent", trace.parse().unwrap());
    let response = service.oneshot(sent).await.unwrap();
    let mut lines = lines(&sink, &log).await;
    let line = lines.remove(0);
    let id = line["id"].as_str().unwrap();
    assert_eq!(id.len(), 26);
    assert_eq!(
        response.headers()["x-request-id"],
        line["request_id"].as_str().unwrap()
    );
    let expected = serde_json::json!({
        "seq": 0,
        "id": id,
        "time": "2026-01-01T00:00:00.000000Z",
        "type": "external_api.request.allowed",
        "decision": "allowed",
        "status": 200,
        "request_id": line["request_id"],
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "actor": "api_key",
        "environment": "live",
        "key_id": "key_00000000000000000000000007",
        "key_prefix": "acme_live_pBakQVyk6bW4",
        "owner_company": "company_12",
        "effective_company": "company_12",
        "claimed_company": "company_12",
        "method": "POST",
        "route": "/payments/{id}",
        "required_scope": "payments:create",
        "operation": "write",
        "sensitivity": "normal",
        "source": "203.0.113.9",
        "user_agent_hash": line["user_agent_hash"],
        "latency_us": 1500,
        "resource_type": "payment",
        "resource_id": "pay_17",
        "metadata": { "retries": 2, "forged": "abc" },
    });
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_call_of_what_is_on_its_way_out_says_so() {
    let (sink, _writer, log) = memory_log().await;
    let since = Deprecation::since("2026-01-01T00:00:00Z".parse().unwrap());
    for endpoint in [
        Endpoint::get("/old").deprecated(since),
        Endpoint::get("/new"),
    ] {
        let endpoint = endpoint.kept();
        let service = audited(&sink, move |context| {
            let target = PathAndQuery::from_static("/x");
            let matched = MatchedEndpoint { endpoint, target };
            context.match_endpoint(matched).unwrap();
            Answer::default()
        });
        service.oneshot(request()).await.unwrap();
    }
    let lines = lines(&sink, &log).await;
    assert_eq!(lines[0]["metadata"]["stage"], "deprecated");
    assert_eq!(lines[0]["route"], "/old");
    assert!(lines[1].get("metadata").is_none());
}

#[tokio::test]
async fn every_reason_is_recorded_as_its_type() {
    let (sink, _writer, log) = memory_log().await;
    for reason in Reason::ALL {
        let service = audited(&sink, move |context| context.refuse(Denial::new(*reason)));
        service.oneshot(request()).await.unwrap();
    }
    let lines = lines(&sink, &log).await;
    assert_eq!(lines.len(), Reason::ALL.len());
    for (line, reason) in lines.iter().zip(Reason::ALL) {
        assert_eq!(line["reason"], reason.as_str());
        assert_eq!(line["error"], reason.error().as_str());
        assert_eq!(line["status"], reason.error().status().as_u16());
        assert_ne!(line["type"], "external_api.request.allowed");
        let limited = reason.as_str().starts_with("limit_") && line["status"] == 429;
        let limited = limited || *reason == Reason::SourceThrottled;
        assert_eq!(line["decision"] == "rate_limited", limited, "{reason}");
    }
}

#[tokio::test]
async fn a_refusal_says_where_and_by_which_limit() {
    let (sink, _writer, log) = memory_log().await;
    let service = audited(&sink, |context| {
        context.claim_company("company_34".parse().unwrap());
        context.note_limit(LimitNote {
            policy: Some("key".into()),
            fallback: true,
        });
        context.refuse(Denial::new(Reason::CompanyMismatch).with_claim(ClaimPlace::Query))
    });
    service.oneshot(request()).await.unwrap();
    let line = &lines(&sink, &log).await[0];
    assert_eq!(line["type"], "external_api.request.denied_company_boundary");
    assert_eq!(line["claimed_company"], "company_34");
    assert_eq!(line["limit_policy"], "key");
    assert_eq!(
        line["metadata"],
        serde_json::json!({"where": "query", "limit_fallback": true})
    );
    assert_eq!(line["actor"], "anonymous");
    assert_eq!(line.get("effective_company"), None);
}

#[tokio::test]
async fn it_refuses_everything_when_it_is_not_the_outermost_layer() {
    let (sink, _writer, log) = memory_log().await;
    let probe = ReadinessProbe::default();
    let inner = ServiceBuilder::new()
        .layer(AuditLayer::new(sink.clone()))
        .service(probe.clone());
    let service = Identify::new(payments(), inner);
    let response = service.oneshot(request()).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(probe.calls(), 0);
    assert_eq!(lines(&sink, &log).await[0]["reason"], "misconfigured_stack");
}

#[tokio::test]
async fn sources_are_recorded_in_the_form_that_was_chosen() {
    let key = SourceKey::new(&[7; 32]).unwrap();
    for (form, expected) in [
        (SourceForm::Plain, "203.0.113.9"),
        (SourceForm::Truncated, "203.0.113.0/24"),
        (SourceForm::KeyedHash(key), "h:"),
    ] {
        let (sink, _writer, log) = memory_log().await;
        let layer = AuditLayer::new(sink.clone()).with_source_form(form);
        let service = layer_over(&layer, ReadinessProbe::default());
        service.oneshot(request()).await.unwrap();
        let line = &lines(&sink, &log).await[0];
        assert!(
            line["source"].as_str().unwrap().starts_with(expected),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_source_that_a_proxy_said_illegibly_is_told_as_such() {
    let (sink, _writer, log) = memory_log().await;
    let proxies = TrustedProxies::new(["203.0.113.0/24".parse().unwrap()]);
    let edge = Edge::builder().trusted_proxies(proxies).build();
    let layer = AuditLayer::new(sink.clone()).with_edge(edge);
    for entry in ["unknown", "198.51.100.7"] {
        let mut request = request();
        let entry = http::HeaderValue::from_static(entry);
        request.headers_mut().insert("x-forwarded-for", entry);
        let service = layer_over(&layer, ReadinessProbe::default());
        service.oneshot(request).await.unwrap();
    }
    let told = lines(&sink, &log).await;
    let told = told
        .iter()
        .map(|line| (&line["source"], &line["metadata"]["source_unresolved"]));
    let told: Vec<_> = told.collect();
    let (proxy, caller) = (json!("203.0.113.9"), json!("198.51.100.7"));
    assert_eq!(told, [(&proxy, &json!(true)), (&caller, &json!(null))]);
}

#[tokio::test]
async fn works_over_streaming_bodies() {
    let (sink, _writer, log) = memory_log().await;
    let layer = AuditLayer::new(sink.clone());
    let stream = service_fn(|_: Request<UnsyncBoxBody<Bytes, Infallible>>| {
        let body = Full::<Bytes>::default().boxed_unsync();
        ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let sent = request().map(|body| body.boxed_unsync());
    layer_over(&layer, stream).oneshot(sent).await.unwrap();
    assert_eq!(lines(&sink, &log).await.len(), 1);
}

#[tokio::test]
async fn works_under_buffer_and_load_shed() {
    let (sink, _writer, log) = memory_log().await;
    let service = ServiceBuilder::new()
        .buffer::<Request<Full<Bytes>>>(4)
        .load_shed()
        .layer(AuditLayer::new(sink.clone()))
        .service(Identify::new(payments(), ReadinessProbe::default()));
    for _ in 0..3 {
        service.clone().oneshot(request()).await.unwrap();
    }
    assert_eq!(lines(&sink, &log).await.len(), 3);
}

/// The layer over a service that is told who calls and what.
fn layer_over<S>(layer: &AuditLayer, inner: S) -> Audit<Identify<S>> {
    ServiceBuilder::new()
        .layer(layer)
        .service(Identify::new(payments(), inner))
}

/// The layer over something that answers from the context.
fn audited<F>(
    sink: &AuditSink,
    answer: F,
) -> impl Service<Request<Full<Bytes>>, Response = Answer, Error = Infallible>
where
    F: Fn(&AccessContext) -> Answer + Clone,
{
    ServiceBuilder::new()
        .layer(AuditLayer::new(sink.clone()))
        .service_fn(move |request: Request<Full<Bytes>>| {
            ready(Ok(answer(AccessContext::of(&request).unwrap())))
        })
}
