//! Nothing that a caller sends stands in the log, but what the log is there to tell.

use std::convert::Infallible;
use std::future::ready;

use bytes::Bytes;
use countersign_audit_sink::*;
use countersign_core::{AccessContext, Denial, Endpoint, Reason};
use http::{Method, Request};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::common::*;

const PLANTED: &str = "PLANTED";

fn planted_request(method: &str) -> Request<Full<Bytes>> {
    let mut request = request().map(|_| Full::from("{\"pin\":\"PLANTED-body\"}"));
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = "/payments/PLANTED-path?key=PLANTED-query".parse().unwrap();
    let headers = request.headers_mut();
    for name in [
        "x-api-key",
        "authorization",
        "cookie",
        "user-agent",
        "x-request-id",
        "traceparent",
        "x-forwarded-for",
        "forwarded",
        "referer",
        "host",
        "content-type",
        "accept",
    ] {
        headers.insert(name, "PLANTED-header".parse().unwrap());
    }
    request
}

#[tokio::test]
async fn no_line_holds_what_was_planted() {
    let (sink, _writer, log) = memory_log().await;
    let endpoint = Endpoint::post("/payments/{id}").sensitive().kept();
    let methods = ["POST", "GET", "PLANTED"];
    let known = [true, false];
    for (method, known) in methods.into_iter().flat_map(|m| known.map(|k| (m, k))) {
        for reason in Reason::ALL {
            let service = service_fn(move |request: Request<Full<Bytes>>| {
                let context = AccessContext::of(&request).unwrap();
                if known {
                    identify(context, endpoint, &request);
                }
                let denial =
                    Denial::validation("PLANTED-message").with_detail("PLANTED", "PLANTED");
                let denial = match reason {
                    Reason::ValidationFailed => denial,
                    _ => Denial::new(*reason).with_detail("PLANTED", "PLANTED"),
                };
                ready(Ok::<Answer, Infallible>(context.refuse(denial)))
            });
            let layer = AuditLayer::new(sink.clone());
            let stack = ServiceBuilder::new().layer(layer).service(service);
            stack.oneshot(planted_request(method)).await.unwrap();
        }
    }
    let lines = lines(&sink, &log).await;
    assert_eq!(lines.len(), Reason::ALL.len() * methods.len() * 2);
    for line in lines {
        assert!(!line.to_string().contains(PLANTED), "{line}");
    }
}

#[tokio::test]
async fn no_intent_holds_what_was_planted() {
    let (sink, _writer, log) = memory_log().await;
    let layer = AuditLayer::new(sink.clone());
    let handler = ServiceBuilder::new()
        .layer(layer.intent())
        .service_fn(|_: Request<Full<Bytes>>| ready(ok()));
    let stack = ServiceBuilder::new()
        .layer(layer)
        .service(Identify::new(payments().sensitive(), handler));
    stack.oneshot(planted_request("POST")).await.unwrap();
    let lines = lines(&sink, &log).await;
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert!(!line.to_string().contains(PLANTED), "{line}");
    }
}

#[tokio::test]
async fn a_raw_key_given_as_an_actor_is_cut_to_its_prefix() {
    let (sink, _writer, log) = memory_log().await;
    let raw = format!("acme_live_pBakQVyk6bW4_{PLANTED}");
    let mut event = lifecycle_event(&raw);
    event.reason = Some("a reason\n\"with\" things".to_owned());
    sink.append_durable(event.into()).await.unwrap();
    let line = &lines(&sink, &log).await[0];
    assert_eq!(line["metadata"]["actor"], "acme_live_pBakQVyk6bW4");
    assert_eq!(line["reason"], "areasonwiththings");
}
