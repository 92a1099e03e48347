//! Runs requests through a service on this thread and takes their time.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use tokio::runtime::{Builder, Runtime};
use tower::{Service, ServiceExt};

use super::api;
use super::keys::{Draw, Key};

/// A runtime that stays on the calling thread.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of the calling thread")
}

/// The time that `count` requests take, each in a clone of `service` as a server makes it.
/// Requests are made beforehand in small batches, so that neither their making nor a cache miss
/// on their key counts.
pub(crate) fn time<S, B>(
    runtime: &Runtime,
    service: &S,
    keys: &mut Draw<'_>,
    expected: StatusCode,
    count: usize,
) -> Duration
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
{
    let batches = count.div_ceil(BATCH);
    (0..batches)
        .map(|_| {
            let batch = requests(keys, BATCH);
            let started = Instant::now();
            runtime.block_on(run(service, batch, expected));
            started.elapsed()
        })
        .sum()
}

/// Calls with every one of `keys` once, so that all of them are in the caches.
pub(crate) fn warm<S, B>(runtime: &Runtime, service: &S, keys: &[Key])
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
{
    for keys in keys.chunks(BATCH) {
        let batch = keys.iter().map(|key| api::request(&key.text)).collect();
        runtime.block_on(run(service, batch, StatusCode::OK));
    }
}

/// `count` requests with keys drawn from `keys`.
pub(crate) fn requests(keys: &mut Draw<'_>, count: usize) -> Vec<Request<Body>> {
    (0..count).map(|_| api::request(keys.next())).collect()
}

/// Runs `requests` one after the other; each must be answered with `expected`.
pub(crate) async fn run<S, B>(service: &S, requests: Vec<Request<Body>>, expected: StatusCode)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
{
    for request in requests {
        let Ok(response) = service.clone().oneshot(request).await;
        assert_eq!(response.status(), expected);
    }
}

const BATCH: usize = 32;
