//! The abuse layer as a tower layer.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use countersign_core::body::DenialBody;
use countersign_core::testing::{NeverAnswers, ReadinessProbe};
use countersign_core::{
    AbuseKind, AbuseReaction, AccessContext, Edge, Environment, Identity, KeyId, ManualClock,
    Reason, RequestObserver, ScopeSet,
};
use countersign_rate_limit::{Abuse, AbuseLayer, AbuseMonitor, AbuseRule, AbuseRules};
use http::{Request, Response};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

static_assertions::assert_impl_all!(AbuseLayer: Send, Sync, Clone);
static_assertions::assert_impl_all!(Abuse<ReadinessProbe>: Send, Sync, Clone);
static_assertions::assert_impl_all!(AbuseMonitor: Send, Sync, Clone);

/// A monitor that keeps a key away for a minute after one denial of a scope.
fn monitor() -> AbuseMonitor {
    let minute = Duration::from_secs(60);
    let rule = AbuseRule::new(1, minute).react(AbuseReaction::Throttle);
    let rules = AbuseRules::none().with(AbuseKind::ScopeDenials, rule);
    AbuseMonitor::builder().rules(rules).build().unwrap()
}

fn request<B>(clock: &ManualClock, body: B) -> Request<B> {
    let mut request = Request::new(body);
    let entered = Edge::builder()
        .clock(clock.clone())
        .build()
        .enter(&mut request);
    let company = "company_12".parse().unwrap();
    let identity = Identity::new(company, Environment::Live, ScopeSet::new()).with_key(
        KeyId::from_u128(7),
        "acme_live_pBakQVyk6bW4".parse().unwrap(),
    );
    entered.context(&request).identify(identity).unwrap();
    request
}

fn offend(monitor: &AbuseMonitor, clock: &ManualClock) {
    let request = request(clock, ());
    let context = AccessContext::of(&request).unwrap();
    context.deny(Reason::ScopeMissing.into());
    monitor.finished(context);
}

#[tokio::test]
async fn a_key_that_is_kept_away_is_told_when_to_come_back_and_let_in_then() {
    let (monitor, clock, probe) = (monitor(), ManualClock::default(), ReadinessProbe::default());
    let mut service = AbuseLayer::new(monitor.clone()).layer(probe.clone());
    let mut ask = async || {
        let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service);
        ready
            .await
            .unwrap()
            .call(request(&clock, Full::<Bytes>::default()))
            .await
            .unwrap()
    };
    assert_eq!(ask().await.status(), 200);
    offend(&monitor, &clock);
    clock.advance(Duration::from_millis(500));
    let refused = ask().await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "60");
    assert_eq!(probe.calls(), 1);
    clock.advance(Duration::from_millis(59_500));
    assert_eq!(ask().await.status(), 200);
    assert_eq!(probe.calls(), 2);
}

async fn refuses<B>(body: B)
where
    B: DenialBody + Default + Send + 'static,
{
    let (monitor, clock) = (monitor(), ManualClock::default());
    let echo = service_fn(async |request: Request<B>| {
        Ok::<_, std::convert::Infallible>(Response::new(request.into_body()))
    });
    let service = AbuseLayer::new(monitor.clone()).layer(echo);
    offend(&monitor, &clock);
    let asked = request(&clock, body);
    let record = AccessContext::of(&asked).unwrap().clone();
    assert_eq!(service.oneshot(asked).await.unwrap().status(), 429);
    assert_eq!(record.denial().unwrap().reason(), Reason::AbuseDenied);
}

#[tokio::test]
async fn works_over_full_streaming_and_axum_bodies() {
    refuses(Full::<Bytes>::default()).await;
    refuses(UnsyncBoxBody::<Bytes, std::convert::Infallible>::default()).await;
    refuses(Body::empty()).await;
}

#[tokio::test]
async fn stands_under_buffer_and_load_shed_and_may_be_dropped() {
    let (monitor, clock) = (monitor(), ManualClock::default());
    let service = ServiceBuilder::new()
        .load_shed()
        .buffer(4)
        .layer(AbuseLayer::new(monitor.clone()))
        .service(ReadinessProbe::default());
    let asked = request(&clock, Full::<Bytes>::default());
    assert_eq!(service.clone().oneshot(asked).await.unwrap().status(), 200);
    offend(&monitor, &clock);
    let asked = request(&clock, Full::<Bytes>::default());
    assert_eq!(service.oneshot(asked).await.unwrap().status(), 429);
    let stuck = AbuseLayer::off().layer(NeverAnswers);
    let asked = stuck.oneshot(request(&clock, Full::<Bytes>::default()));
    let ended = tokio::time::timeout(Duration::from_millis(5), asked).await;
    assert!(ended.is_err());
}

#[tokio::test]
async fn a_caller_without_a_key_has_none_that_could_be_kept_away() {
    let (monitor, clock) = (monitor(), ManualClock::default());
    offend(&monitor, &clock);
    let edge = Edge::builder().clock(clock).build();
    let layer = AbuseLayer::new(monitor).with_edge(edge);
    let service = layer.layer(ReadinessProbe::default());
    let asked = Request::new(Full::<Bytes>::default());
    assert_eq!(service.oneshot(asked).await.unwrap().status(), 200);
}
