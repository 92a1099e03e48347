//! Requests that end otherwise than with the handler's answer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;

use super::*;

#[tokio::test]
async fn a_handlers_own_fault_is_a_failure_of_an_allowed_request() {
    let (sink, _writer, log) = memory_log().await;
    for (status, kind) in [
        (503, "failed"),
        (500, "failed"),
        (404, "allowed"),
        (302, "allowed"),
    ] {
        let handler = service_fn(move |_| {
            let mut response = Answer::default();
            *response.status_mut() = status.try_into().unwrap();
            ready(Ok::<_, Infallible>(response))
        });
        let layer = AuditLayer::new(sink.clone());
        let service = ServiceBuilder::new().layer(layer).service(handler);
        service.oneshot(request()).await.unwrap();
        let line = lines(&sink, &log).await.pop().unwrap();
        assert_eq!(line["type"], format!("external_api.request.{kind}"));
        assert_eq!(line["decision"], "allowed");
        assert_eq!(line["status"], status);
        assert_eq!(line.get("reason"), None);
    }
}

type Held = Arc<Mutex<Vec<(AccessContext, Weak<()>)>>>;

/// Something that is held for a request, whose record outlives it.
fn holding() -> (Held, impl Fn(&Request<Full<Bytes>>) + Clone) {
    let held = Held::default();
    let all = Arc::clone(&held);
    let hold = move |request: &Request<Full<Bytes>>| {
        let context = AccessContext::of(request).unwrap();
        let place = Arc::new(());
        let kept = (context.clone(), Arc::downgrade(&place));
        all.lock().unwrap().push(kept);
        context.hold(place);
    };
    (held, hold)
}

#[tokio::test]
async fn a_panic_is_answered_and_recorded() {
    let (sink, _writer, log) = memory_log().await;
    let (held, holding) = holding();
    let hold = holding.clone();
    let at_call = service_fn(
        move |request: Request<Full<Bytes>>| -> std::future::Ready<Result<Answer, Infallible>> {
            hold(&request);
            panic!("while called")
        },
    );
    let at_poll = service_fn(move |request: Request<Full<Bytes>>| {
        holding(&request);
        async {
            tokio::task::yield_now().await;
            assert!(std::hint::black_box(false), "while polled");
            ok()
        }
    });
    let layer = AuditLayer::new(sink.clone());
    let first = layer_over(&layer, at_call)
        .oneshot(request())
        .await
        .unwrap();
    let second = layer_over(&layer, at_poll)
        .oneshot(request())
        .await
        .unwrap();
    for response in [first, second] {
        assert_eq!(response.status(), 500);
        assert!(response.headers().contains_key("x-request-id"));
    }
    for (_context, place) in &*held.lock().unwrap() {
        assert!(place.upgrade().is_none(), "it was given back");
    }
    let lines = lines(&sink, &log).await;
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!(line["type"], "external_api.request.failed");
        assert_eq!(line["reason"], "handler_panicked");
        assert_eq!(line["decision"], "allowed", "the handler had begun");
    }
}

#[tokio::test]
async fn a_dropped_request_is_recorded() {
    let (sink, _writer, log) = memory_log().await;
    let layer = AuditLayer::new(sink.clone());
    drop(layer_over(&layer, NeverAnswers).oneshot(request()));
    assert_eq!(lines(&sink, &log).await.len(), 0, "it never came in");
    poll_once(layer_over(&layer, NeverAnswers).oneshot(request())).await;
    let mut unauthenticated = ServiceBuilder::new().layer(&layer).service(NeverAnswers);
    drop(unauthenticated.call(request()));
    let lines = lines(&sink, &log).await;
    assert_eq!(lines.len(), 2);
    for (line, decision) in lines.iter().zip(["allowed", "denied"]) {
        assert_eq!(line["type"], "external_api.request.failed");
        assert_eq!(line["reason"], "client_disconnected");
        assert_eq!(line["decision"], decision);
        assert_eq!(line.get("status"), None);
    }
}

#[tokio::test]
async fn a_failed_service_is_recorded_and_its_error_passed_on() {
    let (sink, _writer, log) = memory_log().await;
    let failing = service_fn(|_| ready(Err::<Answer, _>("gone")));
    let service = layer_over(&AuditLayer::new(sink.clone()), failing);
    assert_eq!(service.oneshot(request()).await.unwrap_err(), "gone");
    let line = &lines(&sink, &log).await[0];
    assert_eq!(line["type"], "external_api.request.failed");
    assert_eq!(line["metadata"]["cause"], "service_error");
    assert_eq!(line.get("status"), None);
}

async fn poll_once<F: Future>(future: F) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}
