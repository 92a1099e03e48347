//! A key that is in the cache is verified without an allocation.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use bytes::Bytes;
use countersign_core::Clock;
use countersign_core::testing::ReadinessProbe;
use countersign_key_verify::{IssuedKey, KeyVerifier, KeyVerifyLayer, UseStore, UseWriter};
use http::Request;
use http_body_util::Full;
use support::{World, with_key};
use tower::{Layer, Service};

#[tokio::test]
async fn a_cache_hit_allocates_nothing() {
    let world = World::new().await;
    let layer = world.layer(|builder| builder);
    let issued = world.key().await;
    measured(&world, &layer, &issued).await;
}

#[tokio::test]
async fn a_use_is_noted_without_an_allocation() {
    let world = World::new().await;
    let issued = world.key().await;
    let verifier = KeyVerifier::builder(world.store.clone())
        .clock(world.clock.clone())
        .build()
        .unwrap();
    let writer = verifier.track_uses(UseWriter::INTERVAL).unwrap();
    assert!(verifier.track_uses(UseWriter::INTERVAL).is_err(), "twice");
    let layer = KeyVerifyLayer::new(verifier).with_edge(world.edge());
    measured(&world, &layer, &issued).await;
    assert_eq!(writer.shutdown().await.written, 2);
    let used = world.store.last_uses(&[issued.record.id]).await.unwrap();
    assert_eq!((used[0].count, used[0].at), (2, world.clock.now().wall));
}

async fn measured(world: &World, layer: &KeyVerifyLayer, issued: &IssuedKey) {
    assert!(world.send(layer, with_key(issued)).await.passed);

    let mut service = layer.layer(ReadinessProbe::default());
    let mut request = with_key(issued);
    let entered = world.edge().enter(&mut request);
    let context = entered.context(&request).clone();
    let mut cx = Context::from_waker(Waker::noop());
    let ready = Service::<Request<Full<Bytes>>>::poll_ready(&mut service, &mut cx);
    assert!(ready.is_ready());
    let mut status = None;
    let counted = measure(|| {
        let future = pin!(service.call(request));
        if let Poll::Ready(Ok(response)) = future.poll(&mut cx) {
            status = Some(response.status().as_u16());
        }
    });
    assert_eq!(status, Some(200));
    assert!(context.identity().is_some());
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
